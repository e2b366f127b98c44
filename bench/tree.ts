import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { row, type Bench, type Row } from "./report.ts";
import { writeLayers } from "./tree-layers.ts";
import type { Run } from "./tree-run.ts";

const ENTRIES = 200_000;
const RUNS = 5;
/** A small nursery keeps V8 from hoarding 100 MiB of garbage, and costs no time: MiB per half. */
const SEMI_SPACE = 8;

/** An image of 200,000 entries, from its tars to its EROFS image, in 1, 50 and 500 layers: the number of layers must not matter. */
export const bench: Bench = async (say, keep) => {
  for (const layers of [1, 50, 500]) {
    const place = mkdtempSync(join(tmpdir(), "orlop-bench-"));
    try {
      writeLayers(place, layers, ENTRIES);
      const runs = Array.from({ length: RUNS }, () => {
        const child = [`--max-semi-space-size=${SEMI_SPACE}`, join(import.meta.dirname, "tree-run.ts"), place];
        return JSON.parse(execFileSync(process.execPath, child, { encoding: "utf8" })) as Run;
      });
      const what = `${ENTRIES.toLocaleString("en")} entries in ${layers} layers`;
      const goal = layers === 50;
      const of = (figure: (run: Run) => number) => runs.map((run) => Math.round(figure(run)));
      const rows: Row[] = [
        row(
          `${what}: read and merge`,
          "orlop",
          "ms",
          of((run) => run.mergeMs),
        ),
        row(
          `${what}: encode`,
          "orlop",
          "ms",
          of((run) => run.encodeMs),
        ),
        row(
          `${what}: together`,
          "orlop",
          "ms",
          of((run) => run.mergeMs + run.encodeMs),
          goal ? "< 1500" : undefined,
        ),
        row(
          `${what}: peak memory of the process`,
          "orlop",
          "MiB",
          of((run) => run.peakMiB),
          goal ? "< 300" : undefined,
        ),
        row(
          `${what}: image`,
          "orlop",
          "MiB",
          of((run) => run.imageMiB),
        ),
      ];
      keep(rows);
      for (const line of rows) say(`${line.what}: ${line.median} ${line.unit}`);
    } finally {
      rmSync(place, { recursive: true });
    }
  }
};
