import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Journal } from "./journal.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

async function within(work: (path: string) => void | Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "orlop-journal-"));
  try {
    await work(join(dir, "state"));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function reopened(path: string, boot: string, digest = DIGEST, size = 1000): object[] {
  const journal = Journal.open(path, digest, size, boot);
  journal.close();
  return [...journal.ranges];
}

test("what was written is believed as long as the machine runs, and after its restart only what was flushed", async () => {
  await within(async (path) => {
    const journal = Journal.open(path, DIGEST, 1000, "boot-1");
    journal.wrote(0, 100);
    await journal.sync(async () => {
      // These bytes come while the flush is under way: it says nothing of them.
      journal.wrote(100, 200);
      await Promise.resolve();
    });
    journal.wrote(500, 600);
    journal.close();
    const saved = readFileSync(path);
    assert.deepEqual(reopened(path, "boot-1"), [
      { start: 0, end: 200 },
      { start: 500, end: 600 },
    ]);
    writeFileSync(path, saved);
    assert.deepEqual(reopened(path, "boot-2"), [{ start: 0, end: 100 }]);
    assert.deepEqual(reopened(path, "boot-3"), [{ start: 0, end: 100 }], "what was durable once stays so");
  });
});

test("a line that was torn, and everything behind a line of no sense, is not believed", async () => {
  await within((path) => {
    const journal = Journal.open(path, DIGEST, 1000, "boot");
    journal.wrote(0, 100);
    journal.close();
    appendFileSync(path, "w 100 20");
    assert.deepEqual(reopened(path, "boot"), [{ start: 0, end: 100 }]);
    appendFileSync(path, "\0\0\0\nw 200 300\n");
    assert.deepEqual(reopened(path, "boot"), [{ start: 0, end: 100 }]);
  });
});

test("the journal of another blob is begun anew", async () => {
  await within((path) => {
    const journal = Journal.open(path, DIGEST, 1000, "boot");
    journal.wrote(0, 100);
    journal.close();
    assert.deepEqual(reopened(path, "boot", DIGEST, 1001), []);
    assert.deepEqual(reopened(path, "boot", `sha256:${"b".repeat(64)}`), []);
  });
});
