import { fromBinary } from "@bufbuild/protobuf";
import type { CallOptions } from "#base";
import { Events, TaskExitSchema } from "./gen/events_pb.ts";
import { connectGrpc } from "./grpc-client.ts";

/**
 * The ids of containers whose main process ends, from now on, as the containerd on this socket tells it: sandboxes too, which
 * are containers to it. What its CRI says of them may follow a moment later. Throws when the connection breaks.
 */
export async function* containerExits(
  socketPath: string,
  call?: CallOptions,
  namespace = "k8s.io",
): AsyncGenerator<string> {
  using connection = connectGrpc(socketPath, { "containerd-namespace": namespace });
  const filters = [`topic=="/tasks/exit",namespace==${namespace}`];
  for await (const { event } of connection.client(Events).subscribe({ filters }, call)) {
    const exit = fromBinary(TaskExitSchema, event?.value ?? new Uint8Array());
    if (exit.id === exit.containerId) yield exit.id;
  }
}
