import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parseReference } from "#oci";
import { collect, describe, pieces } from "../../test/support/content.ts";
import { filesIn } from "../../test/support/files.ts";
import { fail, startFakeRegistry } from "../../test/support/fake-registry.ts";
import { readHostsToml } from "./hosts-toml.ts";
import { createRegistry, noCredentials, type Registry } from "./index.ts";

function client(dir: string): Registry {
  const patience = { attempts: 2, base: 1, cap: 2 };
  return createRegistry({ hosts: { certsDir: dir }, credentials: noCredentials, userAgent: "orlop/test", patience });
}

const pem = (text: string) => `-----BEGIN ${text}-----`;

test("mirrors come in file order, the server last, each with what is said of it", async (t) => {
  const dir = await filesIn(t, {
    "quay.io/hosts.toml": `
      server = "https://quay.example/root"
      capabilities = ["pull", "resolve"]
      [host."http://b.example:5000"]
        capabilities = ["pull", "referrers"]
        dial_timeout = "1m0.5s"
        [host."http://b.example:5000".header]
          X-One = "1"
          x-two = ["a", "b"]
      [host."https://a.example/v2/proxy/"]
        override_path = true
        skip_verify = true
        proxy = "http://proxy.example:3128"
      [host."bare.example/v2"]
        ca = ["ca.pem"]
        client = [["client.cert", "client.key"], ["both.pem", ""]]
    `,
    "quay.io/ca.pem": pem("CA"),
    "quay.io/client.cert": pem("CERT"),
    "quay.io/client.key": pem("KEY"),
    "quay.io/both.pem": pem("BOTH"),
  });
  const endpoints = (await readHostsToml(dir, "quay.io", "a/b")) ?? assert.fail();
  assert.deepEqual(
    endpoints.map(({ base }) => base),
    [
      "http://b.example:5000/v2",
      "https://a.example/v2/proxy",
      "https://bare.example/v2",
      "https://quay.example/root/v2",
    ],
  );
  const [b, a, bare, server] = endpoints;
  assert.deepEqual([...(b?.capabilities ?? [])], ["pull"]);
  assert.deepEqual([b?.dialTimeout, b?.headers, b?.namespace], [60_500, { "x-one": "1", "x-two": "a, b" }, "quay.io"]);
  assert.deepEqual([a?.tls.skipVerify, a?.proxy], [true, "http://proxy.example:3128"]);
  assert.deepEqual(bare?.tls.ca, [pem("CA")]);
  assert.deepEqual(bare?.tls.client, [
    { cert: pem("CERT"), key: pem("KEY") },
    { cert: pem("BOTH"), key: pem("BOTH") },
  ]);
  assert.deepEqual([...(server?.capabilities ?? [])], ["pull", "resolve"]);
});

test("host_port_, host:port and _default are looked for in this order", async (t) => {
  const server = (name: string): string => `server = "https://${name}.example"`;
  const dir = await filesIn(t, {
    "both.example_5000_/hosts.toml": server("underscores"),
    "both.example:5000/hosts.toml": server("wrong"),
    "one.example:5000/hosts.toml": server("colon"),
    "_default/hosts.toml": server("default"),
  });
  const base = async (registry: string): Promise<string | undefined> =>
    (await readHostsToml(dir, registry, "a/b"))?.[0]?.base;
  assert.equal(await base("both.example:5000"), "https://underscores.example/v2");
  assert.equal(await base("one.example:5000"), "https://colon.example/v2");
  assert.equal(await base("other.example"), "https://default.example/v2");
});

test("docker.io is at registry-1.docker.io, without a namespace", async (t) => {
  const dir = await filesIn(t, { "docker.io/hosts.toml": '[host."https://mirror.example"]\n' });
  const endpoints = (await readHostsToml(dir, "docker.io", "library/busybox")) ?? [];
  assert.deepEqual(
    endpoints.map(({ base, namespace, isOrigin }) => [base, namespace, isOrigin]),
    [
      ["https://mirror.example/v2", "docker.io", false],
      ["https://registry-1.docker.io/v2", undefined, true],
    ],
  );
});

test("certificates without a hosts.toml are for the registry itself", async (t) => {
  const dir = await filesIn(t, {
    "r.example/x.crt": pem("CA"),
    "r.example/c.cert": pem("CERT"),
    "r.example/c.key": pem("KEY"),
  });
  const [endpoint] = (await readHostsToml(dir, "r.example", "a/b")) ?? [];
  assert.equal(endpoint?.base, "https://r.example/v2");
  assert.deepEqual(endpoint?.tls, {
    ca: [pem("CA")],
    client: [{ cert: pem("CERT"), key: pem("KEY") }],
    skipVerify: false,
  });
});

const broken: Readonly<Record<string, RegExp>> = {
  "server = ": /hosts\.toml cannot be used/,
  'skip_verify = true\nserver = "https://x\n': /cannot be used: Invalid TOML document: [a-z ]+ \(line 2\)$/,
  'ca = "hosts.toml"': /hosts\.toml holds neither a certificate nor a key in PEM/,
  "server = 5": /server is not a string/,
  'server = "https://"': /"https:\/\/" is not a URL/,
  'ca = "missing.pem"': /cannot read the certificate .*missing\.pem: ENOENT/,
  'skip_verify = "yes"': /skip_verify is not true or false/,
  'dial_timeout = "soon"': /dial_timeout is not a duration/,
  'host = "https://x"': /host is not a table/,
};
for (const [text, message] of Object.entries(broken))
  test(`refused: ${text.replace("\n", " ")}`, async (t) => {
    const dir = await filesIn(t, { "r.example/hosts.toml": text });
    await assert.rejects(readHostsToml(dir, "r.example", "a/b"), { reason: "INVALID_HOSTS_CONFIG", message });
  });

test("each request falls through: what one mirror lacks or breaks comes from the next", async (t) => {
  await using empty = await startFakeRegistry();
  await using lying = await startFakeRegistry();
  await using origin = await startFakeRegistry();
  const dir = await filesIn(t, {
    "quay.io/hosts.toml": `
      server = "${origin.url}"
      [host."http://127.0.0.1:9"]
        dial_timeout = "200ms"
      [host."${empty.url}"]
      [host."${lying.url}"]
        capabilities = ["pull"]
    `,
  });
  const blob = origin.putBlob("right");
  lying.blobs.set(blob.digest, Buffer.from("wrong"));
  const descriptor = origin.putManifest("x/y", "v1", { schemaVersion: 2 });
  lying.putManifest("x/y", "v1", { schemaVersion: 2, lie: true });
  await using registry = client(dir);
  const reference = parseReference("quay.io/x/y:v1");
  const source = registry.source(reference);
  assert.deepEqual(await source.resolve(reference), descriptor);
  assert.equal(Buffer.from(await source.fetch(blob)).toString(), "right");
  assert.deepEqual(empty.log, ["HEAD /v2/x/y/manifests/v1?ns=quay.io", `GET /v2/x/y/blobs/${blob.digest}?ns=quay.io`]);
  assert.deepEqual(
    lying.log,
    [`GET /v2/x/y/blobs/${blob.digest}?ns=quay.io`],
    "a host without `resolve` is not asked for tags",
  );
});

test("a file that changes counts from the next pull on", async (t) => {
  await using one = await startFakeRegistry();
  await using two = await startFakeRegistry();
  const dir = await filesIn(t, { "quay.io/hosts.toml": `server = "${one.url}"` });
  await using registry = client(dir);
  const reference = parseReference("quay.io/x/y:v1");
  await assert.rejects(registry.source(reference).resolve(reference), { reason: "MANIFEST_UNKNOWN" });
  const descriptor = two.putManifest("x/y", "v1", { schemaVersion: 2 });
  await writeFile(join(dir, "quay.io/hosts.toml"), `server = "${two.url}"`);
  assert.deepEqual(await registry.source(reference).resolve(reference), descriptor);
});

test("a push goes to who may be pushed to, with the headers of the file", async (t) => {
  await using mirror = await startFakeRegistry();
  await using origin = await startFakeRegistry();
  const dir = await filesIn(t, {
    "quay.io/hosts.toml": `
      server = "${origin.url}"
      [header]
        X-Team = "storage"
      [host."${mirror.url}"]
        capabilities = ["pull", "resolve"]
    `,
  });
  await using registry = client(dir);
  const bytes = Buffer.from("content");
  await registry.destination(parseReference("quay.io/x/y:v1")).pushBlob(describe(bytes), pieces(bytes));
  assert.deepEqual(mirror.log, []);
  assert.deepEqual(origin.blobs.get(describe(bytes).digest), bytes);
  assert.ok(origin.requests.every(({ headers }) => headers["x-team"] === "storage"));
});

test("nobody who may resolve is said plainly", async (t) => {
  const dir = await filesIn(t, { "quay.io/hosts.toml": 'server = "http://127.0.0.1:9"\ncapabilities = ["pull"]' });
  await using registry = client(dir);
  const reference = parseReference("quay.io/x/y:v1");
  await assert.rejects(registry.source(reference).resolve(reference), {
    code: "FAILED_PRECONDITION",
    reason: "NO_ENDPOINT",
  });
});

test("credentials given reach a mirror that asks for them, and a mirror that fails is passed over for a while", async (t) => {
  const password = { username: "orlop", password: "secret" };
  await using mirror = await startFakeRegistry({ basic: password });
  await using origin = await startFakeRegistry();
  const dir = await filesIn(t, { "quay.io/hosts.toml": `server = "${origin.url}"\n[host."${mirror.url}"]` });
  const blob = mirror.putBlob("content");
  origin.putBlob("content");
  await using registry = client(dir);
  const source = registry.source(parseReference("quay.io/x/y:v1"), [password]);
  await source.fetch(blob);
  assert.deepEqual(origin.log, []);
  mirror.intercepts.push((_, response) => (fail(response, 500, "UNKNOWN"), true));
  await source.fetch(blob);
  const asked = mirror.log.length;
  await source.fetch(blob);
  assert.equal(mirror.log.length, asked);
  assert.equal(origin.log.length, 2);
});

test("a blob that is wanted again after it came whole comes from somebody else", async (t) => {
  await using mirror = await startFakeRegistry();
  await using origin = await startFakeRegistry();
  const dir = await filesIn(t, { "quay.io/hosts.toml": `server = "${origin.url}"\n[host."${mirror.url}"]` });
  const blob = origin.putBlob("right bytes");
  mirror.blobs.set(blob.digest, Buffer.from("wrong bytes"));
  await using registry = client(dir);
  const source = registry.source(parseReference("quay.io/x/y:v1"));
  const read = async (): Promise<string> => {
    const parts: Buffer[] = [];
    for (const [start, end] of [
      [0, 6],
      [6, 11],
    ] as const)
      parts.push(await collect((await source.open(blob, { start, end })).body));
    return Buffer.concat(parts).toString();
  };
  assert.equal(await read(), "wrong bytes");
  assert.equal(await read(), "right bytes");
});
