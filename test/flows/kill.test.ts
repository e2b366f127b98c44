import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import type { ByteRange, Descriptor } from "#oci";
import { hexOf } from "#oci";
import { TAR_END, tarHeader, tarPadding } from "#tar";
import { startEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";

const KILLS = 200;
const MIB = 1024 * 1024;

test(`SIGKILL at ${KILLS} random moments loses nothing that was fetched, and the object is right in the end`, async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-kill-"));
  try {
    await using registry = await startFakeRegistry();
    const reference = `${registry.host}/big:v1`;
    const big = putObject(registry);
    const state = join(dir, "data/v1/ingests", hexOf(big.digest), "state");

    const seen = new Map<string, number>();
    let kills = 0;
    let resumed = 0;
    let next = start(dir, reference);
    await ready(next);
    const before = performance.now();
    assert.ok(await killed(next, 60_000), "an undisturbed pull ends");
    const whole = performance.now() - before;
    rmSync(join(dir, "data"), { recursive: true });
    next = start(dir, reference);
    while (kills < KILLS) {
      const child = next;
      next = start(dir, reference);
      const there = journaled(state);
      registry.requests.length = 0;
      await ready(child);
      const finished = await killed(child, Math.random() * whole);
      for (const { method, url, headers } of registry.requests) {
        const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
        if (method !== "GET" || range === null || !url.endsWith(big.digest)) continue;
        const asked = { start: Number(range[1]), end: Number(range[2]) + 1 };
        for (const have of there)
          assert.ok(asked.end <= have.start || asked.start >= have.end, `asked again for ${JSON.stringify(asked)}`);
      }
      checkVisible(dir, seen);
      if (!finished) {
        kills++;
        if (there.length > 0) resumed++;
      }
      // All is here: from the beginning.
      if (finished) rmSync(join(dir, "data"), { recursive: true });
    }
    next.kill("SIGKILL");
    await once(next, "exit");
    assert.ok(resumed > KILLS / 10, `only ${resumed} of the killed pulls had something to go on with`);

    await using node = await startEngine({ dir });
    const { digest } = await node.engine.pull({ reference });
    assert.deepEqual(await node.engine.fsck(), []);
    assert.deepEqual(readdirSync(join(dir, "data/v1/ingests")), [], "no stray file");
    const target = join(dir, "volume");
    mkdirSync(target);
    await node.engine.publish({ owner: "test", digest, target });
    assert.deepEqual(readFileSync(join(target, "big")), registry.blobs.get(big.digest));
    assert.equal(readdirSync(join(target, "tree")).length, 200);
    await node.engine.unpublish("test");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

/** A raw blob of several parts, a gzip archive, and a few small files. */
function putObject(registry: FakeRegistry): Descriptor {
  const titled = (blob: Descriptor, title: string, more: object = {}) => ({
    ...blob,
    annotations: { "org.opencontainers.image.title": title, ...more },
  });
  const big = registry.putBlob(randomBytes(12 * MIB));
  const tree = registry.putBlob(gzipSync(tarOf(200, 5000), { level: 1 }));
  const small = Array.from({ length: 5 }, (_, i) => titled(registry.putBlob(`small ${i}`), `small/${i}`));
  registry.putManifest("big", "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    artifactType: "application/vnd.unknown.artifact.v1",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers: [titled(big, "big"), titled(tree, "tree", { "io.deis.oras.content.unpack": "true" }), ...small],
  });
  return big;
}

function tarOf(files: number, size: number): Buffer {
  const plain = { uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 }, linkname: "", devmajor: 0, devminor: 0 };
  const members = Array.from({ length: files }, (_, i) => [
    tarHeader({ ...plain, path: `tree/${i}`, type: "file", mode: 0o644, size, xattrs: new Map() }),
    randomBytes(size),
    tarPadding(size),
  ]);
  return Buffer.concat([...members.flat(), TAR_END]);
}

function start(dir: string, reference: string): ChildProcess {
  const program = join(import.meta.dirname, "../support/pull-once.ts");
  const args = ["--disable-warning=ExperimentalWarning", program, dir, reference];
  return spawn(process.execPath, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_COMPILE_CACHE: join(dir, "compiled") },
  });
}

/** Waits until the child has loaded everything. */
async function ready(child: ChildProcess): Promise<void> {
  assert.ok(child.stdout !== null);
  await once(child.stdout, "data");
}

/** Lets the child begin and kills it after a while. True where it was done before. */
async function killed(child: ChildProcess, milliseconds: number): Promise<boolean> {
  assert.ok(child.stdout !== null && child.stdin !== null);
  let done = false;
  const exited = once(child, "exit");
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => {
    done ||= line.startsWith("done");
  });
  child.stdin.write("go");
  const timer = setTimeout(() => child.kill("SIGKILL"), milliseconds);
  await exited;
  clearTimeout(timer);
  return done;
}

/** The ranges that the journal claims. */
function journaled(state: string): readonly ByteRange[] {
  let text: string;
  try {
    text = readFileSync(state, "latin1");
  } catch {
    return [];
  }
  return [...text.matchAll(/^w (\d+) (\d+)\n/gm)].map((match) => ({ start: Number(match[1]), end: Number(match[2]) }));
}

/** Whatever is among the blobs is what its name says. */
function checkVisible(dir: string, seen: Map<string, number>): void {
  const blobs = join(dir, "data/v1/blobs/sha256");
  let names: string[] = [];
  try {
    names = readdirSync(blobs);
  } catch {
    // Killed before anything was made.
  }
  for (const name of names) {
    const { ino } = statSync(join(blobs, name));
    if (seen.get(name) === ino) continue;
    assert.equal(
      createHash("sha256")
        .update(readFileSync(join(blobs, name)))
        .digest("hex"),
      name,
    );
    seen.set(name, ino);
  }
}
