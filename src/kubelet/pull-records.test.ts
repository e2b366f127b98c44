import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { openPullRecords, type PullRecordOptions } from "./pull-records.ts";
import { status } from "./testing/fake-runtime.ts";
import { startNode } from "./testing/node.ts";

const ID = `sha256:${"a".repeat(64)}`;
const MODEL = "quay.io/private/model:v1";
const secret = (name: string, password = name) => ({
  auth: { username: name, password },
  secret: { uid: `uid-${name}`, namespace: "default", name },
});
const none = async () => [];

async function scratch(): Promise<AsyncDisposable & { readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), "orlop-records-"));
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

const open = (directory: string, more: Partial<PullRecordOptions> = {}) =>
  openPullRecords({
    directory,
    policy: "NeverVerifyPreloadedImages",
    allowlist: [],
    images: none,
    now: Date.now,
    ...more,
  });

test("each policy says who need not show that he may have an image", async () => {
  await using place = await scratch();
  const records = await open(place.directory);
  await records.begin(MODEL);
  await records.end(ID, MODEL, secret("owner"));
  const answers: string[][] = [];
  for (const [policy, ...allowlist] of [
    ["NeverVerify"],
    ["NeverVerifyPreloadedImages"],
    ["NeverVerifyAllowlistedImages", "quay.io/private/*"],
    ["NeverVerifyAllowlistedImages", "quay.io/private/model"],
    ["NeverVerifyAllowlistedImages", "quay.io/private/mod"],
    ["AlwaysVerify"],
  ] as const) {
    const strict = await open(place.directory, { policy, allowlist });
    const ask = async (id: string, ...own: Parameters<typeof secret>[]) =>
      await strict.check(id, MODEL, async () => own.map((one) => secret(...one)));
    answers.push([await ask(ID), await ask(ID, ["owner"]), await ask("sha256:preloaded")]);
  }
  const [free, found, must] = ["credentialPolicyAllowed", "credentialRecordFound", "mustAuthenticate"];
  assert.deepEqual(answers, [
    [free, free, free],
    [must, found, free],
    [free, free, free],
    [free, free, free],
    [must, found, must],
    [must, found, must],
  ]);
});

test("a bad pattern is refused when the node starts", async () => {
  await using place = await scratch();
  for (const [pattern, why] of [
    ["quay.io/*/x", "only patterns ending with '/*' are allowed"],
    ["/*", "at least registry hostname is required"],
    ["quay.io/x:v1", "neither tag nor digest is accepted"],
    [" quay.io/x", "leading/trailing spaces"],
    ["", "too short"],
  ] as const)
    await assert.rejects(open(place.directory, { allowlist: [pattern] }), (error: Error) =>
      error.message.includes(why),
    );
  await open(place.directory, { allowlist: ["127.0.0.1:5000/x", "127.0.0.1:5000/*"] });
});

test("a Secret that changed, or another one with the same login, stays good without another pull", async () => {
  await using place = await scratch();
  const records = await open(place.directory);
  await records.begin(MODEL);
  await records.end(ID, MODEL, secret("owner", "old"));
  const ask = (...own: ReturnType<typeof secret>[]) => records.check(ID, MODEL, async () => own);
  assert.equal(await ask({ ...secret("friend"), auth: secret("owner", "old").auth }), "credentialRecordFound");
  assert.equal(await ask(secret("owner", "new")), "credentialRecordFound");
  // Both were noted: each is good by itself from now on.
  assert.equal(await ask(secret("friend", "changed")), "credentialRecordFound");
  assert.equal(await ask({ ...secret("third"), auth: secret("owner", "new").auth }), "credentialRecordFound");
  assert.equal(await ask(secret("stranger")), "mustAuthenticate");
});

test("the same image by another name needs its own proof", async () => {
  await using place = await scratch();
  const records = await open(place.directory);
  await records.begin("quay.io/public/model:v1");
  await records.end(ID, "quay.io/public/model:v1", undefined);
  assert.equal(await records.check(ID, "quay.io/public/model:other", none), "credentialRecordFound");
  assert.equal(await records.check(ID, MODEL, none), "mustAuthenticate");
});

test("while one pull of a name runs, the failure of another does not open its image", async () => {
  await using place = await scratch();
  const records = await open(place.directory);
  const check = () => records.check(ID, MODEL, none);
  await records.begin(MODEL);
  await records.begin(MODEL);
  await records.fail(MODEL);
  assert.equal(await check(), "mustAuthenticate");
  await records.begin("quay.io/private/model:v2");
  await records.fail("quay.io/private/model:v2");
  assert.equal(await check(), "mustAuthenticate");
  await records.fail(MODEL);
  assert.equal(await check(), "credentialPolicyAllowed");
});

test("an image that came while the kubelet was dead is nobody's until somebody shows a login for it", async () => {
  await using place = await scratch();
  await (await open(place.directory)).begin("busybox");
  const images = async () => [{ id: ID, names: ["docker.io/library/busybox:latest"] }];
  const next = await open(place.directory, { images });
  assert.deepEqual(await readdir(join(place.directory, "pulling")), []);
  const own = async () => [secret("owner")];
  assert.equal(await next.check(ID, "busybox", own), "mustAuthenticate");
  await next.begin("busybox");
  await next.end(ID, "busybox", secret("owner"));
  assert.equal(await next.check(ID, "busybox", own), "credentialRecordFound");
});

test("records are files that a stock kubelet reads, without the login, and go with their image", async () => {
  await using place = await scratch();
  await mkdir(place.directory, { recursive: true });
  const records = await open(place.directory, { now: () => 1_000_000 });
  await records.begin(MODEL);
  await records.end(ID, MODEL, secret("owner", "hunter2"));
  const [file = ""] = await readdir(join(place.directory, "pulled"));
  const text = await readFile(join(place.directory, "pulled", file), "utf8");
  assert.ok(!text.includes("hunter2"));
  const { credentialMapping, ...head } = JSON.parse(text) as { credentialMapping: object };
  assert.deepEqual(head, {
    kind: "ImagePulledRecord",
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    lastUpdatedTime: "1970-01-01T00:16:40Z",
    imageRef: ID,
  });
  assert.deepEqual(Object.keys(credentialMapping), ["quay.io/private/model"]);
  await records.prune(new Set(), 1_000_500);
  await records.prune(new Set([ID]), 2_000_000);
  assert.equal((await readdir(join(place.directory, "pulled"))).length, 1);
  await records.prune(new Set(), 2_000_000);
  assert.deepEqual(await readdir(join(place.directory, "pulled")), []);
});

test("what a tag stands for now is checked by what it is, not by what it was", async () => {
  await using node = await startNode();
  const putSecret = (name: string): void => {
    const auths = { "quay.io": { username: name, password: "pw" } };
    const data = { ".dockerconfigjson": Buffer.from(JSON.stringify({ auths })).toString("base64") };
    const metadata = { name, namespace: "default" };
    node.api.put("secrets", { metadata, type: "kubernetes.io/dockerconfigjson", data } as never);
  };
  putSecret("owner");
  let id = "sha256:public";
  node.runtime.onPull = (_, { auth }) => {
    if (id === "sha256:private" && auth?.username !== "owner") throw status("UNKNOWN", "denied");
    return { id };
  };
  const pod = (pullPolicy: string, more: object = {}) => ({
    ...more,
    containers: [{ name: "a", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: "/v" }] }],
    volumes: [{ name: "v", image: { reference: MODEL, pullPolicy } }],
  });
  const state = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state;
  node.apply("public", pod("Always"));
  await node.when("public", (pod) => state(pod)?.running);
  id = "sha256:private";
  node.apply("owner", pod("Always", { imagePullSecrets: [{ name: "owner" }] }));
  await node.when("owner", (pod) => state(pod)?.running);
  node.apply("thief", pod("Never"));
  await node.when("thief", (pod) => state(pod)?.waiting?.reason === "ErrImageNeverPull");
});
