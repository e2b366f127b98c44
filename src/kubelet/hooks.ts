import { setTimeout as sleep } from "node:timers/promises";
import { Failure, messageOf } from "#base";
import type { LifecycleHandler, Pod } from "#k8s";
import type { Kubelet } from "./context.ts";
import { runtimeMessage } from "./grpc-text.ts";
import { httpGet } from "./http-get.ts";
import { type AnyContainer, describePod } from "./pod.ts";

const HTTP_TIMEOUT_MS = 30_000;

export interface HookTarget {
  readonly pod: Pod;
  readonly container: AnyContainer;
  readonly containerId: string;
  readonly podIp: string | undefined;
}

/**
 * Runs a postStart or preStop handler to its end. What an HTTP one answers does not matter.
 *
 * @throws Failure in the words of a container's status; never for an Event: they may quote what the command printed.
 */
export async function runHook({ runtime }: Kubelet, hook: LifecycleHandler, target: HookTarget): Promise<void> {
  const { pod, container, containerId, podIp } = target;
  const where = `for Container ${JSON.stringify(container.name)} in Pod ${JSON.stringify(describePod(pod))} failed - error:`;
  const fail = (message: string): never => {
    throw new Failure("UNKNOWN", "HOOK_FAILED", message);
  };
  if (hook.exec) {
    const cmd = [...(hook.exec.command ?? [])];
    const what = `Exec lifecycle hook ([${cmd.join(" ")}]) ${where}`;
    const { exitCode, stdout, stderr } = await runtime
      .execSync({ containerId, cmd, timeout: 0n })
      .catch((error: unknown) => fail(`${what} ${runtimeMessage(error)}, message: ""`));
    if (exitCode === 0) return;
    const output = JSON.stringify(Buffer.concat([stdout, stderr]).toString("utf8"));
    const why = `command '${cmd.join(" ")}' exited with ${exitCode}: ${Buffer.from(stderr).toString("utf8")}`;
    return fail(`${what} ${why}, message: ${output}`);
  }
  if (hook.httpGet) {
    const options = { container, podIp, timeoutMs: HTTP_TIMEOUT_MS, userAgent: "kube-lifecycle" };
    const { path = "" } = hook.httpGet;
    try {
      await httpGet(hook.httpGet, options);
    } catch (error) {
      fail(`HTTP lifecycle hook (${path}) ${where} ${messageOf(error)}`);
    }
  }
  const seconds = (hook as { readonly sleep?: { readonly seconds: number } }).sleep?.seconds;
  if (seconds !== undefined) await sleep(seconds * 1000, undefined, { ref: false });
}
