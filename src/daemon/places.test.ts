import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { makePlaces } from "./places.ts";

test("directories are made for root's eyes only, and what cannot be one is said in a line", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-places-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const places = { dataDir: join(dir, "a/b/c"), runDir: join(dir, "run"), certsDir: join(dir, "none") };
  makePlaces(places);
  makePlaces(places);
  assert.equal(statSync(places.dataDir).mode & 0o777, 0o700);
  assert.ok(!existsSync(places.certsDir));
  writeFileSync(join(dir, "file"), "");
  for (const [dataDir, message] of [
    [join(dir, "file"), /^cannot make \S+file: it is a file$/],
    [join(dir, "file/x"), /^cannot make \S+x: a part of it is a file$/],
    ["/proc/orlop/x", /^cannot make \/proc\/orlop\/x: nothing can be made there$/],
  ] as const)
    assert.throws(() => makePlaces({ ...places, dataDir }), { reason: "BAD_DIRECTORY", message });
});
