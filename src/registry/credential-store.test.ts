import assert from "node:assert/strict";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silent } from "#base";
import type { Credentials } from "#oci";
import { filesIn } from "../../test/support/files.ts";
import { credentialFiles } from "./index.ts";

const encode = (text: string): string => Buffer.from(text).toString("base64");

async function lookup(
  t: TestContext,
  config: object,
  registry: string,
  repository: string,
): Promise<readonly Credentials[]> {
  const dir = await filesIn(t, { "config.json": JSON.stringify(config) });
  return credentialFiles({ files: [join(dir, "missing.json"), join(dir, "config.json")] }).lookup(registry, repository);
}

test("the longest path comes first, whole components only", async (t) => {
  const auths = {
    "quay.io": { auth: encode("host:a:b") },
    "quay.io/team": { auth: encode("team:x") },
    "quay.io/team/thing": { auth: encode("thing:x") },
    "quay.io/te": { auth: encode("wrong:x") },
    "other.io/team/thing": { auth: encode("wrong:x") },
  };
  assert.deepEqual(await lookup(t, { auths }, "quay.io", "team/thing"), [
    { username: "thing", password: "x" },
    { username: "team", password: "x" },
    { username: "host", password: "a:b" },
  ]);
});

test("keys as docker has written them over the years", async (t) => {
  const config = {
    auths: {
      "https://index.docker.io/v1/": { username: "u", password: "p" },
      "https://r.example/v2/": { auth: encode("r:p") },
    },
  };
  assert.deepEqual(await lookup(t, config, "docker.io", "library/busybox"), [{ username: "u", password: "p" }]);
  assert.deepEqual(await lookup(t, config, "r.example", "a"), [{ username: "r", password: "p" }]);
  assert.deepEqual(await lookup(t, config, "r.example:5000", "a"), []);
});

test("tokens, and entries that hold nothing", async (t) => {
  const auths = {
    "a.example": { auth: encode("<token>:"), identitytoken: "refresh" },
    "b.example": { registrytoken: "bearer" },
    "c.example": {},
    "d.example": { auth: encode("no colon") },
    "e.example": null,
  };
  assert.deepEqual(await lookup(t, { auths }, "a.example", "x"), [{ identityToken: "refresh" }]);
  assert.deepEqual(await lookup(t, { auths }, "b.example", "x"), [{ registryToken: "bearer" }]);
  for (const host of ["c.example", "d.example", "e.example"])
    assert.deepEqual(await lookup(t, { auths }, host, "x"), []);
});

test("helpers: one for the host, one for all, and what they may answer", async (t) => {
  const dir = await filesIn(t, {
    "config.json": JSON.stringify({
      credsStore: "all",
      credHelpers: { "one.example": "one", "gone.example": "gone", "loud.example": "loud" },
      auths: { "gone.example": { auth: encode("file:p") } },
    }),
    "docker-credential-all": `#!/bin/sh
      read -r server
      test "$1" = get || exit 2
      case "$server" in
        https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"<token>","Secret":"refresh"}';;
        *) echo "credentials not found in native keychain"; exit 1;;
      esac`,
    "docker-credential-one": `#!/bin/sh
      echo '{"Username":"u","Secret":"p"}'`,
    "docker-credential-loud": `#!/bin/sh
      echo "secret-in-error" >&2; echo "secret-in-output"; exit 3`,
  });
  const warnings: object[] = [];
  const log = { ...silent, warn: (fields: object) => void warnings.push(fields) };
  const store = credentialFiles({ files: [join(dir, "config.json")], helperPath: `${dir}:/usr/bin:/bin`, log });
  assert.deepEqual(await store.lookup("one.example", "x"), [{ username: "u", password: "p" }]);
  assert.deepEqual(await store.lookup("docker.io", "library/x"), [{ identityToken: "refresh" }]);
  assert.deepEqual(await store.lookup("nothing.example", "x"), []);
  assert.deepEqual(warnings, []);
  assert.deepEqual(await store.lookup("gone.example", "x"), [{ username: "file", password: "p" }]);
  assert.match(JSON.stringify(warnings), /docker-credential-gone cannot be asked: the program is not installed/);
  assert.deepEqual(await store.lookup("loud.example", "x"), []);
  assert.match(JSON.stringify(warnings), /docker-credential-loud cannot be asked: it ended with 3/);
  assert.doesNotMatch(JSON.stringify(warnings), /secret-in/);
});

test("a broken file is told, not quoted, and the next one is read", async (t) => {
  const dir = await filesIn(t, {
    "broken.json": '{"auths": {"r.example": {"auth": hunter2}}}',
    "good.json": JSON.stringify({ auths: { "r.example": { auth: encode("u:p") } } }),
  });
  const warnings: object[] = [];
  const log = { ...silent, warn: (fields: object) => void warnings.push(fields) };
  const store = credentialFiles({ files: ["broken.json", "good.json"].map((name) => join(dir, name)), log });
  assert.deepEqual(await store.lookup("r.example", "x"), [{ username: "u", password: "p" }]);
  assert.match(JSON.stringify(warnings), /broken\.json.*it is not JSON/);
  assert.doesNotMatch(JSON.stringify(warnings), /hunter2/);
});
