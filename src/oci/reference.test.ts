import assert from "node:assert/strict";
import { test } from "node:test";
import { formatReference, parseReference, pin } from "./reference.ts";
import { digestOf } from "./digest.ts";

const digest = digestOf("x");

for (const [text, whole] of [
  ["busybox", "docker.io/library/busybox:latest"],
  ["busybox:1.36", "docker.io/library/busybox:1.36"],
  ["user/app", "docker.io/user/app:latest"],
  ["index.docker.io/user/app", "docker.io/user/app:latest"],
  ["quay.io/crio/artifact:v1", "quay.io/crio/artifact:v1"],
  ["localhost/a", "localhost/a:latest"],
  ["127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"],
  ["[::1]:5000/a", "[::1]:5000/a:latest"],
  ["Registry/a", "Registry/a:latest"],
  [`quay.io/a@${digest}`, `quay.io/a@${digest}`],
  [`quay.io/a:t@${digest}`, `quay.io/a:t@${digest}`],
] as const)
  test(`${text} is ${whole}`, () => {
    const reference = parseReference(text);
    assert.equal(formatReference(reference), whole);
    assert.deepEqual(parseReference(whole), reference);
  });

for (const text of [
  "",
  " ",
  "a b",
  "a:",
  "a@",
  "quay.io/",
  "quay.io//a",
  "quay.io/a:b:c",
  `a@${digest.slice(0, -1)}`,
  "a@sha256:zz",
  "quay.io/a/../b",
  "quay.io/a:.tag",
  "-host.io/a",
  "quay.io/a_",
])
  test(`${JSON.stringify(text)} is no reference`, () => {
    assert.throws(() => parseReference(text), { reason: "INVALID_REFERENCE", code: "INVALID_ARGUMENT" });
  });

test("a repository in capitals says so, as Kubernetes does", () => {
  assert.throws(() => parseReference("INVALID::ref"), {
    message:
      'couldn\'t parse image name "INVALID::ref": invalid reference format: repository name (library/INVALID) must be lowercase',
  });
});

test("a name of more than 255 characters is refused", () => {
  assert.throws(() => parseReference(`quay.io/${"a".repeat(248)}`), /255 characters/);
});

test("pin keeps the repository and drops the tag", () => {
  assert.equal(formatReference(pin(parseReference("quay.io/a:t"), digest)), `quay.io/a@${digest}`);
});
