// Orlop's CRI over the real containerd, runc and registry, as a kubelet uses it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { digestOf } from "#oci";
import { removeAll, startCriNode, type CriNode } from "../support/cri-node.ts";
import { ARTIFACT, createWorld, leftovers, pushObjects, WORKLOAD, type World } from "../support/orlop.ts";

let world: World;
let node: CriNode;
const stack = new AsyncDisposableStack();
before(async () => {
  world = stack.use(await createWorld());
  stack.defer(() => assert.deepEqual(leftovers(world), []));
  pushObjects(world);
  node = stack.use(await startCriNode(world));
});
after(() => stack.disposeAsync());

suite("an artifact's image service", () => {
  test("absent, pulled, present by every name, listed, removed", async () => {
    const { client } = node;
    assert.equal((await client.imageStatus({ image: { image: ARTIFACT } })).image, undefined);
    const { imageRef } = await client.pullImage({ image: { image: ARTIFACT } });
    assert.match(imageRef, /^sha256:[0-9a-f]{64}$/);
    for (const name of [ARTIFACT, imageRef, `quay.io/crio/artifact@${imageRef}`]) {
      const { image } = await client.imageStatus({ image: { image: name } });
      assert.equal(image?.id, imageRef, name);
      assert.deepEqual(image.repoTags, [ARTIFACT]);
      assert.deepEqual(image.repoDigests, [`quay.io/crio/artifact@${imageRef}`]);
      assert.ok(image.size > 0n);
    }
    const { images } = await client.listImages({});
    assert.ok(images.some(({ id }) => id === imageRef) && images.some(({ repoTags }) => repoTags.includes(WORKLOAD)));
    const filtered = await client.listImages({ filter: { image: { image: ARTIFACT } } });
    assert.deepEqual(
      filtered.images.map(({ id }) => id),
      [imageRef],
    );
    await client.removeImage({ image: { image: imageRef } });
    await client.removeImage({ image: { image: imageRef } });
    assert.equal((await client.imageStatus({ image: { image: ARTIFACT } })).image, undefined);
  });

  test("an image is containerd's, and a volume's pull of it is ours alone", async () => {
    const { client, direct } = node;
    const { image } = await client.imageStatus({ image: { image: WORKLOAD } });
    assert.equal(image?.id, (await direct.imageStatus({ image: { image: WORKLOAD } })).image?.id);
    const spec = { image: WORKLOAD, annotations: { "orlop.dev/volume": "true" } };
    assert.equal((await client.imageStatus({ image: spec })).image, undefined);
    const { imageRef } = await client.pullImage({ image: spec });
    assert.notEqual(imageRef, image?.id);
    assert.equal((await client.imageStatus({ image: spec })).image?.id, imageRef);
    assert.equal((await client.imageStatus({ image: { image: WORKLOAD } })).image?.id, image?.id);
    await client.removeImage({ image: { image: imageRef } });
    assert.ok((await client.imageStatus({ image: { image: WORKLOAD } })).image);
  });

  test("what is missing fails as NotFound, and as containerd says it", async () => {
    await assert.rejects(node.client.pullImage({ image: { image: "quay.io/crio/missing:v1" } }), {
      code: "NOT_FOUND",
      message: /quay\.io\/crio\/missing:v1: not found/,
    });
    await assert.rejects(
      node.client.pullImage({
        image: { image: "quay.io/crio/missing:v1", annotations: { "orlop.dev/volume": "true" } },
      }),
      { code: "NOT_FOUND", message: /missing/ },
    );
    await assert.rejects(
      node.client.pullImage({ image: { image: "127.0.0.1:9/x/y:v1", annotations: { "orlop.dev/volume": "true" } } }),
      { code: "UNKNOWN", message: /^RegistryUnavailable: .*127\.0\.0\.1:9/ },
    );
  });

  test("the filesystem's usage counts our store", async () => {
    const ours = await node.client.imageFsInfo({});
    const theirs = await node.direct.imageFsInfo({});
    assert.equal(ours.imageFilesystems.length, theirs.imageFilesystems.length);
    assert.ok(
      (ours.imageFilesystems[0]?.usedBytes?.value ?? 0n) > (theirs.imageFilesystems[0]?.usedBytes?.value ?? 0n),
    );
  });
});

suite("an image volume", () => {
  after(() => removeAll(node.client));

  test("shows the files, locked down, and is gone with its sandbox", async () => {
    const sandbox = await node.sandbox("plain");
    const mount = await node.volume(ARTIFACT);
    const container = await node.run(sandbox, "test", [mount]);
    assert.deepEqual(await node.sh(container, "cd /volume; ls; cat file; ls dir; cat dir/file"), {
      code: 0,
      out: "dir\nfile\n2\nfile\n1\n",
    });
    const { out } = await node.sh(container, "grep ' /volume ' /proc/mounts");
    assert.match(out, /^\S+ \/volume erofs ro,nosuid,nodev,noexec[, ].*\n$/);
    assert.match((await node.sh(container, "touch /volume/x")).out, /Read-only file system/);
    assert.match((await node.sh(container, "/volume/file")).out, /Permission denied/);

    const { status } = await node.client.containerStatus({ containerId: container });
    const [shown] = status?.mounts ?? [];
    assert.equal(shown?.image?.image, mount.image?.image);
    assert.equal(shown?.image?.userSpecifiedImage, ARTIFACT);
    assert.deepEqual([shown?.hostPath, shown?.readonly], ["", true]);

    await assert.rejects(node.client.removeImage({ image: { image: ARTIFACT } }), {
      code: "FAILED_PRECONDITION",
      message: new RegExp(`in use by the volumes of sandbox ${sandbox}`),
    });
    assert.equal(node.volumeMounts().length, 1);
    await node.client.stopPodSandbox({ podSandboxId: sandbox });
    assert.equal(node.volumeMounts().length, 1);
    await node.client.removePodSandbox({ podSandboxId: sandbox });
    assert.deepEqual(node.volumeMounts(), []);
    await node.client.removeImage({ image: { image: ARTIFACT } });
  });

  test("containers of a sandbox share a mount; another sandbox has its own", async () => {
    const mount = await node.volume(ARTIFACT);
    const first = await node.sandbox("first");
    const second = await node.sandbox("second");
    const a = await node.run(first, "a", [mount]);
    await node.run(first, "b", [{ ...mount, containerPath: "/elsewhere" }]);
    const c = await node.run(second, "c", [mount]);
    assert.equal(node.volumeMounts().length, 2);
    await node.client.stopPodSandbox({ podSandboxId: first });
    await node.client.removePodSandbox({ podSandboxId: first });
    assert.equal(node.volumeMounts().length, 1);
    assert.equal((await node.sh(c, "cat /volume/file")).out, "2\n");
    await assert.rejects(node.sh(a, "true"), { code: "NOT_FOUND" });
  });

  test("a sub path is a directory, a file, or an error before the container starts", async () => {
    const sandbox = await node.sandbox("subpath");
    const dir = await node.run(sandbox, "dir", [await node.volume(ARTIFACT, { imageSubPath: "dir" })]);
    assert.equal((await node.sh(dir, "ls /volume; cat /volume/file")).out, "file\n1\n");
    const file = await node.run(sandbox, "file", [
      await node.volume(ARTIFACT, { imageSubPath: "dir/file", containerPath: "/one" }),
    ]);
    assert.equal(
      (await node.sh(file, "cat /one; grep -c ' /one erofs ro,nosuid,nodev,noexec' /proc/mounts")).out,
      "1\n1\n",
    );
    for (const [imageSubPath, what] of [
      ["nope", /^ImageVolumeMountFailed: .*nope/],
      ["../x", /^ImageVolumeMountFailed: /],
    ] as const)
      await assert.rejects(
        node.run(sandbox, `bad${imageSubPath.length}`, [await node.volume(ARTIFACT, { imageSubPath })]),
        {
          code: "UNKNOWN",
          message: what,
        },
      );
    const { containers } = await node.client.listContainers({ filter: { podSandboxId: sandbox } });
    assert.equal(containers.length, 2);
  });

  test("programs run where the Pod asks for it, and not where the mount says noexec", async () => {
    const sandbox = await node.sandbox("exec", { "orlop.dev/exec": "v, /stock" });
    const named = await node.volume(WORKLOAD);
    const stock = { ...named, containerPath: "/stock", image: { ...named.image, annotations: {} } };
    const other = { ...named, containerPath: "/other", image: { ...named.image, annotations: {} } };
    const denied = { ...named, containerPath: "/denied", mountOptions: ["noexec"] };
    const container = await node.run(sandbox, "test", [named, stock, other, denied]);
    for (const path of ["/volume", "/stock"])
      assert.deepEqual(await node.sh(container, `${path}/bin/busybox echo ran`), { code: 0, out: "ran\n" });
    for (const path of ["/other", "/denied"])
      assert.match((await node.sh(container, `${path}/bin/busybox echo ran`)).out, /Permission denied/);
  });

  test("an image that containerd has is mounted by containerd's id, from containerd's own layers", async () => {
    const { imageRef } = await node.client.pullImage({ image: { image: WORKLOAD } });
    const sandbox = await node.sandbox("stock");
    const mount = {
      containerPath: "/volume",
      readonly: true,
      image: { image: imageRef, userSpecifiedImage: WORKLOAD, annotations: {} },
    };
    const container = await node.run(sandbox, "test", [mount]);
    assert.equal((await node.sh(container, "readlink /volume/bin/sh")).out, "busybox\n");
    const { status } = await node.client.containerStatus({ containerId: container });
    assert.equal(status?.mounts[0]?.image?.image, imageRef);
  });

  test("containers and mounts outlive the endpoint, and what went away meanwhile is unmounted", async () => {
    const mount = await node.volume(ARTIFACT);
    const stays = await node.sandbox("stays");
    const goes = await node.sandbox("goes");
    const container = await node.run(stays, "test", [mount]);
    await node.run(goes, "test", [mount]);
    const before = node.volumeMounts().length;
    await node.restart(async () => {
      await node.direct.stopPodSandbox({ podSandboxId: goes });
      await node.direct.removePodSandbox({ podSandboxId: goes });
    });
    assert.equal((await node.sh(container, "cat /volume/file")).out, "2\n");
    const { status } = await node.client.containerStatus({ containerId: container });
    assert.equal(status?.mounts[0]?.image?.image, mount.image?.image);
    while (node.volumeMounts().length === before) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(node.volumeMounts().length, before - 1);
  });
});

test("Version, Status and an unknown method are containerd's own", async () => {
  assert.deepEqual(await node.client.version({}), await node.direct.version({}));
  assert.deepEqual((await node.client.status({})).status, (await node.direct.status({})).status);
  // containerd 1.6 does not know it.
  await assert.rejects(node.client.streamImages({})[Symbol.asyncIterator]().next(), { code: "UNIMPLEMENTED" });
});

test("a Go client works with containerd's own services through Orlop: unary, streaming, a whole container", async () => {
  const ctr = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)("ctr", ["--address", join(node.runDir, "cri.sock"), "--namespace", "k8s.io", ...args]))
      .stdout;
  assert.match(await ctr("version"), /Server:\s+Version:/);
  const { image } = await node.client.imageStatus({ image: { image: WORKLOAD } });
  const content = await ctr("content", "get", image?.id ?? "");
  assert.equal(digestOf(content), image?.id);
  assert.equal(await ctr("run", "--rm", WORKLOAD, `orlop-${process.pid}`, "/bin/echo", "through"), "through\n");
});
