// What happens to image volumes when something dies, is slow, or is away.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { cri } from "#wire";
import { removeAll, startCriNode, type CriNode } from "../support/cri-node.ts";
import {
  ARTIFACT,
  createWorld,
  freePort,
  leftovers,
  pushObjects,
  ran,
  until,
  WORKLOAD,
  type World,
} from "../support/orlop.ts";

const BIG = "quay.io/crio/big:v1";
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

async function remove(sandbox: string): Promise<void> {
  await node.client.stopPodSandbox({ podSandboxId: sandbox });
  await node.client.removePodSandbox({ podSandboxId: sandbox });
}

test("a container and its volume live on when containerd is killed, and are removed as ever", async () => {
  const sandbox = await node.sandbox("survivor");
  const container = await node.run(sandbox, "test", [await node.volume(ARTIFACT)]);
  const { pid } = node.containerd;
  process.kill(pid, "SIGKILL");
  await until("containerd runs again", () => node.containerd.pid !== pid || undefined);
  await until("CRI answers again", () =>
    node.client
      .version({})
      .then(() => true)
      .catch(() => undefined),
  );
  assert.equal((await node.sh(container, "cat /volume/file")).out, "2\n");
  await remove(sandbox);
  assert.deepEqual(node.volumeMounts(), []);
});

test("a big pull goes on when its caller gives up, and nothing waits for it", async () => {
  const file = world.file("content/big/model", randomBytes(48 * 1024 * 1024));
  await node.engine.push({ reference: BIG, paths: [file] });
  const spec = { image: BIG };
  await assert.rejects(node.client.pullImage({ image: spec }, { timeout: 20 }), { code: "DEADLINE_EXCEEDED" });
  assert.ok((await node.client.listImages({})).images.length > 0);
  const found = await until(
    "the pull ends by itself",
    async () => (await node.client.imageStatus({ image: spec })).image,
  );
  assert.ok(found.size > 48n * 1024n * 1024n);
});

test("many sandboxes at once, with volumes and without, leave nothing behind", async () => {
  const mount = await node.volume(ARTIFACT);
  const ids = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const sandbox = await node.sandbox(`many-${i}`);
      if (i % 4 !== 3)
        await node.run(sandbox, "test", [mount, { ...mount, containerPath: "/again", imageSubPath: "dir" }]);
      return sandbox;
    }),
  );
  assert.equal(node.volumeMounts().length, 12);
  await Promise.all(ids.map(remove));
  assert.deepEqual(node.volumeMounts(), []);
  assert.deepEqual(readdirSync(join(node.runDir, "volumes")), []);
  assert.deepEqual(await node.engine.volumes(), []);
  const netns = join(node.runDir, "containerd/io.containerd.grpc.v1.cri/netns");
  assert.deepEqual(existsSync(netns) ? readdirSync(netns) : [], []);
});

test("with the registry gone, containerd's own copy of an image is enough to mount it", async () => {
  const { imageRef } = await node.client.pullImage({ image: { image: WORKLOAD } });
  const hosts = join(world.certsDir, "registry.k8s.io/hosts.toml");
  const before = readFileSync(hosts);
  writeFileSync(
    hosts,
    'server = "http://127.0.0.1:9"\n[host."http://127.0.0.1:9"]\n  capabilities = ["pull", "resolve"]\n',
  );
  try {
    const sandbox = await node.sandbox("offline");
    const image = { image: imageRef, userSpecifiedImage: WORKLOAD, annotations: {} };
    const container = await node.run(sandbox, "test", [{ containerPath: "/volume", readonly: true, image }]);
    assert.equal((await node.sh(container, "readlink /volume/bin/sh")).out, "busybox\n");
    await remove(sandbox);
  } finally {
    writeFileSync(hosts, before);
  }
});

test("an image that was imported and has no digest in its name is mounted too", async () => {
  const imported = "example.com/imported:v1";
  const tar = join(world.dir, "imported.tar");
  const ctr = (...args: string[]): void => {
    const { code, err } = ran(["ctr", "--address", node.containerd.socket, "--namespace", "k8s.io", "images", ...args]);
    assert.equal(code, 0, err);
  };
  ctr("export", tar, WORKLOAD);
  await node.direct.removeImage({ image: { image: WORKLOAD } });
  ctr("import", "--index-name", imported, tar);
  const found = await until(
    "CRI knows it",
    async () => (await node.direct.imageStatus({ image: { image: imported } })).image,
  );
  assert.deepEqual(found.repoDigests, []);
  const sandbox = await node.sandbox("imported");
  const image = { image: found.id, userSpecifiedImage: imported, annotations: {} };
  const { containerId } = await node.client.createContainer({
    podSandboxId: sandbox,
    sandboxConfig: node.configOf(sandbox),
    config: {
      metadata: { name: "test" },
      image: { image: imported },
      mounts: [{ containerPath: "/volume", readonly: true, image }],
    },
  });
  await node.client.startContainer({ containerId });
  assert.equal((await node.sh(containerId, "readlink /volume/bin/sh")).out, "busybox\n");
  await remove(sandbox);
});

test("containerd ends only when nothing runs in it, and takes its network with it", async () => {
  const portMappings = [{ protocol: cri.Protocol.TCP, containerPort: 80, hostPort: await freePort() }];
  const sandbox = await node.sandbox("last", {}, { portMappings });
  const { status } = await node.client.podSandboxStatus({ podSandboxId: sandbox });
  assert.match(status?.network?.ip ?? "", /^10\./);
  const conflist = readFileSync(join(node.runDir, "cni/10-orlop.conflist"), "utf8");
  const { name } = JSON.parse(conflist) as { name: string };
  const rules = (): string => ran(["iptables-save", "-t", "nat"]).out;
  assert.ok(existsSync(`/sys/class/net/${name}`));
  assert.ok(rules().includes(`dnat name: \\"${name}\\"`));
  const hidden = rules()
    .split("\n")
    .filter((line) => line.includes(`name: \\"${name}\\""`) && line.endsWith("-j MASQUERADE"));
  assert.equal(hidden.length, 1, "one rule hides all Pods behind the machine's address, however many there are");
  assert.equal(await node.containerd.stop(), false);
  await removeAll(node.client);
  assert.equal(await node.containerd.stop(), true);
  assert.equal(existsSync(`/sys/class/net/${name}`), false);
  assert.equal(rules().includes(name), false);
  assert.equal(/^:CNI-HOSTPORT/m.test(rules()) && !/^-A CNI-HOSTPORT-DNAT/m.test(rules()), false);
});
