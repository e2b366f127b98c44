import { connectGrpc, type GrpcClient } from "./grpc-client.ts";
import { Content } from "./gen/content_pb.ts";
import { ImageService, RuntimeService } from "./gen/runtime_pb.ts";

/** A container runtime's CRI: both services, every method as a promise; `getContainerEvents` as an async iterable. */
export type CriClient = GrpcClient<typeof RuntimeService> & GrpcClient<typeof ImageService> & Disposable;

export function createCriClient(socketPath: string): CriClient {
  const connection = connectGrpc(socketPath);
  return Object.assign(connection.client(RuntimeService), connection.client(ImageService), {
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  });
}

/** containerd's content store, as its CRI plugin fills it. */
export type ContentClient = GrpcClient<typeof Content> & Disposable;

export function createContentClient(socketPath: string, namespace = "k8s.io"): ContentClient {
  const connection = connectGrpc(socketPath, { "containerd-namespace": namespace });
  return Object.assign(connection.client(Content), {
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  });
}
