import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { MEDIA, parseReference, type Credentials, type Reference } from "#oci";
import { createRegistry, noCredentials, type Registry } from "#registry";
import { makeCertificates } from "../support/certificates.ts";
import { collect, describe, manifestOf, pieces } from "../support/content.ts";
import { startRegistry, type DockerRegistry } from "../support/docker-registry.ts";
import { filesIn } from "../support/files.ts";
import { startTokenServer } from "../support/token-server.ts";

const PASSWORD: Credentials = { username: "orlop", password: "secret" };
const empty = Buffer.from("{}");

function registryClient(certsDir?: string): Registry {
  return createRegistry({ hosts: { certsDir }, credentials: noCredentials, userAgent: "orlop/test" });
}

/** Pushes a manifest with one random blob under the reference, reads both back, and compares. */
async function roundTrip(
  registry: Registry,
  reference: Reference,
  credentials: readonly Credentials[] = [],
): Promise<void> {
  const blob = randomBytes(3_000_000);
  const { descriptor, bytes } = manifestOf(describe(empty), [describe(blob)]);
  const to = registry.destination(reference, credentials);
  for (const content of [empty, blob]) await to.pushBlob(describe(content), pieces(content));
  await to.pushManifest(descriptor, bytes, reference.tag);

  const from = registry.source(reference, credentials);
  const resolved = await from.resolve(reference);
  assert.deepEqual(resolved, descriptor);
  assert.deepEqual(Buffer.from(await from.fetch(resolved)), bytes);
  const part = await from.open(describe(blob), { start: 1_000_000, end: 2_500_000 });
  assert.equal(part.start, 1_000_000);
  assert.ok((await collect(part.body)).equals(blob.subarray(1_000_000, 2_500_000)));
}

suite("with docker-registry", () => {
  let server: DockerRegistry;
  before(async () => void (server = await startRegistry()));
  after(() => server.stop());

  test("what is pushed comes back, and pushing again is a success", async () => {
    await using registry = registryClient();
    const reference = parseReference(`${server.host}/flows/simple:v1`);
    await roundTrip(registry, reference);
    const bytes = Buffer.from("again");
    const to = registry.destination(reference);
    await to.pushBlob(describe(bytes), pieces(bytes));
    await to.pushBlob(describe(bytes), () => assert.fail("the registry has it already"));
  });

  test("a blob in chunks arrives whole", async () => {
    await using registry = registryClient();
    const reference = parseReference(`${server.host}/flows/chunks:v1`);
    const blob = randomBytes(40_000_000);
    const to = registry.destination(reference, [], { chunkedFrom: 1_000_000 });
    await to.pushBlob(describe(blob), pieces(blob, 7_000_000));
    const { body } = await registry.source(reference).open(describe(blob), { start: 0, end: blob.length });
    assert.ok((await collect(body)).equals(blob));
  });

  test("a blob of another repository is mounted, not sent", async () => {
    await using registry = registryClient();
    const blob = randomBytes(1000);
    await registry.destination(parseReference(`${server.host}/flows/one`)).pushBlob(describe(blob), pieces(blob));
    const to = registry.destination(parseReference(`${server.host}/flows/two`), [], {
      mountFrom: ["flows/none", "flows/one"],
    });
    await to.pushBlob(describe(blob), () => assert.fail("it can be mounted from flows/one"));
  });

  test("referrers of a registry without the API come from the tag", async () => {
    await using registry = registryClient();
    const reference = parseReference(`${server.host}/flows/referrers:v1`);
    const to = registry.destination(reference);
    await to.pushBlob(describe(empty), pieces(empty));
    const subject = manifestOf(describe(empty), []);
    await to.pushManifest(subject.descriptor, subject.bytes, "v1");
    const from = registry.source(reference);
    assert.deepEqual(await Array.fromAsync(from.referrers(subject.descriptor)), []);
    const signature = manifestOf(describe(empty), [], { subject: subject.descriptor });
    await to.pushManifest(signature.descriptor, signature.bytes);
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [signature.descriptor] }));
    await to.pushManifest(describe(index, mediaType), index, subject.descriptor.digest.replace(":", "-"));
    assert.deepEqual(await Array.fromAsync(from.referrers(subject.descriptor)), [signature.descriptor]);
  });

  test("hosts.toml leads quay.io to it", async (t) => {
    const certsDir = await filesIn(t, { "quay.io/hosts.toml": `server = "${server.url}"` });
    await using registry = registryClient(certsDir);
    await roundTrip(registry, parseReference("quay.io/crio/artifact:v1"));
  });
});

test("a password is asked for, and only the right one opens", async () => {
  await using server = await startRegistry({ auth: "basic" });
  await using registry = registryClient();
  const reference = parseReference(`${server.host}/private/thing:v1`);
  await roundTrip(registry, reference, [{ username: "orlop", password: "wrong" }, PASSWORD]);
  await assert.rejects(registry.source(reference).resolve(reference), {
    code: "UNAUTHENTICATED",
    reason: "UNAUTHORIZED",
  });
  const wrong = registry.source(reference, [{ username: "orlop", password: "hunter2-hunter2" }]);
  await assert.rejects(wrong.resolve(reference), (error: Error) => !error.message.includes("hunter2"));
});

test("a token server is asked for each scope, for a name and password and for nobody", async () => {
  await using tokens = await startTokenServer(true);
  await using server = await startRegistry({ auth: tokens.auth });
  await using registry = registryClient();
  const reference = parseReference(`${server.host}/guarded/thing:v1`);
  await assert.rejects(roundTrip(registry, reference), { code: "UNAUTHENTICATED" });
  await roundTrip(registry, reference, [{ username: "orlop", password: "wrong" }, PASSWORD]);
  assert.equal((await registry.source(reference).resolve(reference)).mediaType, MEDIA.manifest);
  const { asked } = tokens;
  assert.deepEqual(asked.at(-1), ["", "repository:guarded/thing:pull"]);
  assert.ok(asked.some(([user, scopes]) => user === "orlop:secret" && scopes === "repository:guarded/thing:pull,push"));
});

test("TLS with a private authority and a client certificate, by the files of certs.d", async (t) => {
  const { ca, leaf } = makeCertificates();
  await using server = await startRegistry({ tls: { ...leaf, clientCa: ca } });
  const dir = `${server.host.replace(":", "_")}_`;
  const certsDir = await filesIn(t, {
    [`${dir}/ca.crt`]: ca,
    [`${dir}/me.cert`]: leaf.cert,
    [`${dir}/me.key`]: leaf.key,
  });
  await using registry = registryClient(certsDir);
  await roundTrip(registry, parseReference(`${server.host}/secure/thing:v1`));
  const stranger = await filesIn(t, { [`${dir}/ca.crt`]: ca });
  await using other = registryClient(stranger);
  const reference = parseReference(`${server.host}/secure/thing:v1`);
  await assert.rejects(other.source(reference).resolve(reference), { code: "UNAVAILABLE" });
});
