import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "#base";
import type { LifecycleHandler } from "#k8s";
import type { Kubelet } from "./context.ts";
import type { AnyContainer } from "./pod.ts";

/** Runs a postStart or preStop handler. @throws Failure where it fails or takes longer than `timeoutSeconds` */
export async function runHook(
  { runtime }: Pick<Kubelet, "runtime">,
  hook: LifecycleHandler,
  containerId: string,
  container: AnyContainer,
  podIp: string | undefined,
  timeoutSeconds = 0,
): Promise<void> {
  if (hook.exec) {
    const cmd = [...(hook.exec.command ?? [])];
    const answer = await runtime.execSync({ containerId, cmd, timeout: BigInt(timeoutSeconds) });
    if (answer.exitCode === 0) return;
    const output = Buffer.concat([answer.stdout, answer.stderr]).toString("utf8").slice(0, 1024);
    throw new Failure("UNKNOWN", "HOOK_FAILED", `command '${cmd.join(" ")}' exited with ${answer.exitCode}: ${output}`);
  }
  if (hook.httpGet) {
    const status = await httpGet(hook.httpGet, container, podIp, (timeoutSeconds || 30) * 1000);
    if (status.code >= 200 && status.code < 400) return;
    throw new Failure("UNKNOWN", "HOOK_FAILED", `HTTP ${status.code} from lifecycle hook`);
  }
  const seconds = (hook as { sleep?: { seconds: number } }).sleep?.seconds;
  if (seconds !== undefined) await sleep((timeoutSeconds > 0 ? Math.min(seconds, timeoutSeconds) : seconds) * 1000);
}

export interface HttpTarget {
  readonly host?: string;
  readonly port: unknown;
  readonly path?: string;
  readonly scheme?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
}

/** One GET as probes and hooks make it: certificates are not checked, the body is read up to 10 KiB. */
export function httpGet(
  target: HttpTarget,
  container: AnyContainer,
  podIp: string | undefined,
  timeoutMs: number,
): Promise<{ readonly code: number; readonly body: string }> {
  const secure = target.scheme === "HTTPS";
  const headers: Record<string, string> = { "user-agent": "kube-probe/1.36", accept: "*/*" };
  for (const { name, value } of target.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).request(
      {
        host: target.host || podIp,
        port: portOf(target.port, container),
        path: target.path?.startsWith("/") ? target.path : `/${target.path ?? ""}`,
        headers,
        agent: false,
        rejectUnauthorized: false,
        signal: AbortSignal.timeout(timeoutMs),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          if (size < 10_240) chunks.push(chunk);
          size += chunk.length;
        });
        response.on("end", () => {
          resolve({ code: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8").slice(0, 10_240) });
        });
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end();
  });
}

/** A port's number, or that of the container's port with this name. @throws Failure NO_PORT */
export function portOf(port: unknown, container: AnyContainer): number {
  const number = Number(port);
  if (Number.isInteger(number)) return number;
  const named = container.ports?.find(({ name }) => name === port);
  if (named) return named.containerPort;
  throw new Failure("NOT_FOUND", "NO_PORT", `couldn't find port: ${String(port)} in container ${container.name}`);
}
