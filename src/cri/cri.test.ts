import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Failure, silent, type CallOptions } from "#base";
import { startCri } from "#cri";
import type { Engine, PublishRequest, PullRequest, StoredObject, Volume } from "#engine";
import { digestOf, type Digest } from "#oci";
import { createCriClient, cri } from "#wire";
import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { rawClient, serveRaw, type RawCall } from "../../test/support/raw-grpc.ts";

const ARTIFACT = "quay.io/crio/artifact:v1";
const IMAGE = "registry.k8s.io/pause:3.10";
/** Ids of sandboxes. */
const SANDBOX = "5".repeat(64);
const STUCK = "a".repeat(64);
const GONE = "b".repeat(64);
const ID = digestOf("artifact");
const CONFIG = digestOf("config");

/** What an engine would do, noted down. Files are `file`, sub paths that begin with `no` are missing. */
class FakeEngine {
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

const S = "/runtime.v1.RuntimeService";
const I = "/runtime.v1.ImageService";

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

async function world(more: { mounts?: () => cri.Mount[]; allowExec?: boolean } = {}) {
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
    [`${I}/ImageStatus`]: known,
    [`${I}/PullImage`]: answering(asked, cri.PullImageRequestSchema, cri.PullImageResponseSchema, () => ({
      imageRef: CONFIG,
    })),
    [`${I}/ListImages`]: answering(asked, cri.ListImagesRequestSchema, cri.ListImagesResponseSchema, () => ({
      images: [{ id: CONFIG, repoTags: [IMAGE], size: 5n }],
    })),
    [`${I}/RemoveImage`]: answering(asked, cri.RemoveImageRequestSchema, cri.RemoveImageResponseSchema, () => ({})),
    [`${I}/ImageFsInfo`]: answering(asked, cri.ImageFsInfoRequestSchema, cri.ImageFsInfoResponseSchema, () => ({
      imageFilesystems: [{ fsId: { mountpoint: "/" }, usedBytes: { value: 1n }, inodesUsed: { value: 1n } }],
    })),
    [`${S}/CreateContainer`]: (call) =>
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
    [`${S}/PodSandboxStatus`]: (call) =>
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
    [`${S}/ContainerStatus`]: answering(
      asked,
      cri.ContainerStatusRequestSchema,
      cri.ContainerStatusResponseSchema,
      () => ({ status: { id: "c", mounts: more.mounts?.() ?? [] } }),
    ),
    [`${S}/RemovePodSandbox`]: (call) =>
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

const VOLUME = { "orlop.dev/volume": "true" };

test("artifacts and volumes are pulled by the engine, images by containerd", async () => {
  await using at = await world();
  assert.equal((await at.client.pullImage({ image: { image: IMAGE } })).imageRef, CONFIG);
  assert.equal((await at.client.pullImage({ image: { image: "odd.example/x:v1" } })).imageRef, CONFIG);
  assert.deepEqual(at.engine.pulls, []);
  assert.equal((await at.client.pullImage({ image: { image: ARTIFACT } })).imageRef, ID);
  assert.equal((await at.client.pullImage({ image: { image: IMAGE, annotations: VOLUME } })).imageRef, ID);
  assert.deepEqual(
    at.engine.pulls.map(({ reference }) => reference),
    [ARTIFACT, IMAGE],
  );
});

test("a tag that named an artifact and names an image now is containerd's", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(IMAGE, ID, false)];
  assert.equal((await at.client.imageStatus({ image: { image: IMAGE } })).image?.id, ID);
  await at.client.pullImage({ image: { image: IMAGE } });
  assert.equal((await at.client.imageStatus({ image: { image: IMAGE } })).image?.id, CONFIG);
});

for (const [name, auth, expected] of [
  ["a password", { username: "u", password: "p" }, { username: "u", password: "p" }],
  ["docker's auth", { auth: Buffer.from("u:p:q\0\0").toString("base64") }, { username: "u", password: "p:q" }],
  ["an identity token", { username: "u", identityToken: "i" }, { identityToken: "i" }],
  ["a registry token", { registryToken: "r", auth: "eA==" }, { registryToken: "r" }],
  ["nothing usable", { auth: "%%%" }, undefined],
] as const)
  test(`the kubelet's credentials reach the engine: ${name}`, async () => {
    await using at = await world();
    await at.client.pullImage({ image: { image: ARTIFACT }, auth });
    assert.deepEqual(at.engine.pulls[0]?.credentials, expected && [expected]);
  });

test("a pull outlives its caller's deadline; meanwhile and afterwards everything answers", async () => {
  await using at = await world();
  const gate = Promise.withResolvers<void>();
  at.engine.gate = gate.promise;
  await assert.rejects(at.client.pullImage({ image: { image: ARTIFACT } }, { timeout: 50 }), {
    code: "DEADLINE_EXCEEDED",
  });
  assert.equal((await at.client.imageStatus({ image: { image: ARTIFACT } })).image, undefined);
  assert.equal((await at.client.listImages({})).images.length, 1);
  gate.resolve();
  assert.equal((await at.client.pullImage({ image: { image: ARTIFACT } })).imageRef, ID);
});

test("a verbose ImageStatus says how far a pull is, while it runs", async () => {
  await using at = await world();
  const gate = Promise.withResolvers<void>();
  at.engine.gate = gate.promise;
  const image = { image: ARTIFACT, annotations: VOLUME };
  const pull = at.client.pullImage({ image });
  const ask = async (verbose: boolean) => (await at.client.imageStatus({ image, verbose })).info["orlop.dev/progress"];
  let said = await ask(true);
  while (said === undefined) said = await ask(true);
  assert.deepEqual(JSON.parse(said), {
    received: 5,
    total: 16,
    blobs: [
      { digest: ID, received: 3, total: 12 },
      { digest: CONFIG, received: 2, total: 4 },
    ],
  });
  assert.equal(await ask(false), undefined);
  gate.resolve();
  await pull;
  assert.equal(await ask(true), undefined);
});

test("failures carry the words that kubelets look for, under UNKNOWN", async () => {
  await using at = await world();
  const fails = async (failure: Failure, expected: object): Promise<void> => {
    at.engine.failure = failure;
    await assert.rejects(at.client.pullImage({ image: { image: ARTIFACT } }), expected);
  };
  await fails(new Failure("UNAVAILABLE", "REGISTRY_UNAVAILABLE", "quay.io does not answer"), {
    code: "UNKNOWN",
    message: "RegistryUnavailable: quay.io does not answer",
  });
  await fails(new Failure("PERMISSION_DENIED", "SIGNATURE_MISSING", "nobody signed it"), {
    code: "UNKNOWN",
    message: "SignatureValidationFailed: nobody signed it",
  });
  await fails(new Failure("NOT_FOUND", "NOT_FOUND", "not there"), { code: "NOT_FOUND", message: "not there" });
});

test("lists are ours and containerd's; a filter that names ours finds ours alone", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  const ids = async (image?: string): Promise<string[]> =>
    (await at.client.listImages(image === undefined ? {} : { filter: { image: { image } } })).images.map(
      ({ id }) => id,
    );
  assert.deepEqual(await ids(), [CONFIG, ID]);
  assert.deepEqual(await ids(ARTIFACT), [ID]);
  assert.deepEqual(await ids(IMAGE), [CONFIG]);
  const { imageFilesystems } = await at.client.imageFsInfo({});
  assert.deepEqual(
    imageFilesystems.map(({ usedBytes, inodesUsed }) => [usedBytes?.value, inodesUsed?.value]),
    [[101n, 4n]],
  );
});

test("an object is found by the beginning of its id, as people type it", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  for (const image of [ID.slice(0, 16), ID.slice(7, 20)])
    assert.equal((await at.client.imageStatus({ image: { image } })).image?.id, ID);
  for (const image of [ID.slice(7, 12), "deadbeef"])
    assert.equal((await at.client.imageStatus({ image: { image } })).image, undefined);
  await at.client.removeImage({ image: { image: ID.slice(7, 20) } });
  assert.deepEqual(at.engine.objects, []);
});

const imageMount = (subPath = "", image: string = ID) => ({
  containerPath: "/v",
  readonly: true,
  recursiveReadOnly: true,
  selinuxRelabel: true,
  image: { image, userSpecifiedImage: ARTIFACT },
  imageSubPath: subPath,
  mountOptions: ["nosuid"],
});

test("an image mount becomes a bind of our own; the rest of the request arrives as it was", async () => {
  const seen: { mounts: cri.Mount[] } = { mounts: [] };
  await using at = await world({ mounts: () => seen.mounts });
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  // A field of ContainerConfig that no version of CRI has.
  const unknown = Buffer.from([0xc2, 0x3e, 0x02, 0x68, 0x69]);
  const config = Buffer.concat([
    toBinary(
      cri.ContainerConfigSchema,
      create(cri.ContainerConfigSchema, {
        metadata: { name: "test" },
        mounts: [{ containerPath: "/h", hostPath: "/etc", readonly: true }, imageMount(), imageMount("file")],
      }),
    ),
    unknown,
  ]);
  const request = Buffer.concat([Buffer.from([0x0a, 3, 0x35, 0x35, 0x35, 0x12, ...varint(config.length)]), config]);
  using raw = rawClient(at.listen);
  const call = raw.open(`${S}/CreateContainer`);
  call.end(request);
  await call.toArray();

  const [created] = at.asked as [cri.CreateContainerRequest];
  const [host, volume, file] = created.config?.mounts ?? [];
  assert.ok(Buffer.from(toBinary(cri.CreateContainerRequestSchema, created)).includes(unknown));
  assert.deepEqual([host?.hostPath, host?.readonly], ["/etc", true]);
  assert.equal(volume?.hostPath.startsWith(`${at.volumes}/${SANDBOX}/`), true);
  assert.deepEqual(
    [volume?.readonly, volume?.recursiveReadOnly, volume?.selinuxRelabel, volume?.image, volume?.mountOptions],
    [false, false, false, undefined, []],
  );
  assert.equal(statSync(file?.hostPath ?? "").isFile(), true);
  assert.deepEqual(
    at.engine.published.map(({ owner, digest, exec, subPath }) => [owner, digest, exec, subPath]),
    [
      [SANDBOX, ID, false, undefined],
      [SANDBOX, ID, false, "file"],
    ],
  );

  seen.mounts = created.config?.mounts ?? [];
  const { status } = await at.client.containerStatus({ containerId: "c" });
  const [shownHost, shown, shownFile] = status?.mounts ?? [];
  assert.deepEqual([shownHost?.hostPath, shownHost?.image], ["/etc", undefined]);
  assert.deepEqual(
    [shown?.hostPath, shown?.readonly, shown?.image?.image, shown?.image?.userSpecifiedImage],
    ["", true, ID, ARTIFACT],
  );
  assert.equal(shownFile?.imageSubPath, "file");

  await assert.rejects(at.client.removeImage({ image: { image: ID } }), {
    code: "FAILED_PRECONDITION",
    message: `image ${ID} is in use by the volumes of sandbox ${SANDBOX}: remove it first`,
  });
  for (const podSandboxId of ["..", "", "/", "unknown"]) await at.client.removePodSandbox({ podSandboxId });
  assert.deepEqual(at.engine.unpublished, []);
  await at.client.removePodSandbox({ podSandboxId: "555" });
  assert.deepEqual([at.engine.unpublished, readdirSync(at.volumes)], [[SANDBOX], []]);
});

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

test("a volume that cannot be mounted fails the container before containerd hears of it, and leaves nothing", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  const config = { metadata: { name: "test" }, mounts: [imageMount("nope")] };
  await assert.rejects(at.client.createContainer({ podSandboxId: SANDBOX, config }), {
    code: "UNKNOWN",
    message: "ImageVolumeMountFailed: nope is not there",
  });
  const gone = { metadata: { name: "test" }, mounts: [imageMount("", digestOf("gone"))] };
  await assert.rejects(at.client.createContainer({ podSandboxId: SANDBOX, config: gone }), {
    code: "UNKNOWN",
    message:
      /^ImageVolumeMountFailed: image sha256:.* \(quay\.io\/crio\/artifact:v1\) is neither in .*: pull it again$/,
  });
  const both = { metadata: { name: "test" }, mounts: [{ ...imageMount(), hostPath: "/etc" }] };
  await assert.rejects(at.client.createContainer({ podSandboxId: SANDBOX, config: both }), {
    message: "ImageVolumeMountFailed: /v has an image and a host path",
  });
  assert.deepEqual(at.asked, []);
  assert.deepEqual(readdirSync(join(at.volumes, SANDBOX)), []);
});

test("a stock kubelet's id of a containerd image is pulled by its digest, with containerd's content first", async () => {
  await using at = await world();
  const mounts = [{ ...imageMount("", CONFIG), image: { image: CONFIG, userSpecifiedImage: IMAGE } }];
  await at.client.createContainer({ podSandboxId: SANDBOX, config: { metadata: { name: "test" }, mounts } });
  assert.deepEqual(
    at.engine.pulls.map(({ reference, preferred }) => [reference, preferred?.name]),
    [[`registry.k8s.io/pause@${ID}`, "containerd"]],
  );
});

test("volumes stay while containerd still has the sandbox", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  const config = { metadata: { name: "test" }, mounts: [imageMount()] };
  await at.client.createContainer({ podSandboxId: STUCK, config });
  await assert.rejects(at.client.removePodSandbox({ podSandboxId: STUCK }), { message: "still running" });
  assert.deepEqual([at.engine.published.length, at.engine.unpublished], [1, []]);
});

test("a container for a sandbox that is gone leaves no volume behind", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  const config = { metadata: { name: "test" }, mounts: [imageMount()] };
  await assert.rejects(at.client.createContainer({ podSandboxId: GONE, config }), { message: "no such sandbox" });
  assert.deepEqual([at.engine.published, at.engine.unpublished, readdirSync(at.volumes)], [[], [GONE], []]);
});

for (const allowExec of [undefined, true, false])
  test(`where exec is ${allowExec === false ? "forbidden" : "allowed"}, a mount that asks for it gets what the node says (${String(allowExec)})`, async () => {
    await using at = await world(allowExec === undefined ? {} : { allowExec });
    at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
    const config = { metadata: { name: "test" }, mounts: [{ ...imageMount(), mountOptions: ["exec"] }] };
    await at.client.createContainer({ podSandboxId: SANDBOX, config });
    assert.deepEqual(
      at.engine.published.map(({ exec }) => exec),
      [allowExec !== false],
    );
  });

test("what fails in clearing up after a refused container does not hide why it was refused", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  at.engine.unpublish = () => Promise.reject(new Failure("INTERNAL", "BUSY", "the mount is busy"));
  const config = { metadata: { name: "test" }, mounts: [imageMount()] };
  await assert.rejects(at.client.createContainer({ podSandboxId: GONE, config }), { message: "no such sandbox" });
});

test("without containerd, artifacts are answered for, and the rest says what is missing", async () => {
  await using at = await world();
  at.server.stop();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  assert.equal((await at.client.imageStatus({ image: { image: ARTIFACT } })).image?.id, ID);
  await assert.rejects(at.client.version({}), {
    code: "UNAVAILABLE",
    message: `containerd does not answer on ${at.server.socket}: connect ENOENT ${at.server.socket}`,
  });
  assert.equal(existsSync(at.listen), true);
});
