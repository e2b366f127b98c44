// One of several processes that use a store as nodes and people do, all at once: `race-worker.ts DIR NAME SEED`. It pulls, mounts,
// reads, unmounts, removes and prunes the objects of `DIR/race.json` until its input says `stop`, and then prints what it did.
// It ends with an error at the first byte that is wrong and at the first failure that no user would understand.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isFailure } from "#base";
import type { Digest } from "#oci";
import { startEngine } from "./engine.ts";

/** What the test has written down for the workers. */
export interface Race {
  readonly references: readonly string[];
  /** sha256 of every file, by path, by manifest digest. */
  readonly objects: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

const LANES = 3;

const [dir = "", name = "", seed = "0"] = process.argv.slice(2);
const race = JSON.parse(readFileSync(join(dir, "race.json"), "utf8")) as Race;
const did: Record<string, number> = { mounted: 0, read: 0, pruned: 0, removed: 0, aborted: 0, lost: 0, takenOver: 0 };
const over = new AbortController();
process.stdin.once("data", () => {
  over.abort();
  process.stdin.destroy();
});

const random = mulberry32(Number(seed));
await using node = await startEngine({ dir });
const { engine } = node;
await takeOver();
await Promise.all(Array.from({ length: LANES }, (_, i) => lane(`${name}-${i}`)));
process.stdout.write(`${JSON.stringify(did)}\n`);

/** What this worker had mounted when it was killed still shows what it should, and goes away. */
async function takeOver(): Promise<void> {
  for (const { owner, digest, target, mounted } of await engine.volumes()) {
    if (!owner.startsWith(`${name}-`)) continue;
    if (mounted) {
      await check(digest, target);
      count("takenOver");
    }
    await engine.unpublish(owner, target);
  }
}

async function lane(owner: string): Promise<void> {
  const target = join(dir, "targets", owner);
  mkdirSync(target, { recursive: true });
  mkdirSync(`${target}-again`, { recursive: true });
  while (!over.signal.aborted) {
    const reference = pick(race.references);
    const dice = random();
    if (dice < 0.65) await use(owner, reference, target);
    else if (dice < 0.75) await giveUp(reference);
    else if (dice < 0.85) await remove(reference);
    else {
      await engine.prune(dice < 0.9 ? {} : { downTo: dice < 0.95 ? 0 : 3_000_000 });
      count("pruned");
    }
  }
}

async function use(owner: string, reference: string, target: string): Promise<void> {
  const { digest } = (random() < 0.5 ? await engine.find(reference) : undefined) ?? (await engine.pull({ reference }));
  try {
    await engine.publish({ owner, digest, target });
  } catch (error) {
    // Between the pull and the mount nobody held it.
    if (!isFailure(error, "NOT_FOUND")) throw error;
    return count("lost");
  }
  count("mounted");
  await check(digest, target);
  await sleep(random() * 40);
  // What is in use is all there: it can be mounted once more.
  if (random() < 0.3) await engine.publish({ owner, digest, target: `${target}-again` });
  assert.ok(await engine.find(digest), `${digest} is mounted at ${target}, and forgotten`);
  await check(digest, target);
  await engine.unpublish(owner);
}

/** Somebody asks for it and does not wait. */
async function giveUp(reference: string): Promise<void> {
  const signal = AbortSignal.timeout(1 + Math.floor(random() * 30));
  try {
    await engine.pull({ reference }, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    count("aborted");
  }
}

async function remove(reference: string): Promise<void> {
  try {
    await engine.remove(reference);
    count("removed");
  } catch (error) {
    if (!isFailure(error, "NOT_FOUND", "IN_USE")) throw error;
  }
}

async function check(digest: Digest, target: string): Promise<void> {
  const files = race.objects[digest];
  assert.ok(files !== undefined, `${digest} is none of the objects`);
  for (const [path, sha256] of Object.entries(files)) {
    const bytes = await readFile(join(target, path));
    assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, `${target}/${path} of ${digest}`);
    count("read");
  }
}

function count(what: string): void {
  did[what] = (did[what] ?? 0) + 1;
}

function pick<T>(from: readonly T[]): T {
  const one = from[Math.floor(random() * from.length)];
  assert.ok(one !== undefined);
  return one;
}

function mulberry32(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
