// What becomes of every packaging, as text. `node test/golden/trees.test.ts --write` writes the dumps anew: read what changed.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dumpTree } from "#tree";
import { packagedTree } from "../support/packaged-tree.ts";
import { PACKAGINGS } from "../support/packagings.ts";

const directory = join(import.meta.dirname, "trees");

for (const [name, object] of Object.entries(PACKAGINGS))
  test(`the tree of ${name}`, () => {
    const file = join(directory, `${name}.dump`);
    const { format, tree } = packagedTree(object);
    const text = `# ${format}\n${dumpTree(tree)}`;
    if (process.argv.includes("--write")) writeFileSync(file, text);
    assert.equal(text, readFileSync(file, "utf8"));
  });

test("every dump belongs to a packaging", () => {
  assert.deepEqual(readdirSync(directory).sort(), Object.keys(PACKAGINGS).map((name) => `${name}.dump`).sort());
});
