// `npm run bench -- [name…]`: measures Orlop and its peers side by side, in one run, and keeps the figures in bench/results/.
// Each bench is a module beside this one.
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import type { Bench, Row } from "./report.ts";

const NAMES = ["tree", "pull", "api", "pods"] as const;

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(NAMES as readonly string[]).includes(name));
if (unknown.length > 0) {
  process.stderr.write(`bench: ${unknown.join(", ")} is not one of ${NAMES.join(", ")}\n`);
  process.exit(2);
}

const machine = {
  date: new Date().toISOString().slice(0, 10),
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim(),
  kernel: release(),
  cpu: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}`,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};

// Figures of smaller or fewer objects are for a quick look.
const isWhole = !["ORLOP_BENCH_SCALE", "ORLOP_BENCH_ONLY"].some((name) => name in process.env);

for (const name of NAMES) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const { bench } = (await import(`./${name}.ts`)) as { bench: Bench };
  process.stdout.write(`\n== ${name}\n`);
  const rows: Row[] = [];
  const results = join(import.meta.dirname, "results");
  mkdirSync(results, { recursive: true });
  await bench(
    (line) => process.stdout.write(`${line}\n`),
    (more) => {
      rows.push(...more);
      if (isWhole) writeFileSync(join(results, `${name}.json`), `${JSON.stringify({ machine, rows }, null, 2)}\n`);
    },
  );
}
