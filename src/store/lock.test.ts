import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { tryLockDirectory } from "./lock.ts";

test("who gets the directory that another one discards loses nothing of what it writes there", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-lock-"));
  const names = Array.from({ length: 40 }, (_, i) => `file ${i}`);
  const path = join(dir, "place");
  try {
    for (let round = 0; round < 60; round++) {
      const first = tryLockDirectory(path, true);
      assert.ok(first !== undefined);
      for (const name of names) writeFileSync(join(path, name), "");
      first.discard();
      const gone = first[Symbol.asyncDispose]();
      let second = tryLockDirectory(path, true);
      while (second === undefined) {
        await turn();
        second = tryLockDirectory(path, true);
      }
      for (const name of names) writeFileSync(join(path, name), "");
      await gone;
      for (const name of names) assert.ok(existsSync(join(path, name)), `${name} of round ${round} is there`);
      second.discard();
      await second[Symbol.asyncDispose]();
      assert.ok(!existsSync(path));
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
