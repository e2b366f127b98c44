import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { isFailure, silent } from "#base";
import { linuxKernel } from "#kernel";
import type { Descriptor } from "#oci";
import { TAR_END, tarHeader } from "#tar";
import { startEngine, type TestEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";

const MIB = 1024 * 1024;

function putArtifact(
  registry: FakeRegistry,
  name: string,
  files: Readonly<Record<string, Uint8Array | string>>,
  annotations: Readonly<Record<string, string>> = {},
): { readonly reference: string; readonly layers: readonly [Descriptor, ...Descriptor[]] } {
  const layers = Object.entries(files).map(([title, bytes]) => ({
    ...registry.putBlob(bytes),
    annotations: { "org.opencontainers.image.title": title, ...annotations },
  })) as unknown as [Descriptor, ...Descriptor[]];
  registry.putManifest(name, "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers,
  });
  return { reference: `${registry.host}/${name}:v1`, layers };
}

function tarHeaderOf(path: string, size: number): Uint8Array {
  const numbers = { mode: 0o644, uid: 0, gid: 0, size, devmajor: 0, devminor: 0 };
  const mtime = { seconds: 0, nanoseconds: 0 };
  return tarHeader({ ...numbers, path, type: "file", mtime, linkname: "", xattrs: new Map() });
}

/** Bytes of a blob that were asked for. */
function asked(registry: FakeRegistry, blob: Descriptor): number {
  return registry.requests
    .filter(({ method, url }) => method === "GET" && url.endsWith(blob.digest))
    .map(({ headers }) => /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? ""))
    .reduce((sum, range) => sum + (range === null ? blob.size : Number(range[2]) - Number(range[1]) + 1), 0);
}

function emptyDirectory({ dir }: TestEngine, name: string): string {
  const path = join(dir, name);
  mkdirSync(path);
  return path;
}

test("fifty calls for one object fetch it once, and each hears how far it is", async () => {
  await using registry = await startFakeRegistry();
  const { reference, layers } = putArtifact(registry, "x", { big: randomBytes(20 * MIB), small: "small" });
  await using node = await startEngine();
  const heard = new Set<number>();
  const pulls = Array.from({ length: 50 }, (_, i) =>
    node.engine.pull({ reference }, { onProgress: ({ received, total }) => received === total && heard.add(i) }),
  );
  const digests = new Set((await Promise.all(pulls)).map(({ digest }) => digest));
  assert.equal(digests.size, 1);
  assert.equal(heard.size, 50);
  for (const layer of layers) assert.equal(asked(registry, layer), layer.size);
});

test("two objects that share a layer, pulled together, fetch it once", async () => {
  await using registry = await startFakeRegistry();
  const shared = randomBytes(3 * MIB);
  const one = putArtifact(registry, "one", { shared, a: "a" });
  const two = putArtifact(registry, "two", { shared, b: "b" });
  await using node = await startEngine();
  await Promise.all([one, two].map(({ reference }) => node.engine.pull({ reference })));
  assert.equal(asked(registry, one.layers[0]), shared.length);
});

test("four processes that pull one object fetch it once", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-sharing-"));
  try {
    await using registry = await startFakeRegistry();
    const { reference, layers } = putArtifact(registry, "x", { big: randomBytes(20 * MIB), small: "small" });
    const program = join(import.meta.dirname, "../support/pull-once.ts");
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, dir, reference], {
        stdio: ["pipe", "pipe", "inherit"],
      }),
    );
    await Promise.all(children.map((child) => once(child.stdout, "data")));
    const ended = children.map((child) => once(child, "exit"));
    for (const child of children) child.stdin.write("go");
    for (const [code] of await Promise.all(ended)) assert.equal(code, 0);
    for (const layer of layers) assert.equal(asked(registry, layer), layer.size);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("an aborted call stops waiting; the pull goes on, and the next call finds its bytes", async () => {
  await using registry = await startFakeRegistry();
  const { reference, layers } = putArtifact(registry, "x", { big: randomBytes(20 * MIB) });
  const gate = Promise.withResolvers<void>();
  registry.intercepts.push(async ({ headers }) => {
    if (headers.range !== undefined && !headers.range.startsWith("bytes=0-")) await gate.promise;
    return false;
  });
  await using node = await startEngine();
  const abort = new AbortController();
  const first = node.engine.pull({ reference }, { signal: abort.signal, onProgress: () => abort.abort() });
  await assert.rejects(first, { name: "AbortError" });
  // Listing and mounting never wait for a pull.
  assert.deepEqual(await node.engine.list(), []);
  gate.resolve();
  await node.engine.pull({ reference });
  assert.equal(asked(registry, layers[0]), 20 * MIB);
});

test("a pull that ends with its engine goes on in the next one", async () => {
  await using registry = await startFakeRegistry();
  const { reference, layers } = putArtifact(registry, "x", { big: randomBytes(40 * MIB) });
  const [big] = layers;
  await using node = await startEngine();
  const received = Promise.withResolvers<void>();
  {
    await using early = await startEngine({ dir: node.dir });
    const pull = early.engine.pull(
      { reference },
      { onProgress: (progress) => progress.received > 10 * MIB && received.resolve() },
    );
    pull.catch(() => undefined);
    await received.promise;
  }
  const before = asked(registry, big);
  await node.engine.pull({ reference });
  assert.ok(asked(registry, big) - before <= 30 * MIB, "what was there is not asked for again");
});

test("a full disk is a clear error; what is there stays, and the pull goes on when there is room", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-full-"));
  const kernel = linuxKernel();
  kernel.mountTmpfs(dir, { sizeBytes: 24 * MIB }, {});
  try {
    await using registry = await startFakeRegistry();
    const fits = putArtifact(registry, "fits", { model: randomBytes(8 * MIB) });
    const large = putArtifact(registry, "large", { model: randomBytes(30 * MIB) });
    await using node = await startEngine({ dir, mounter: "directory" });
    await node.engine.pull({ reference: fits.reference });
    await assert.rejects(node.engine.pull({ reference: large.reference }), (error) => isFailure(error, "NO_SPACE"));
    assert.deepEqual(await node.engine.fsck(), []);
    assert.equal((await node.engine.list()).length, 1);
    // What comes over the network would fit, but not what is in it.
    const plain = Buffer.concat([tarHeaderOf("zeros", 30 * MIB), Buffer.alloc(30 * MIB), TAR_END]);
    const unpack = { "io.deis.oras.content.unpack": "true" };
    const packed = putArtifact(registry, "packed", { tree: gzipSync(plain) }, unpack);
    await assert.rejects(node.engine.pull({ reference: packed.reference }), (error) => isFailure(error, "NO_SPACE"));
    const middle = putArtifact(registry, "middle", { model: randomBytes(18 * MIB) });
    await assert.rejects(node.engine.pull({ reference: middle.reference }), (error) => isFailure(error, "NO_SPACE"));
    await node.engine.remove(fits.reference);
    await node.engine.pull({ reference: middle.reference });
    assert.deepEqual(await node.engine.fsck(), []);
  } finally {
    kernel.unmount(dir);
    rmSync(dir, { recursive: true, force: true });
  }
});

test("on a disk that is full to the last byte the store can be opened, and what it holds be removed", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-full-"));
  const kernel = linuxKernel();
  kernel.mountTmpfs(dir, { sizeBytes: 24 * MIB }, {});
  try {
    await using registry = await startFakeRegistry();
    const { reference } = putArtifact(registry, "x", { model: randomBytes(8 * MIB) });
    {
      await using node = await startEngine({ dir, mounter: "directory" });
      await node.engine.pull({ reference });
    }
    const filler = openSync(join(dir, "filler"), "w");
    assert.throws(
      () => {
        for (;;) writeSync(filler, Buffer.alloc(4096));
      },
      { code: "ENOSPC" },
    );
    closeSync(filler);
    await using node = await startEngine({ dir, mounter: "directory" });
    assert.equal((await node.engine.list()).length, 1);
    const { freed } = await node.engine.prune({ downTo: 0 });
    assert.ok(freed >= 8 * MIB, String(freed));
    assert.deepEqual(await node.engine.list(), []);
    await node.engine.pull({ reference });
  } finally {
    kernel.unmount(dir);
    rmSync(dir, { recursive: true, force: true });
  }
});

test("to remove one object takes nothing from the interrupted pull of another", async () => {
  await using registry = await startFakeRegistry();
  const [big, small] = [randomBytes(40 * MIB), "small"].map((content, i) =>
    putArtifact(registry, `x${i}`, { content }),
  );
  assert.ok(big !== undefined && small !== undefined);
  await using node = await startEngine();
  await node.engine.pull({ reference: small.reference });
  {
    const received = Promise.withResolvers<void>();
    await using early = await startEngine({ dir: node.dir });
    const onProgress = (progress: { received: number }) => progress.received > 10 * MIB && received.resolve();
    early.engine.pull({ reference: big.reference }, { onProgress }).catch(() => undefined);
    await received.promise;
  }
  await node.engine.remove(small.reference);
  const before = asked(registry, big.layers[0]);
  await node.engine.pull({ reference: big.reference });
  assert.ok(asked(registry, big.layers[0]) - before <= 30 * MIB, "what was there is not asked for again");
});

test("a data directory that cannot be written is a clear error", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-read-only-"));
  const kernel = linuxKernel();
  try {
    kernel.bind(dir, dir, { readOnly: true });
    await assert.rejects(startEngine({ dir }), (error) => isFailure(error, "READ_ONLY_STORE"));
  } finally {
    kernel.unmount(dir);
    rmSync(dir, { recursive: true, force: true });
  }
});

test("fsck finds a flipped bit, moves the blob aside, and fetches it again where it can", async () => {
  await using registry = await startFakeRegistry();
  const { reference, layers } = putArtifact(registry, "x", { a: randomBytes(100_000), b: "b" });
  await using node = await startEngine({ patience: { delay: 1, attempts: 2 } });
  await node.engine.pull({ reference });
  assert.deepEqual(await node.engine.fsck(), []);
  const path = join(node.dir, "data/v1/blobs/sha256", layers[0].digest.slice(7));
  const flip = () => {
    const bytes = readFileSync(path);
    bytes[5000] = (bytes[5000] ?? 0) ^ 1;
    rmSync(path);
    writeFileSync(path, bytes);
  };
  flip();
  const [finding, ...others] = await node.engine.fsck();
  assert.deepEqual(others, []);
  assert.equal(finding?.digest, layers[0].digest);
  assert.match(finding.problem, /moved aside; it was fetched again/);
  assert.equal(finding.isMended, true);
  assert.ok(existsSync(finding.path) && finding.path !== path);
  assert.deepEqual(await node.engine.fsck(), []);

  flip();
  registry.blobs.delete(layers[0].digest);
  const [lost] = await node.engine.fsck();
  assert.match(lost?.problem ?? "", /could not be fetched again/);
  assert.equal(lost?.isMended, false);
  assert.ok(!existsSync(path));
  assert.match((await node.engine.fsck())[0]?.problem ?? "", /missing/);
  const [{ digest } = { digest: layers[0].digest }] = await node.engine.list();
  await assert.rejects(node.engine.publish({ owner: "pod", digest, target: emptyDirectory(node, "volume") }), (error) =>
    isFailure(error, "BLOB_MISSING"),
  );
  assert.deepEqual(await node.engine.volumes(), []);
});

test("a blob that cannot be read is moved aside, too, and fetched again", async () => {
  await using registry = await startFakeRegistry();
  const { reference, layers } = putArtifact(registry, "x", { a: "a", b: "b" });
  await using node = await startEngine();
  await node.engine.pull({ reference });
  const path = join(node.dir, "data/v1/blobs/sha256", layers[0].digest.slice(7));
  rmSync(path);
  // Reading it fails as on a broken disk.
  mkdirSync(path);
  const [finding] = await node.engine.fsck();
  assert.match(finding?.problem ?? "", /^it cannot be read: .*; it was moved aside; it was fetched again$/);
  assert.equal(readFileSync(path, "utf8"), "a");
  assert.deepEqual(await node.engine.fsck(), []);
});

test("above its high mark the store collects by itself, the least recently used first, down to its low mark", async () => {
  await using registry = await startFakeRegistry();
  const collected = Promise.withResolvers<void>();
  const log = {
    ...silent,
    info: (_: object, message: string) => message.startsWith("collected") && collected.resolve(),
  };
  await using node = await startEngine({ watermarks: { high: 7 * MIB, low: 5 * MIB }, log });
  for (const name of ["first", "second", "third"])
    await node.engine.pull({ reference: putArtifact(registry, name, { [name]: randomBytes(2 * MIB) }).reference });
  assert.equal((await node.engine.list()).length, 3);
  await node.engine.pull({ reference: putArtifact(registry, "fourth", { fourth: randomBytes(2 * MIB) }).reference });
  await collected.promise;
  const left = (await node.engine.list()).map(({ references }) => references[0]?.replace(/^.*\//, ""));
  assert.deepEqual(left, ["third:v1", "fourth:v1"]);
  await assert.rejects(startEngine({ watermarks: { high: "50%", low: "60%" } }), (error) =>
    isFailure(error, "INVALID_WATERMARKS"),
  );
});

test("prune deletes what nothing needs, and down to a mark the least recently used; never what is mounted", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine();
  const { engine } = node;
  const objects = ["old", "mounted", "new"].map((name) =>
    putArtifact(registry, name, { [name]: randomBytes(2 * MIB) }),
  );
  const digests: string[] = [];
  for (const { reference } of objects) digests.push((await engine.pull({ reference })).digest);
  const target = emptyDirectory(node, "volume");
  await engine.publish({ owner: "pod", digest: digests[1] as Descriptor["digest"], target });

  // A tag that moved on leaves what it named before without a name.
  putArtifact(registry, "old", { moved: randomBytes(2 * MIB) });
  await engine.pull({ reference: objects[0]?.reference ?? "" });
  assert.equal((await engine.list()).length, 4);
  const { freed, removed } = await engine.prune();
  assert.ok(freed >= 2 * MIB && freed < 3 * MIB, String(freed));
  assert.ok(removed.includes(objects[0]?.layers[0]?.digest ?? ""));
  assert.equal((await engine.list()).length, 3);

  await engine.prune({ above: 50 * MIB, downTo: 0 });
  assert.equal((await engine.list()).length, 3, "it is not above the mark");
  await engine.prune({ above: "100%", downTo: "0%" });
  assert.equal((await engine.list()).length, 3, "no disk is fuller than that");
  await engine.prune({ above: 5 * MIB, downTo: 5 * MIB });
  assert.deepEqual(new Set((await engine.list()).map(({ references }) => references[0])).size, 2);
  await engine.prune({ downTo: 0 });
  assert.deepEqual(
    (await engine.list()).map(({ digest }) => digest),
    [digests[1]],
  );
  assert.equal(readFileSync(join(target, "mounted")).length, 2 * MIB);
  await engine.unpublish("pod");
  await engine.prune({ downTo: 0 });
  assert.deepEqual(readdirSync(join(node.dir, "data/v1/blobs/sha256")), []);
});

test("pulls, mounts, unmounts and pruning race, and nothing is lost", async () => {
  await using registry = await startFakeRegistry();
  await using node = await startEngine();
  await using other = await startEngine({ dir: node.dir });
  const common = gzipSync(randomBytes(MIB));
  const contents = Array.from({ length: 4 }, (_, i) => ({ common, own: randomBytes(300_000), name: `object ${i}` }));
  const objects = contents.map((content, i) => putArtifact(registry, `race${i}`, content));
  const rounds = 60;
  const done = new AbortController();
  const use = async (i: number) => {
    const { engine } = i % 2 === 0 ? node : other;
    const target = emptyDirectory(node, `target-${i}`);
    for (let round = 0; round < rounds; round++) {
      const which = (i + round) % objects.length;
      const { digest } = await engine.pull({ reference: objects[which]?.reference ?? "" });
      try {
        await engine.publish({ owner: `owner-${i}`, digest, target });
      } catch (error) {
        // Between the pull and the mount nobody held it.
        if (isFailure(error, "NOT_FOUND")) continue;
        throw error;
      }
      assert.equal(readFileSync(join(target, "name"), "utf8"), `object ${which}`);
      assert.ok(readFileSync(join(target, "own")).equals(contents[which]?.own ?? Buffer.of()));
      await engine.unpublish(`owner-${i}`, target);
    }
  };
  const prune = async () => {
    while (!done.signal.aborted) await node.engine.prune({ downTo: 0 });
  };
  const pruning = prune();
  await Promise.all([0, 1, 2, 3].map(use)).finally(() => {
    done.abort();
  });
  await pruning;
  assert.deepEqual(await node.engine.fsck(), []);
  await node.engine.prune({ downTo: 0 });
  assert.deepEqual(readdirSync(join(node.dir, "data/v1/blobs/sha256")), []);
  assert.deepEqual(readdirSync(join(node.dir, "run/mounts")), []);
});
