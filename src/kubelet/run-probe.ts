import { connect } from "node:net";
import { Failure, isFailure, messageOf } from "#base";
import type { Probe } from "#k8s";
import type { Runtime } from "./cri.ts";
import { expand } from "./expand.ts";
import { addressOf, dialError } from "./go-errors.ts";
import { goDuration } from "./go-duration.ts";
import { grpcHealth } from "./grpc-health.ts";
import { httpGet, portOf } from "./http-get.ts";
import type { AnyContainer } from "./pod.ts";

export interface ProbeOutcome {
  /** A warning is a success that a person should hear of. */
  readonly result: "success" | "warning" | "failure";
  /** What a person needs to see of it. */
  readonly output: string;
}

export interface ProbeTarget {
  readonly containerId: string;
  readonly container: AnyContainer;
  readonly podIp: string | undefined;
}

const SUCCESS: ProbeOutcome = { result: "success", output: "" };
const failure = (output: string): ProbeOutcome => ({ result: "failure", output });

/** Asks a container once how it is, by exec, HTTP, TCP or gRPC. Throws where it could not be asked, which says nothing of it. */
export async function runProbe(runtime: Runtime, probe: Probe, target: ProbeTarget): Promise<ProbeOutcome> {
  const { container, podIp } = target;
  const timeoutMs = (probe.timeoutSeconds || 1) * 1000;
  if (probe.exec) return await exec(runtime, probe.exec.command ?? [], target, timeoutMs);
  if (probe.httpGet) {
    // A name that no port has says nothing of the container.
    const port = portOf(probe.httpGet.port, container);
    const options = { container, podIp, timeoutMs, userAgent: "kube-probe" };
    try {
      const { code, body } = await httpGet({ ...probe.httpGet, port }, options);
      if (code >= 300 && code < 400)
        return { result: "warning", output: `Probe terminated redirects, Response body: ${body}` };
      return code >= 200 && code < 300 ? SUCCESS : failure(`HTTP probe failed with statuscode: ${code}`);
    } catch (error) {
      return failure(messageOf(error));
    }
  }
  if (probe.tcpSocket)
    return await dial(probe.tcpSocket.host || podIp || "", portOf(probe.tcpSocket.port, container), timeoutMs);
  if (probe.grpc) {
    const wrong = await grpcHealth(podIp ?? "", probe.grpc.port, probe.grpc.service ?? "", timeoutMs);
    return wrong === undefined ? SUCCESS : failure(wrong);
  }
  throw new Failure("UNIMPLEMENTED", "UNSUPPORTED_PROBE", `missing probe handler for ${container.name}`);
}

async function exec(
  runtime: Runtime,
  command: readonly string[],
  { containerId, container }: ProbeTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const known = new Map(
    (container.env ?? []).flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])),
  );
  const cmd = command.map((word) => expand(word, known));
  try {
    const { exitCode, stdout, stderr } = await runtime.execSync({
      containerId,
      cmd,
      timeout: BigInt(Math.ceil(timeoutMs / 1000)),
    });
    const output = Buffer.concat([stdout, stderr])
      .subarray(0, 10 * 1024)
      .toString("utf8");
    return { result: exitCode === 0 ? "success" : "failure", output };
  } catch (error) {
    if (!isFailure(error) || error.code !== "DEADLINE_EXCEEDED") throw error;
    return failure(`command timed out: ${JSON.stringify(cmd.join(" "))} timed out after ${goDuration(timeoutMs)}`);
  }
}

function dial(host: string, port: number, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (outcome: ProbeOutcome): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.once("connect", () => end(SUCCESS));
    socket.once("timeout", () => end(failure(`dial tcp ${addressOf(host, port)}: i/o timeout`)));
    socket.on("error", (error) => end(failure(dialError(error, host, port))));
  });
}
