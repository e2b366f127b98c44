import { Failure, isFailure, messageOf } from "#base";
import type { KubeObject, Pod } from "#k8s";
import { type KubeClient, kubePath } from "#wire";
import type { Runtime } from "./cri.ts";
import { specOf } from "./pod.ts";

interface RuntimeClass extends KubeObject {
  readonly handler?: string;
}

/**
 * What the runtime calls the way in which a Pod wants to be run: the handler of its RuntimeClass, or none.
 *
 * @throws Failure in upstream's words where there is no such class
 */
export async function runtimeHandlerOf(client: KubeClient, pod: Pod): Promise<string> {
  const name = specOf(pod).runtimeClassName;
  if (!name) return "";
  try {
    return (await client.get<RuntimeClass>(kubePath("node.k8s.io/v1", "runtimeclasses", { name }))).handler ?? "";
  } catch (error) {
    const message = isFailure(error, "NotFound")
      ? `runtimeclass.node.k8s.io ${JSON.stringify(name)} not found`
      : `failed to lookup RuntimeClass ${name}: ${messageOf(error)}`;
    throw new Failure("FAILED_PRECONDITION", "NO_RUNTIME_CLASS", message, { cause: error });
  }
}

/**
 * Refuses a Pod that wants users of its own (`hostUsers: false`): in upstream's words where the runtime has no user namespaces,
 * and in ours where it has, since this kubelet gives out no ranges of them.
 *
 * @throws Failure NO_USER_NAMESPACES
 */
export async function refuseUserNamespaces(runtime: Runtime, pod: Pod, handler: string): Promise<void> {
  if (specOf(pod).hostUsers !== false) return;
  const { runtimeHandlers } = await runtime.status({}, { timeout: 30_000 });
  const isSupported = runtimeHandlers?.some(({ name, features }) => name === handler && features?.userNamespaces);
  const who = isSupported
    ? "this kubelet"
    : handler === ""
      ? "runtime"
      : `RuntimeClass handler ${JSON.stringify(handler)}`;
  const message = `can't set \`spec.hostUsers: false\`, ${who} does not support user namespaces`;
  throw new Failure("UNIMPLEMENTED", "NO_USER_NAMESPACES", message);
}
