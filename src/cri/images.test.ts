import assert from "node:assert/strict";
import { test } from "node:test";
import { Failure } from "#base";
import { ARTIFACT, FakeEngine, CONFIG, ID, IMAGE, VOLUME, world } from "../../test/support/fake-node.ts";

test("artifacts and volumes are pulled by the engine, images by containerd", async () => {
  await using at = await world();
  assert.equal((await at.client.pullImage({ image: { image: IMAGE } })).imageRef, CONFIG);
  assert.equal((await at.client.pullImage({ image: { image: "odd.example/x:v1" } })).imageRef, CONFIG);
  assert.deepEqual(at.engine.pulls, []);
  assert.equal((await at.client.pullImage({ image: { image: ARTIFACT } })).imageRef, ID);
  assert.equal((await at.client.pullImage({ image: { image: IMAGE, annotations: VOLUME } })).imageRef, ID);
  assert.deepEqual(
    at.engine.pulls.map(({ reference }) => reference),
    [ARTIFACT, IMAGE],
  );
});

test("a tag that named an artifact and names an image now is containerd's", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(IMAGE, ID, false)];
  assert.equal((await at.client.imageStatus({ image: { image: IMAGE } })).image?.id, ID);
  await at.client.pullImage({ image: { image: IMAGE } });
  assert.equal((await at.client.imageStatus({ image: { image: IMAGE } })).image?.id, CONFIG);
});

for (const [name, auth, expected] of [
  ["a password", { username: "u", password: "p" }, { username: "u", password: "p" }],
  ["docker's auth", { auth: Buffer.from("u:p:q\0\0").toString("base64") }, { username: "u", password: "p:q" }],
  ["an identity token", { username: "u", identityToken: "i" }, { identityToken: "i" }],
  ["a registry token", { registryToken: "r", auth: "eA==" }, { registryToken: "r" }],
  ["nothing usable", { auth: "%%%" }, undefined],
] as const)
  test(`the kubelet's credentials reach the engine: ${name}`, async () => {
    await using at = await world();
    await at.client.pullImage({ image: { image: ARTIFACT }, auth });
    assert.deepEqual(at.engine.pulls[0]?.credentials, expected && [expected]);
  });

test("a pull outlives its caller's deadline; meanwhile and afterwards everything answers", async () => {
  await using at = await world();
  const gate = Promise.withResolvers<void>();
  at.engine.gate = gate.promise;
  await assert.rejects(at.client.pullImage({ image: { image: ARTIFACT } }, { timeout: 50 }), {
    code: "DEADLINE_EXCEEDED",
  });
  assert.equal((await at.client.imageStatus({ image: { image: ARTIFACT } })).image, undefined);
  assert.equal((await at.client.listImages({})).images.length, 1);
  gate.resolve();
  assert.equal((await at.client.pullImage({ image: { image: ARTIFACT } })).imageRef, ID);
});

test("a verbose ImageStatus says how far a pull is, while it runs", async () => {
  await using at = await world();
  const gate = Promise.withResolvers<void>();
  at.engine.gate = gate.promise;
  const image = { image: ARTIFACT, annotations: VOLUME };
  const pull = at.client.pullImage({ image });
  const ask = async (verbose: boolean) => (await at.client.imageStatus({ image, verbose })).info["orlop.dev/progress"];
  let said = await ask(true);
  while (said === undefined) said = await ask(true);
  assert.deepEqual(JSON.parse(said), {
    received: 5,
    total: 16,
    blobs: [
      { digest: ID, received: 3, total: 12 },
      { digest: CONFIG, received: 2, total: 4 },
    ],
  });
  assert.equal(await ask(false), undefined);
  gate.resolve();
  await pull;
  assert.equal(await ask(true), undefined);
});

test("failures carry the words that kubelets look for, under UNKNOWN", async () => {
  await using at = await world();
  const fails = async (failure: Failure, expected: object): Promise<void> => {
    at.engine.failure = failure;
    await assert.rejects(at.client.pullImage({ image: { image: ARTIFACT } }), expected);
  };
  await fails(new Failure("UNAVAILABLE", "REGISTRY_UNAVAILABLE", "quay.io does not answer"), {
    code: "UNKNOWN",
    message: "RegistryUnavailable: quay.io does not answer",
  });
  await fails(new Failure("PERMISSION_DENIED", "SIGNATURE_MISSING", "nobody signed it"), {
    code: "UNKNOWN",
    message: "SignatureValidationFailed: nobody signed it",
  });
  await fails(new Failure("NOT_FOUND", "NOT_FOUND", "not there"), { code: "NOT_FOUND", message: "not there" });
});

test("lists are ours and containerd's; a filter that names ours finds ours alone", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  const ids = async (image?: string): Promise<string[]> =>
    (await at.client.listImages(image === undefined ? {} : { filter: { image: { image } } })).images.map(
      ({ id }) => id,
    );
  assert.deepEqual(await ids(), [CONFIG, ID]);
  assert.deepEqual(await ids(ARTIFACT), [ID]);
  assert.deepEqual(await ids(IMAGE), [CONFIG]);
  const { imageFilesystems } = await at.client.imageFsInfo({});
  assert.deepEqual(
    imageFilesystems.map(({ usedBytes, inodesUsed }) => [usedBytes?.value, inodesUsed?.value]),
    [[101n, 4n]],
  );
});

test("an object is found by the beginning of its id, as people type it", async () => {
  await using at = await world();
  at.engine.objects = [FakeEngine.object(ARTIFACT, ID, false)];
  for (const image of [ID.slice(0, 16), ID.slice(7, 20)])
    assert.equal((await at.client.imageStatus({ image: { image } })).image?.id, ID);
  for (const image of [ID.slice(7, 12), "deadbeef"])
    assert.equal((await at.client.imageStatus({ image: { image } })).image, undefined);
  await at.client.removeImage({ image: { image: ID.slice(7, 20) } });
  assert.deepEqual(at.engine.objects, []);
});
