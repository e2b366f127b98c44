// Every input that the fuzzer ever broke something with, tried again.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FUZZ_TARGETS } from "../support/fuzz-targets.ts";

const directory = join(import.meta.dirname, "crashers");
const files = existsSync(directory) ? readdirSync(directory) : [];

for (const target of FUZZ_TARGETS) {
  test(`${target.name}: seeds and kept inputs`, () => {
    for (const seed of target.seeds()) target.run(seed);
    for (const file of files) if (file.startsWith(`${target.name}-`)) target.run(readFileSync(join(directory, file)));
  });
}
