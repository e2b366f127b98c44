import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readlink, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import { hexOf, parseManifest, parseReference, type Descriptor } from "#oci";
import { collect, describe, manifestOf } from "../../test/support/content.ts";
import { filesIn } from "../../test/support/files.ts";
import { openLayout, parseLocation, type Layout } from "./index.ts";

const LAYER = Buffer.alloc(3_000_000, "layer ");
const CONFIG = Buffer.from(JSON.stringify({ rootfs: { type: "layers", diff_ids: [describe(LAYER).digest] } }));
const ANY = parseReference("localhost/any:v1");

interface Made {
  readonly dir: string;
  readonly one: Descriptor;
  readonly two: Descriptor;
}

/** An OCI layout with two images, `v1` and `v2`; the second is a referrer of the first. */
async function ociLayout(t: TestContext): Promise<Made> {
  const one = manifestOf(describe(CONFIG), [describe(LAYER)]);
  const two = manifestOf(describe(CONFIG), [], { subject: one.descriptor });
  const named = (descriptor: Descriptor, name: string): Descriptor => ({
    ...descriptor,
    annotations: { "org.opencontainers.image.ref.name": name },
  });
  const manifests = [named(one.descriptor, "v1"), named(two.descriptor, "v2")];
  const dir = await filesIn(t, {
    "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
    "index.json": JSON.stringify({ schemaVersion: 2, manifests }),
  });
  await mkdir(join(dir, "blobs/sha256"), { recursive: true });
  for (const bytes of [LAYER, CONFIG, one.bytes, two.bytes])
    await writeFile(join(dir, "blobs/sha256", hexOf(describe(bytes).digest)), bytes);
  return { dir, one: manifests[0] ?? assert.fail(), two: manifests[1] ?? assert.fail() };
}

function tarOf(dir: string): string {
  const file = `${dir}.tar`;
  execFileSync("tar", ["-C", dir, "-cf", file, "."]);
  return file;
}

async function open(text: string): Promise<Layout> {
  return openLayout(parseLocation(text) ?? assert.fail());
}

for (const kind of ["oci", "oci-archive"])
  test(`${kind}: an image is found by name, tag and digest, and its blobs come from any offset`, async (t) => {
    const { dir, one, two } = await ociLayout(t);
    const path = kind === "oci" ? dir : tarOf(dir);
    t.after(() => (kind === "oci" ? undefined : execFileSync("rm", [path])));
    await using byName = await open(`${kind}:${path}:v2`);
    assert.deepEqual(await byName.resolve(ANY), two);
    await using layout = await open(`${kind}:${path}`);
    assert.deepEqual(await layout.resolve(ANY), one);
    assert.deepEqual(await layout.resolve(parseReference(`localhost/any@${two.digest}`)), two);
    const manifest = parseManifest(await layout.fetch(one));
    assert.equal(manifest.kind, "manifest");
    const { start, body } = await layout.open(describe(LAYER), { start: 1_500_000, end: 2_999_999 });
    assert.deepEqual([start, await collect(body)], [1_500_000, LAYER.subarray(1_500_000, 2_999_999)]);
    assert.deepEqual(await Array.fromAsync(layout.referrers(one)), [two]);
    await assert.rejects(layout.resolve(parseReference("localhost/any:v3")), {
      code: "NOT_FOUND",
      reason: "MANIFEST_UNKNOWN",
      message: /localhost\/any:v3: not found in .*: it holds v1, v2/,
    });
    await assert.rejects(layout.fetch(describe(Buffer.from("no"))), { code: "NOT_FOUND", reason: "BLOB_UNKNOWN" });
  });

test("wrong bytes in a layout are refused", async (t) => {
  const { dir } = await ociLayout(t);
  await writeFile(join(dir, "blobs/sha256", hexOf(describe(CONFIG).digest)), Buffer.from(CONFIG).fill("x", 0, 1));
  await using layout = await open(`oci:${dir}`);
  await assert.rejects(layout.fetch(describe(CONFIG)), { code: "DATA_LOSS", reason: "DIGEST_MISMATCH" });
  await assert.rejects(layout.fetch({ ...describe(CONFIG), size: 1 }), { code: "DATA_LOSS", reason: "SIZE_MISMATCH" });
});

/** What `docker save` writes, with a layer that is a link to another image's. */
async function dockerArchive(t: TestContext, layer: Buffer): Promise<string> {
  const image = (name: string, path: string): object => ({ Config: "config.json", RepoTags: [name], Layers: [path] });
  const dir = await filesIn(t, {
    "manifest.json": JSON.stringify([image("busybox:1", "a/layer.tar"), image("quay.io/x/y:2", "b/layer.tar")]),
    "config.json": CONFIG.toString(),
  });
  for (const path of ["a/layer.tar", "b/layer.tar"]) await mkdir(dirname(join(dir, path)));
  await writeFile(join(dir, "a/layer.tar"), layer);
  await symlink("../a/layer.tar", join(dir, "b/layer.tar"));
  const file = tarOf(dir);
  t.after(() => execFileSync("rm", [file]));
  return file;
}

test("docker-archive: a manifest is made, and its layers are the plain tars", async (t) => {
  const file = await dockerArchive(t, LAYER);
  await using layout = await open(`docker-archive:${file}:quay.io/x/y:2`);
  const resolved = await layout.resolve(ANY);
  const manifest = parseManifest(await layout.fetch(resolved));
  assert.ok(manifest.kind === "manifest");
  assert.deepEqual(manifest.layers, [describe(LAYER, "application/vnd.oci.image.layer.v1.tar")]);
  assert.deepEqual(Buffer.from(await layout.fetch(manifest.config)), CONFIG);
  const { body } = await layout.open(describe(LAYER), { start: 0, end: LAYER.length });
  assert.ok((await collect(body)).equals(LAYER));
  await using again = await open(`docker-archive:${file}`);
  assert.deepEqual(await again.resolve(parseReference("quay.io/x/y:2")), resolved);
  await assert.rejects(again.resolve(ANY), /it holds busybox:1, quay\.io\/x\/y:2/);
});

test("docker-archive: a compressed layer gets the digest of its bytes", async (t) => {
  const layer = gzipSync(LAYER);
  await using layout = await open(`docker-archive:${await dockerArchive(t, layer)}:busybox:1`);
  const manifest = parseManifest(await layout.fetch(await layout.resolve(ANY)));
  assert.ok(manifest.kind === "manifest");
  assert.deepEqual(manifest.layers, [describe(layer, "application/vnd.oci.image.layer.v1.tar+gzip")]);
});

test("what is no layout is said by its path", async (t) => {
  const dir = await filesIn(t, {
    "empty/x": "",
    "old/oci-layout": '{"imageLayoutVersion":"2.0.0"}',
    "broken/oci-layout": "{",
    "file.tar": "no tar",
  });
  await writeFile(join(dir, "z.tar"), gzipSync("x"));
  const cases: Readonly<Record<string, object>> = {
    [`oci:${dir}/missing`]: { reason: "INVALID_LAYOUT", message: /missing cannot be used: there is no such directory/ },
    [`oci:${dir}/empty`]: { reason: "INVALID_LAYOUT", message: /empty cannot be used: it has no oci-layout/ },
    [`oci:${dir}/old`]: { reason: "INVALID_LAYOUT", message: /not of version 1/ },
    [`oci:${dir}/broken`]: { reason: "INVALID_LAYOUT", message: /oci-layout is not JSON/ },
    [`oci-archive:${dir}/file.tar`]: {
      reason: "INVALID_TAR",
      message: /file\.tar cannot be used: the archive is broken/,
    },
    [`oci-archive:${dir}/missing.tar`]: { code: "NOT_FOUND", reason: "UNREADABLE_LAYOUT" },
    [`docker-archive:${dir}/z.tar`]: {
      reason: "COMPRESSED_ARCHIVE",
      message: /compressed with gzip: decompress it first/,
    },
  };
  for (const [text, expected] of Object.entries(cases)) await assert.rejects(open(text), expected, text);
});

test("a body that nobody reads keeps no file open", async (t) => {
  const dir = await filesIn(t, { "oci-layout": '{"imageLayoutVersion":"1.0.0"}', "index.json": '{"manifests":[]}' });
  const blob = describe(LAYER);
  const path = join(dir, "blobs", blob.digest.replace(":", "/"));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, LAYER);
  await using layout = await open(`oci:${dir}`);
  const { body } = await layout.open(blob, { start: 0, end: blob.size });
  const opened = async () => {
    const links = (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ""));
    return (await Promise.all(links)).filter((link) => link === path);
  };
  assert.deepEqual(await opened(), []);
  assert.ok((await collect(body)).equals(LAYER));
  assert.deepEqual(await opened(), []);
});

test("locations are told from references", () => {
  assert.deepEqual(parseLocation("oci:/a/b:v1"), { kind: "oci", path: "/a/b", name: "v1" });
  assert.deepEqual(parseLocation("docker-archive:x.tar:quay.io/x/y:2"), {
    kind: "docker-archive",
    path: "x.tar",
    name: "quay.io/x/y:2",
  });
  assert.deepEqual(parseLocation("oci:./dir"), { kind: "oci", path: "./dir" });
  for (const reference of ["oci", "oci:v1", "quay.io/oci/x:v1", "oci-archive.example/x"])
    assert.equal(parseLocation(reference), undefined);
  assert.throws(() => parseLocation("oci:"), { reason: "INVALID_REFERENCE" });
});
