import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFieldSelector, parseLabelSelector } from "#k8s";

test("label selectors match as kubectl's do", () => {
  const labels = { app: "a", tier: "web", "x.y/z": "", n: "5" };
  const yes = [
    "",
    "app=a",
    "app==a,tier=web",
    "app in (b, a)",
    "app notin (b),tier",
    "!gone",
    "x.y/z=",
    "gone!=1",
    "n>4",
    "n<6",
  ];
  const no = ["app=b", "app!=a", "!app", "gone", "app notin (a)", "tier in (x)", "n>5"];
  for (const text of yes) assert.ok(parseLabelSelector(text)(labels), text);
  for (const text of no) assert.ok(!parseLabelSelector(text)(labels), text);
});

test("a label selector that cannot be read says what was found", () => {
  assert.throws(() => parseLabelSelector("=="), { message: "found '==', expected: !, identifier, or 'end of string'" });
  for (const text of ["a in", "a in (", "a=b c", "a,,b", "a=-x"])
    assert.throws(() => parseLabelSelector(text), { reason: "INVALID_SELECTOR" }, text);
});

test("field selectors are read term by term, with escapes", () => {
  assert.deepEqual(parseFieldSelector("metadata.name=x,status.phase!=Running,a=b\\,c"), [
    { field: "metadata.name", value: "x", equal: true },
    { field: "status.phase", value: "Running", equal: false },
    { field: "a", value: "b,c", equal: true },
  ]);
});
