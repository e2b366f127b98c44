// An engine and a containerd in memory, with the CRI endpoint of Orlop between a kubelet and them.
import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { statSync } from "node:fs";
import { join } from "node:path";
import { Failure, silent, type CallOptions } from "#base";
import { startCri } from "#cri";
import type { Engine, PublishRequest, PullRequest, StoredObject, Volume } from "#engine";
import { digestOf, type Digest } from "#oci";
import { createCriClient, cri } from "#wire";
import { serveRaw, type RawCall } from "./raw-grpc.ts";

export const ARTIFACT = "quay.io/crio/artifact:v1";
export const IMAGE = "registry.k8s.io/pause:3.10";
/** Ids of sandboxes. */
export const SANDBOX = "5".repeat(64);
export const STUCK = "a".repeat(64);
export const GONE = "b".repeat(64);
export const ID = digestOf("artifact");
export const CONFIG = digestOf("config");

/** What an engine would do, noted down. Files are `file`, sub paths that begin with `no` are missing. */
export class FakeEngine {
  readonly pulls: PullRequest[] = [];
  readonly unpublished: string[] = [];
  objects: StoredObject[] = [];
  published: PublishRequest[] = [];
  /** Awaited by every pull. */
  gate: Promise<void> = Promise.resolve();
  failure: Failure | undefined;

  static object(reference: string, digest: Digest, isImage: boolean): StoredObject {
    const repository = reference.slice(0, reference.lastIndexOf(":"));
    return {
      digest,
      resolved: digest,
      references: [reference],
      repoDigests: [`${repository}@${digest}`],
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      packaging: isImage ? "image" : "oras",
      isImage,
      size: 12,
      pulledAt: 0,
    };
  }

  async classify({ reference }: PullRequest) {
    await Promise.resolve();
    if (reference.includes("odd")) throw new Failure("UNAVAILABLE", "UNREACHABLE", "the registry does not answer");
    return { isImage: !reference.includes("artifact") };
  }
  async pull(request: PullRequest, call?: CallOptions): Promise<StoredObject> {
    this.pulls.push(request);
    call?.onProgress?.({ digest: ID, received: 3, total: 12 });
    call?.onProgress?.({ digest: CONFIG, received: 2, total: 4 });
    await this.gate;
    if (this.failure) throw this.failure;
    const object = FakeEngine.object(request.reference, ID, !request.reference.includes("artifact"));
    this.objects.push(object);
    return object;
  }
  async find(name: string): Promise<StoredObject | undefined> {
    await Promise.resolve();
    return this.objects.find((one) => [one.digest, ...one.references, ...one.repoDigests].includes(name));
  }
  list = () => Promise.resolve(this.objects);
  usage = () => Promise.resolve({ bytes: 100, inodes: 3, path: "/" });
  async remove(name: string): Promise<void> {
    await Promise.resolve();
    if (this.published.length > 0) throw new Failure("FAILED_PRECONDITION", "IN_USE", "in use");
    this.objects = this.objects.filter(({ digest, references }) => digest !== name && !references.includes(name));
  }
  async publish(request: PublishRequest): Promise<void> {
    await Promise.resolve();
    const subPath = request.subPath ?? "";
    if (subPath.startsWith("no")) throw new Failure("NOT_FOUND", "SUBPATH_NOT_FOUND", `${subPath} is not there`);
    if ((subPath === "file") === statSync(request.target).isDirectory())
      throw new Failure("FAILED_PRECONDITION", "TARGET_WRONG_KIND", "the other kind");
    this.published = [...this.published.filter(({ target }) => target !== request.target), request];
  }
  async unpublish(owner: string): Promise<void> {
    await Promise.resolve();
    this.unpublished.push(owner);
    this.published = this.published.filter((one) => one.owner !== owner);
  }
  volumes = (): Promise<readonly Volume[]> =>
    Promise.resolve(this.published.map((one) => ({ subPath: "", exec: false, mounted: true, ...one })));
}

export const RUNTIME_SERVICE = "/runtime.v1.RuntimeService";
const IMAGE_SERVICE = "/runtime.v1.ImageService";

/** A method of the runtime behind: decodes, answers, and keeps what it was asked. */
function answering<Res extends DescMessage>(
  asked: unknown[],
  request: DescMessage,
  response: Res,
  answer: () => MessageInitShape<Res>,
) {
  return (call: RawCall): void =>
    void call.on("data", (bytes: Buffer) => {
      asked.push(fromBinary(request, bytes));
      call.write(toBinary(response, create(response, answer())));
      call.end();
    });
}

export async function world(more: { mounts?: () => cri.Mount[]; allowExec?: boolean } = {}) {
  const asked: object[] = [];
  const known = (call: RawCall): void =>
    void call.on("data", (bytes: Buffer) => {
      const { image } = fromBinary(cri.ImageStatusRequestSchema, bytes);
      const isHere = image?.image === IMAGE || image?.image === CONFIG;
      const found = { id: CONFIG, size: 5n, repoTags: [IMAGE], repoDigests: [`registry.k8s.io/pause@${ID}`] };
      const response = create(cri.ImageStatusResponseSchema, isHere ? { image: found } : {});
      call.write(toBinary(cri.ImageStatusResponseSchema, response));
      call.end();
    });
  const server = await serveRaw({
    [`${IMAGE_SERVICE}/ImageStatus`]: known,
    [`${IMAGE_SERVICE}/PullImage`]: answering(asked, cri.PullImageRequestSchema, cri.PullImageResponseSchema, () => ({
      imageRef: CONFIG,
    })),
    [`${IMAGE_SERVICE}/ListImages`]: answering(
      asked,
      cri.ListImagesRequestSchema,
      cri.ListImagesResponseSchema,
      () => ({
        images: [{ id: CONFIG, repoTags: [IMAGE], size: 5n }],
      }),
    ),
    [`${IMAGE_SERVICE}/RemoveImage`]: answering(
      asked,
      cri.RemoveImageRequestSchema,
      cri.RemoveImageResponseSchema,
      () => ({}),
    ),
    [`${IMAGE_SERVICE}/ImageFsInfo`]: answering(
      asked,
      cri.ImageFsInfoRequestSchema,
      cri.ImageFsInfoResponseSchema,
      () => ({
        imageFilesystems: [{ fsId: { mountpoint: "/" }, usedBytes: { value: 1n }, inodesUsed: { value: 1n } }],
      }),
    ),
    [`${RUNTIME_SERVICE}/CreateContainer`]: (call) =>
      void call.on("data", (bytes: Buffer) => {
        const request = fromBinary(cri.CreateContainerRequestSchema, bytes);
        asked.push(request);
        if (request.podSandboxId === GONE) {
          call.emit("error", { code: 5, details: "no such sandbox" });
          return;
        }
        const response = create(cri.CreateContainerResponseSchema, { containerId: "c" });
        call.write(toBinary(cri.CreateContainerResponseSchema, response));
        call.end();
      }),
    [`${RUNTIME_SERVICE}/PodSandboxStatus`]: (call) =>
      void call.on("data", (bytes: Buffer) => {
        const { podSandboxId } = fromBinary(cri.PodSandboxStatusRequestSchema, bytes);
        const id = [SANDBOX, STUCK].find((one) => podSandboxId !== "" && one.startsWith(podSandboxId));
        if (id === undefined) {
          call.emit("error", { code: 5, details: "no such sandbox" });
          return;
        }
        const response = create(cri.PodSandboxStatusResponseSchema, { status: { id } });
        call.write(toBinary(cri.PodSandboxStatusResponseSchema, response));
        call.end();
      }),
    [`${RUNTIME_SERVICE}/ContainerStatus`]: answering(
      asked,
      cri.ContainerStatusRequestSchema,
      cri.ContainerStatusResponseSchema,
      () => ({ status: { id: "c", mounts: more.mounts?.() ?? [] } }),
    ),
    [`${RUNTIME_SERVICE}/RemovePodSandbox`]: (call) =>
      void call.on("data", (bytes: Buffer) => {
        const { podSandboxId } = fromBinary(cri.RemovePodSandboxRequestSchema, bytes);
        if (podSandboxId === STUCK) call.emit("error", { code: 2, details: "still running" });
        else {
          call.write(toBinary(cri.RemovePodSandboxResponseSchema, create(cri.RemovePodSandboxResponseSchema)));
          call.end();
        }
      }),
  });
  const engine = new FakeEngine();
  const listen = join(server.dir, "cri.sock");
  const options = {
    engine: engine as unknown as Engine,
    listen,
    upstream: server.socket,
    runDir: server.dir,
    log: silent,
    ...(more.allowExec === undefined ? {} : { allowExec: more.allowExec }),
  };
  const endpoint = await startCri(options);
  const client = createCriClient(listen);
  return {
    engine,
    asked,
    client,
    server,
    listen,
    volumes: join(server.dir, "volumes"),
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await endpoint[Symbol.asyncDispose]();
      server[Symbol.dispose]();
    },
  };
}

export const VOLUME = { "orlop.dev/volume": "true" };
