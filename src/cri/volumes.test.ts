import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Failure } from "#base";
import { digestOf } from "#oci";
import { cri } from "#wire";
import { create, toBinary } from "@bufbuild/protobuf";
import { rawClient } from "../../test/support/raw-grpc.ts";
import {
  ARTIFACT,
  FakeEngine,
  CONFIG,
  GONE,
  ID,
  IMAGE,
  RUNTIME_SERVICE,
  SANDBOX,
  STUCK,
  world,
} from "../../test/support/fake-node.ts";

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
  const call = raw.open(`${RUNTIME_SERVICE}/CreateContainer`);
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
