import assert from "node:assert/strict";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isFailure } from "#base";
import { openBeneath } from "#kernel";

test("what is opened beneath a directory is in it, links and all, or it is refused", () => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-beneath-"));
  mkdirSync(join(dir, "root/inner"), { recursive: true });
  writeFileSync(join(dir, "root/inner/file"), "inside");
  writeFileSync(join(dir, "secret"), "outside");
  symlinkSync("inner/../inner/file", join(dir, "root/stays"));
  symlinkSync("../secret", join(dir, "root/leaves"));
  symlinkSync(join(dir, "root/inner/file"), join(dir, "root/absolute"));
  symlinkSync(`/proc/self/fd/0`, join(dir, "root/magic"));
  const root = openSync(join(dir, "root"), "r");
  try {
    for (const path of ["inner/file", "stays", "./inner/../inner/file"]) {
      const fd = openBeneath(root, path);
      assert.equal(readFileSync(`/proc/self/fd/${fd}`, "utf8"), "inside", path);
      closeSync(fd);
    }
    for (const path of ["leaves", "absolute", "magic", "..", "../root/inner", "/etc/passwd"])
      assert.throws(
        () => openBeneath(root, path),
        (error) => isFailure(error, "UNSAFE_PATH"),
        path,
      );
    assert.throws(
      () => openBeneath(root, "inner/none"),
      (error) => isFailure(error, "OPEN_FAILED") && error.code === "NOT_FOUND",
    );
  } finally {
    closeSync(root);
    rmSync(dir, { recursive: true });
  }
});
