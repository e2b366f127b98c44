// npm run fuzz -- [--minutes N] [--seed N] [--target NAME]: looks for bytes that break a promise of test/support/fuzz-targets.ts.
// What it finds is written to test/regress/crashers/, where every test run tries it again.
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FUZZ_TARGETS, type FuzzTarget } from "../test/support/fuzz-targets.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    target: { type: "string" },
  },
});
const targets = FUZZ_TARGETS.filter(({ name }) => values.target === undefined || values.target === name);
const until = Date.now() + Number(values.minutes) * 60_000;
if (targets.length === 0 || !(Number(values.minutes) > 0)) {
  console.error(`usage: npm run fuzz -- --minutes N --target ${FUZZ_TARGETS.map(({ name }) => name).join("|")}`);
  process.exit(2);
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
let state = Number(values.seed) | 0;
function below(limit: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
}
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;

/** Bytes that mean something to one of the formats: signs, ends, extremes of numbers. */
const TOKENS = [
  [
    "\0",
    "/",
    "..",
    ".",
    "../",
    "//",
    ".wh.",
    ".wh..wh..opq",
    "\n",
    "=",
    " ",
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "1e9",
  ],
  [
    "-1",
    "0",
    "4294967296",
    "9007199254740993",
    "00000000000",
    "77777777777",
    "\u0080\0\0\0\0\0\0\u00ff",
    "\u00ff\u00ff",
  ],
  [
    "path",
    "size",
    "GNU.sparse.map",
    "GNU.sparse.realsize",
    "SCHILY.xattr.",
    "mediaType",
    "digest",
    "annotations",
    "layers",
  ],
]
  .flat()
  .map((text) => Buffer.from(text, "latin1"));

function mutate(input: Uint8Array, other: Uint8Array): Buffer {
  let bytes = Buffer.from(input);
  for (let turns = 1 + below(6); turns > 0; turns--) {
    const at = below(bytes.length + 1);
    const span = below(4) === 0 ? below(bytes.length + 1) : below(16);
    const rest = bytes.subarray(Math.min(bytes.length, at + span));
    switch (below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = below(256);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << below(8));
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), rest]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + span), bytes.subarray(at)]);
        break;
      case 4:
        pick(TOKENS).copy(bytes, at);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), pick(TOKENS), bytes.subarray(at)]);
        break;
      case 6: {
        const from = below(other.length + 1);
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + span), rest]);
        break;
      }
      default: {
        // Whole blocks change places: members of an archive, inodes of an image.
        const blocks = Math.floor(bytes.length / 512);
        if (blocks === 0) break;
        const [a, b] = [below(blocks) * 512, below(blocks) * 512];
        const block = Buffer.from(bytes.subarray(a, a + 512));
        bytes.copy(bytes, a, b, b + 512);
        block.copy(bytes, b);
      }
    }
    if (bytes.length > 200_000) bytes = bytes.subarray(0, 200_000);
  }
  return Buffer.from(bytes);
}

const SLOW_MILLISECONDS = 5000;
const found = new Set<string>();

function tryOne(target: FuzzTarget, input: Buffer): void {
  const started = performance.now();
  let problem: string | undefined;
  try {
    target.run(input);
  } catch (error) {
    problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  if (problem === undefined && performance.now() - started > SLOW_MILLISECONDS) problem = "it took too long";
  if (problem === undefined) return;
  // One input for each place in the code is enough.
  const place = /\((?:file:\/\/)?[^)]*\/(src|test)\/[^)]*\)/.exec(problem)?.[0] ?? problem.slice(0, 100);
  if (found.has(target.name + place)) return;
  found.add(target.name + place);
  const directory = join(import.meta.dirname, "../test/regress/crashers");
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${target.name}-${createHash("sha256").update(input).digest("hex").slice(0, 12)}.bin`);
  writeFileSync(file, input);
  console.error(`${file}\n${problem}\n`);
}

const corpora = new Map(targets.map((target) => [target, [...target.seeds()]]));
const GROWN = 500;
const counts = new Map(targets.map((target) => [target, 0]));
for (const [target, corpus] of corpora) for (const seed of corpus) tryOne(target, Buffer.from(seed));
console.log(`seed ${values.seed}, ${targets.map(({ name }) => name).join(", ")}, ${values.minutes} min`);
while (Date.now() < until) {
  for (const [target, corpus] of corpora) {
    for (let i = 0; i < 200 && Date.now() < until; i++) {
      const start = target.generate !== undefined && below(2) === 0 ? target.generate(below) : pick(corpus);
      const input = below(3) === 0 ? Buffer.from(start) : mutate(start, pick(corpus));
      if (below(10) > 0) target.mend?.(input);
      tryOne(target, input);
      counts.set(target, (counts.get(target) ?? 0) + 1);
      // Some of what was tried is where the next one starts, so that inputs drift away from their seeds.
      if (below(20) > 0) continue;
      if (corpus.length < GROWN) corpus.push(input);
      else corpus[GROWN / 2 + below(GROWN / 2)] = input;
    }
  }
}
for (const [target, count] of counts) console.log(`${target.name}: ${count} inputs`);
console.log(found.size === 0 ? "nothing broke" : `${found.size} inputs broke a promise`);
process.exitCode = found.size === 0 ? 0 : 1;
