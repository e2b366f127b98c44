import http2 from "node:http2";
import { connect } from "node:net";
import { Failure } from "#base";
import type { Probe } from "#k8s";
import type { Runtime } from "./cri.ts";
import { httpGet, portOf } from "./hooks.ts";
import type { AnyContainer } from "./pod.ts";

export interface ProbeOutcome {
  readonly ok: boolean;
  /** What a person needs to see of a failure. */
  readonly output: string;
}

/** Asks a container once how it is, by exec, HTTP, TCP or gRPC. May throw for what counts as a failure. */
export async function runProbe(
  runtime: Runtime,
  probe: Probe,
  containerId: string,
  container: AnyContainer,
  podIp: string | undefined,
): Promise<ProbeOutcome> {
  const seconds = probe.timeoutSeconds || 1;
  if (probe.exec) {
    const cmd = [...(probe.exec.command ?? [])];
    const answer = await runtime.execSync({ containerId, cmd, timeout: BigInt(seconds) });
    const output = Buffer.concat([answer.stdout, answer.stderr]).toString("utf8").slice(0, 10_240);
    return { ok: answer.exitCode === 0, output };
  }
  if (probe.httpGet) {
    const { code } = await httpGet(probe.httpGet, container, podIp, seconds * 1000);
    return { ok: code >= 200 && code < 400, output: `HTTP probe failed with statuscode: ${code}` };
  }
  if (probe.tcpSocket) {
    await dial(probe.tcpSocket.host || podIp || "", portOf(probe.tcpSocket.port, container), seconds * 1000);
    return { ok: true, output: "" };
  }
  if (probe.grpc) return await health(podIp ?? "", probe.grpc.port, probe.grpc.service ?? "", seconds * 1000);
  throw new Failure("UNIMPLEMENTED", "UNSUPPORTED_PROBE", "missing probe handler");
}

async function dial(host: string, port: number, timeoutMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
    socket.once("timeout", () => {
      socket.destroy();
      reject(new Failure("DEADLINE_EXCEEDED", "PROBE_TIMEOUT", `dial tcp ${host}:${port}: i/o timeout`));
    });
    socket.once("error", reject);
  });
}

const SERVING = 1;

/** grpc.health.v1.Health/Check over one HTTP/2 stream: the message is one string, the answer one enum. */
async function health(host: string, port: number, service: string, timeoutMs: number): Promise<ProbeOutcome> {
  const session = http2.connect(`http://${host.includes(":") ? `[${host}]` : host}:${port}`);
  try {
    return await new Promise<ProbeOutcome>((resolve, reject) => {
      session.once("error", reject);
      const stream = session.request({
        ":method": "POST",
        ":path": "/grpc.health.v1.Health/Check",
        "content-type": "application/grpc",
        te: "trailers",
        "user-agent": "kube-probe/1.36",
      });
      stream.setTimeout(timeoutMs, () => {
        reject(
          new Failure(
            "DEADLINE_EXCEEDED",
            "PROBE_TIMEOUT",
            `timeout: failed to connect service "${host}:${port}" within ${timeoutMs}ms`,
          ),
        );
      });
      let status = "";
      const chunks: Buffer[] = [];
      const note = (headers: http2.IncomingHttpHeaders): void => {
        if (headers["grpc-status"] !== undefined) status = String(headers["grpc-status"]);
      };
      stream.on("response", note);
      stream.on("trailers", note);
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("end", () => {
        const body = Buffer.concat(chunks).subarray(5);
        // Field 1, a varint; absent is UNKNOWN.
        const serving = body[0] === 0x08 ? body[1] : 0;
        const ok = status === "0" && serving === SERVING;
        const output = status === "0" ? `service unhealthy (responded with ${serving})` : `rpc error: code = ${status}`;
        resolve({ ok, output: ok ? "" : output });
      });
      const name = Buffer.from(service);
      const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a, name.length), name]);
      const frame = Buffer.alloc(5);
      frame.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([frame, message]));
    });
  } finally {
    session.destroy();
  }
}
