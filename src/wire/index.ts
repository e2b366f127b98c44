/** wire: gRPC and HTTP over sockets; generated protocol types. */
export * as cri from "./gen/runtime_pb.ts";
export { createContentClient, createCriClient, type ContentClient, type CriClient } from "./cri-client.ts";
export { containerExits } from "./container-exits.ts";
export type { GrpcClient, RpcOptions } from "./grpc-client.ts";
export { openPki, type Credential, type Pki } from "./pki.ts";
export { kubeconfig, loadKubeconfig, type ClientConfig } from "./kubeconfig.ts";
export { startInformer, type Informer, type InformerOptions } from "./informer.ts";
export {
  createKubeClient,
  kubePath,
  type KubeClient,
  type KubeClientOptions,
  type KubeList,
  type KubeLocation,
  type PatchType,
  type Query,
  type WatchEvent,
  type WatchEventType,
} from "./kube-client.ts";
export {
  serveGrpcProxy,
  take,
  type GrpcProxyOptions,
  type ProxyCall,
  type ProxyHandlers,
  type TakenMethods,
} from "./grpc-proxy.ts";
export { checkSocketPath, refuseUsedSocket } from "./unix-socket.ts";
export { encodeOpenApiV2, type OpenApiV2Document, type OpenApiV2Schema } from "./openapi-v2.ts";
export { Counter, Gauge, Histogram, Registry } from "./metrics.ts";
export { SpdyConnection, type SpdyOptions } from "./spdy.ts";
export type { SpdyHeaders } from "./spdy-headers.ts";
export type { SpdyStream } from "./spdy-stream.ts";
export { acceptWebSocket, asksForWebSocket, chooseSubprotocol, type WebSocketChannel } from "./websocket.ts";
export { decodeKubeProtobuf, KUBE_PROTOBUF } from "./kube-protobuf.ts";
export { joinStreams } from "./join-streams.ts";
