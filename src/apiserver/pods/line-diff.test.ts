import assert from "node:assert/strict";
import { test } from "node:test";
import { unifiedDiff } from "./line-diff.ts";

test("a diff shows three lines around each change, and joins what is near", () => {
  const lines = Array.from({ length: 30 }, (_, i) => `line ${i}`);
  const changed = lines.map((line, i) => (i === 4 || i === 8 || i === 25 ? `${line} new` : line));
  assert.equal(
    unifiedDiff(lines, changed),
    [
      "@@ -2,11 +2,11 @@",

      " line 1",
      " line 2",
      " line 3",
      "-line 4",
      "+line 4 new",
      " line 5",
      " line 6",
      " line 7",
      "-line 8",
      "+line 8 new",
      " line 9",
      " line 10",
      " line 11",
      "@@ -23,7 +23,7 @@",
      " line 22",
      " line 23",
      " line 24",
      "-line 25",
      "+line 25 new",
      " line 26",
      " line 27",
      " line 28",
      "",
    ].join("\n"),
  );
  assert.equal(unifiedDiff(lines, lines), "");
});

test("in a long text, lines that are everywhere begin no equal run", () => {
  const many = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? "}" : `line ${i}`));
  const changed = [...many.slice(0, 100), "new", "}", ...many.slice(101)];
  assert.equal(
    unifiedDiff(many, changed),
    ["@@ -98,6 +98,7 @@", " line 97", " }", " line 99", "+new", " }", " line 101", " }", ""].join("\n"),
  );
  assert.equal(unifiedDiff(["}", "a"], ["}", "b", "c"]), ["@@ -1,2 +1,3 @@", " }", "-a", "+b", "+c", ""].join("\n"));
  assert.equal(unifiedDiff([], ["a"]), ["@@ -0,0 +1 @@", "+a", ""].join("\n"));
});
