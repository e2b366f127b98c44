/** wire: gRPC and HTTP over sockets; generated protocol types. */
export * as cri from "./gen/runtime_pb.ts";
export { createContentClient, createCriClient, type ContentClient, type CriClient } from "./cri-client.ts";
export { connectGrpc, MAX_MESSAGE_BYTES, type Connection, type GrpcClient, type RpcOptions } from "./grpc-client.ts";
export { openPki, type Credential, type Pki } from "./pki.ts";
export { kubeconfig, loadKubeconfig, type ClientConfig } from "./kubeconfig.ts";
