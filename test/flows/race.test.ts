import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { linuxKernel } from "#kernel";
import { TAR_END, tarHeader, tarPadding } from "#tar";
import { startEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";
import type { Race } from "../support/race-worker.ts";
import { PLAIN } from "../support/tar-header.ts";

const MINUTE = 60_000;
const WORKERS = ["a", "b", "c"];
const root = join(import.meta.dirname, "../..");

test("for a minute processes pull, mount, unmount, remove, prune and are killed, and nothing is lost", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-race-"));
  const places = ["--data-dir", join(dir, "data"), "--run-dir", join(dir, "run"), "--certs-dir", join(dir, "none")];
  const workers = new Map<string, Worker>();
  try {
    await using registry = await startFakeRegistry();
    const { race, move } = putObjects(registry);
    writeFileSync(join(dir, "race.json"), JSON.stringify(race));
    for (const name of WORKERS) workers.set(name, startWorker(t.diagnostic.bind(t), dir, name));

    const until = Date.now() + MINUTE;
    const isOver = () => Date.now() > until || [...workers.values()].some(({ hasFailed }) => hasFailed());
    const done: Record<string, number> = {};
    const killer = async () => {
      for (let turn = 0; !isOver(); turn++) {
        await sleep(1000);
        move();
        if (turn % 3 !== 2 || isOver()) continue;
        const name = WORKERS[randomInt(WORKERS.length)] ?? "";
        await workers.get(name)?.kill();
        workers.set(name, startWorker(t.diagnostic.bind(t), dir, name));
        done["killed"] = (done["killed"] ?? 0) + 1;
      }
    };
    const person = async () => {
      const target = join(dir, "mine");
      mkdirSync(target);
      for (let turn = 0; !isOver(); turn++) {
        const reference = race.references[turn % race.references.length] ?? "";
        const digest = (await orlop("mount", ...places, reference, target)).split(" ")[0] ?? "";
        for (const [path, sha256] of Object.entries(race.objects[digest] ?? assert.fail(`mounted ${digest}`)))
          assert.equal(sha256Of(readFileSync(join(target, path))), sha256, `${path} of ${digest}`);
        await orlop("prune", ...places, "--low-watermark", "0");
        for (const [path, sha256] of Object.entries(race.objects[digest] ?? {}))
          assert.equal(sha256Of(readFileSync(join(target, path))), sha256, `${path} of ${digest}`);
        await orlop("umount", ...places, target);
        done["byHand"] = (done["byHand"] ?? 0) + 1;
      }
    };
    await Promise.all([killer(), person()]);
    for (const worker of workers.values())
      for (const [what, count] of Object.entries(await worker.stop())) done[what] = (done[what] ?? 0) + count;
    t.diagnostic(JSON.stringify(done));
    for (const what of ["killed", "byHand", "mounted", "pruned", "removed", "aborted"])
      assert.ok((done[what] ?? 0) > 0, `${what}: ${JSON.stringify(done)}`);

    {
      await using node = await startEngine({ dir });
      for (const { owner } of await node.engine.volumes()) await node.engine.unpublish(owner);
      assert.deepEqual(await node.engine.fsck(), []);
      for (const reference of race.references) {
        const { digest } = await node.engine.pull({ reference });
        assert.ok(race.objects[digest]);
      }
      assert.deepEqual(await node.engine.fsck(), []);
      await node.engine.prune({ downTo: 0 });
      assert.deepEqual(await node.engine.list(), []);
    }
    const mounts = linuxKernel().mounts();
    assert.deepEqual(
      mounts.map(({ target }) => target).filter((target) => target.startsWith(`${dir}/`)),
      [],
    );
    for (const place of ["data/v1/blobs/sha256", "data/v1/snapshots", "data/v1/ingests", "data/v1/holders"])
      assert.deepEqual(readdirSync(join(dir, place)), [], `no stray file in ${place}`);
    for (const place of ["run/mounts", "run/locks"])
      assert.deepEqual(readdirSync(join(dir, place)), [], `no stray directory in ${place}`);
    assert.ok(!existsSync(join(dir, "data/v1/quarantine")), "nothing was ever found to be damaged");
  } finally {
    for (const worker of workers.values()) await worker.kill();
    const kernel = linuxKernel();
    for (const { target } of kernel.mounts().toReversed()) if (target.startsWith(`${dir}/`)) kernel.unmount(target);
    rmSync(dir, { recursive: true, force: true });
  }
});

interface Worker {
  readonly hasFailed: () => boolean;
  kill(): Promise<void>;
  /** Lets it finish what it is at. What it did, by kind. */
  stop(): Promise<Record<string, number>>;
}

function startWorker(say: (line: string) => void, dir: string, name: string): Worker {
  const seed = randomInt(2 ** 31);
  say(`worker ${name} runs with the seed ${seed}`);
  const program = join(root, "test/support/race-worker.ts");
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, dir, name, String(seed)], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, NODE_COMPILE_CACHE: join(dir, "compiled") },
  });
  child.stdin.on("error", () => undefined);
  const ended = once(child, "exit");
  const [out, err] = [text(child.stdout), text(child.stderr)];
  return {
    hasFailed: () => child.exitCode !== null && child.exitCode !== 0,
    async kill() {
      child.kill("SIGKILL");
      await ended;
      if (child.signalCode === null && child.exitCode !== 0) throw new Error(`worker ${name} failed: ${await err}`);
    },
    async stop() {
      child.stdin.write("stop");
      await ended;
      assert.equal(child.exitCode, 0, `worker ${name}, seed ${seed}: ${await err}`);
      return JSON.parse(await out) as Record<string, number>;
    },
  };
}

/** `orlop …` as a user calls it. What it prints. */
async function orlop(...args: readonly string[]): Promise<string> {
  const child = spawn(join(root, "bin/orlop"), args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close");
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  await ended;
  assert.equal(child.exitCode, 0, `orlop ${args[0]}: ${err}`);
  return out;
}

/** Artifacts that share a layer, images of one archive, and a tag that moves between two of each. */
function putObjects(registry: FakeRegistry): { readonly race: Race; readonly move: () => void } {
  const objects: Record<string, Record<string, string>> = {};
  const shared = randomBytes(1_200_000);
  const titled = (bytes: Uint8Array, title: string, more: object = {}) => ({
    ...registry.putBlob(bytes),
    annotations: { "org.opencontainers.image.title": title, ...more },
  });
  const variants = Array.from({ length: 5 }, (_, i) =>
    [0, 1].map((variant) => {
      const own = randomBytes(200_000);
      const members = Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`tree/${n}`, randomBytes(20_000)]));
      const layers = [
        titled(shared, "shared"),
        titled(own, "own"),
        titled(Buffer.from(`${i} ${variant}`), "name"),
        titled(gzipSync(tarOf(members), { level: 1 }), "tree", { "io.deis.oras.content.unpack": "true" }),
      ];
      const manifest = {
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        artifactType: "application/vnd.unknown.artifact.v1",
        config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
        layers,
      };
      const files = { shared, own, name: Buffer.from(`${i} ${variant}`), ...members };
      const { digest } = registry.putManifest(`race${i}`, "v1", manifest);
      objects[digest] = Object.fromEntries(Object.entries(files).map(([path, bytes]) => [path, sha256Of(bytes)]));
      return manifest;
    }),
  );
  const references = variants.map((_, i) => `${registry.host}/race${i}:v1`);
  const move = () => {
    const which = randomInt(variants.length);
    const manifest = variants[which]?.[randomInt(2)];
    if (manifest !== undefined) registry.putManifest(`race${which}`, "v1", manifest);
  };
  return { race: { references, objects }, move };
}

function tarOf(members: Readonly<Record<string, Uint8Array>>): Buffer {
  const entries = Object.entries(members).flatMap(([path, bytes]) => [
    tarHeader({ ...PLAIN, path, size: bytes.length }),
    bytes,
    tarPadding(bytes.length),
  ]);
  return Buffer.concat([...entries, TAR_END]);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
