import assert from "node:assert/strict";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFailure } from "#base";
import { fallocate, syncfs, tryLock } from "#kernel";

function file(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "orlop-kernel-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "file");
  writeFileSync(path, "abc");
  return path;
}

test("a lock keeps other opens of the file out until it is closed", (t) => {
  const path = file(t);
  const first = openSync(path, "r");
  const second = openSync(path, "r");
  assert.equal(tryLock(first), true);
  assert.equal(tryLock(second), false);
  assert.equal(tryLock(first), true, "who holds it gets it again");
  closeSync(first);
  assert.equal(tryLock(second), true);
  closeSync(second);
});

test("reserving space grows the file, or does not", (t) => {
  const fd = openSync(file(t), "r+");
  t.after(() => closeSync(fd));
  assert.equal(fallocate(fd, 0, 1 << 20, { keepSize: true }), true);
  assert.equal(fstatSync(fd).size, 3);
  assert.ok(fstatSync(fd).blocks >= (1 << 20) / 512);
  assert.equal(fallocate(fd, 0, 1 << 20), true);
  assert.equal(fstatSync(fd).size, 1 << 20);
  assert.equal(fallocate(fd, 0, 0), true);
  syncfs(fd);
});

test("more space than the disk has is refused at once", (t) => {
  const fd = openSync(file(t), "r+");
  t.after(() => closeSync(fd));
  assert.throws(
    () => fallocate(fd, 0, 2 ** 43),
    (error) => isFailure(error, "NO_SPACE") && error.code === "RESOURCE_EXHAUSTED",
  );
  assert.equal(fstatSync(fd).size, 3);
});
