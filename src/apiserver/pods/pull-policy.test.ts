import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultPullPolicy } from "./pull-policy.ts";

test("the pull policy follows the tag", () => {
  const always = ["a", "a:latest", "h:5000/a", "quay.io/a/b:latest@sha256:" + "a".repeat(64)];
  const present = [
    "a:1",
    "a@sha256:" + "a".repeat(64),
    "INVALID::ref",
    "",
    " a:1 ",
    "h:5000/a:v1",
    "a".repeat(64),
    "a:latest@sha256:abc",
  ];
  for (const reference of always) assert.equal(defaultPullPolicy(reference), "Always", reference);
  for (const reference of present) assert.equal(defaultPullPolicy(reference), "IfNotPresent", reference);
});
