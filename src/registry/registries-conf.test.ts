import assert from "node:assert/strict";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { parseReference } from "#oci";
import { filesIn } from "../../test/support/files.ts";
import { startFakeRegistry } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials } from "./index.ts";
import { readRegistriesConf } from "./registries-conf.ts";

/** Where a reference is looked for, as `base repository serves`. */
async function places(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  reference: string,
): Promise<readonly string[] | undefined> {
  const dir = await filesIn(t, files);
  const endpoints = await readRegistriesConf(join(dir, "registries.conf"), parseReference(reference));
  return endpoints?.map(({ base, repository, serves }) => `${base} ${repository} ${serves}`);
}

const CONF = `
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "quay.io"
location = "quay.example/all"
[[registry]]
prefix = "quay.io/team"
location = "other.example/t"
[[registry.mirror]]
location = "mirror.example/m"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "second.example"
[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "mirror.example/wild"
[[registry]]
location = "bad.example"
blocked = true
[[registry]]
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "hub.example"
`;

test("the longest prefix counts, and is replaced by the location", async (t) => {
  const files = { "registries.conf": CONF };
  assert.deepEqual(await places(t, files, "quay.io/team/thing:v1"), [
    "https://mirror.example/v2 m/thing digest",
    "https://second.example/v2 thing all",
    "https://other.example/v2 t/thing all",
  ]);
  assert.deepEqual(await places(t, files, "quay.io/teams/thing"), ["https://quay.example/v2 all/teams/thing all"]);
  assert.deepEqual(await places(t, files, "a.wild.example/x/y"), [
    "https://mirror.example/v2 wild/x/y all",
    "https://a.wild.example/v2 x/y all",
  ]);
  assert.deepEqual(await places(t, files, "busybox"), [
    "https://hub.example/v2 library/busybox digest",
    "https://registry-1.docker.io/v2 library/busybox all",
  ]);
  assert.equal(await places(t, files, "wild.example/x"), undefined);
  await assert.rejects(places(t, files, "bad.example/x"), { code: "PERMISSION_DENIED", reason: "REGISTRY_BLOCKED" });
});

test("drop-ins replace by prefix, in the order of their names", async (t) => {
  const rule = (location: string): string => `[[registry]]\nprefix = "quay.io"\nlocation = "${location}"\n`;
  const files = {
    "registries.conf": CONF,
    "registries.conf.d/20-b.conf": rule("b.example"),
    "registries.conf.d/10-a.conf": rule("a.example"),
    "registries.conf.d/30-c.conf.bak": rule("c.example"),
  };
  assert.deepEqual(await places(t, files, "quay.io/x/y"), ["https://b.example/v2 x/y all"]);
  assert.equal((await places(t, files, "quay.io/team/x"))?.length, 3);
});

const broken: Readonly<Record<string, RegExp>> = {
  "[registries.search]": /version 1/,
  "[[registry]]": /neither prefix nor location/,
  '[[registry]]\nprefix = "a.example"': /no location/,
  '[[registry]]\nlocation = "a.*.example"': /wildcard only as \*\.host/,
  '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "b.example"\npull-from-mirror = "never"':
    /pull-from-mirror/,
  '[[registry]]\nlocation = "a.example"\ninsecure = 1': /insecure is not true or false/,
};
for (const [text, message] of Object.entries(broken))
  test(`refused: ${text.replaceAll("\n", " ")}`, async (t) => {
    await assert.rejects(places(t, { "registries.conf": text }, "a.example/x"), {
      reason: "INVALID_HOSTS_CONFIG",
      message,
    });
  });

test("a mirror for digests is not asked for tags, and gets no ns", async (t) => {
  await using mirror = await startFakeRegistry();
  await using origin = await startFakeRegistry();
  const dir = await filesIn(t, {
    "registries.conf": `
      [[registry]]
      prefix = "quay.io"
      location = "${origin.host}"
      insecure = true
      [[registry.mirror]]
      location = "${mirror.host}/copy"
      pull-from-mirror = "digest-only"
    `,
  });
  await using registry = createRegistry({
    hosts: { registriesConf: join(dir, "registries.conf") },
    credentials: noCredentials,
    userAgent: "orlop/test",
  });
  const reference = parseReference("quay.io/x/y:v1");
  const descriptor = origin.putManifest("x/y", "v1", { schemaVersion: 2 });
  const source = registry.source(reference);
  await source.fetch(await source.resolve(reference));
  assert.deepEqual(mirror.log, [`GET /v2/copy/x/y/manifests/${descriptor.digest}`]);
  assert.deepEqual(origin.log, ["HEAD /v2/x/y/manifests/v1", `GET /v2/x/y/manifests/${descriptor.digest}`]);
});
