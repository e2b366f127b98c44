import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { digestOf } from "#oci";
import { DigestPool } from "./digest-pool.ts";

test("a thread without work ends, and the next file has another one", async () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-digest-pool-"));
  const threads = (): number => readdirSync("/proc/self/task").length;
  try {
    await using pool = new DigestPool(1, 1);
    const bytes = Buffer.from("some bytes");
    const path = join(dir, "file");
    writeFileSync(path, bytes);
    // Node's own threads for files are there from the first use on.
    await readFile(path);
    for (let i = 0; i < 3; i++) {
      const running = pool.digest({ path, algorithm: "sha256" });
      const busy = threads();
      running.advance(bytes.length, true);
      assert.equal((await running.result).digest, digestOf(bytes));
      while (threads() >= busy) await turn();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
