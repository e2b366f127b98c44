import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silent } from "#base";
import type { Pod } from "#k8s";
import { parseReference } from "#oci";
import { openCredentialPlugins } from "./credential-plugins.ts";
import { matchKeys, parseDockerConfig } from "./keyring.ts";
import { status } from "./testing/fake-runtime.ts";
import { startNode, type TestNode } from "./testing/node.ts";

const login = (user: string): string => Buffer.from(`${user}:pw`).toString("base64");
const dockerConfig = (auths: Record<string, string>): string =>
  JSON.stringify({
    auths: Object.fromEntries(Object.entries(auths).map(([registry, user]) => [registry, { auth: login(user) }])),
  });
const waiting = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state?.waiting;
const isRunning = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state?.running !== undefined;

function putSecret(node: TestNode, name: string, auths: Record<string, string>): void {
  const data = { ".dockerconfigjson": Buffer.from(dockerConfig(auths)).toString("base64") };
  node.api.put("secrets", { metadata: { name, namespace: "default" }, type: "kubernetes.io/dockerconfigjson", data });
}

test("the login that is meant for a reference most closely comes first", () => {
  const keys = parseDockerConfig(
    dockerConfig({
      "https://index.docker.io/v1/": "hub",
      "*.example.com": "glob",
      "a.example.com": "host",
      "a.example.com/team": "team",
      "a.example.com:5000": "port",
      "quay.io/team": "elsewhere",
      "https://c.example.com/v2/deep/": "version",
      "*.d.example.com/team/app": "deep glob",
      "b.d.example.com": "shallow name",
    }),
  );
  const users = (reference: string) => matchKeys(keys, parseReference(reference)).map(({ auth }) => auth.username);
  assert.deepEqual(users("a.example.com/team/app:1"), ["team", "host", "glob"]);
  // Upstream's paths are beginnings, to the letter.
  assert.deepEqual(users("a.example.com/teams/app:1"), ["team", "host", "glob"]);
  assert.deepEqual(users("b.example.com/app"), ["glob"]);
  assert.deepEqual(users("x.b.example.com/app"), []);
  assert.deepEqual(users("a.example.com:5000/app"), ["port"]);
  assert.deepEqual(users("busybox"), ["hub"]);
  assert.deepEqual(users("c.example.com/deep/app"), ["version", "glob"]);
  assert.deepEqual(users("c.example.com/app"), ["glob"]);
  assert.deepEqual(users("b.d.example.com/team/app"), ["shallow name", "deep glob"]);
});

test("a docker config that is none is refused without quoting it", () => {
  assert.throws(
    () => parseDockerConfig("hunter2"),
    (error: Error) => !error.message.includes("hunter2"),
  );
});

/** A registry that gives `private/…` to `owner` only. */
async function withPrivate(policy?: "NeverVerify" | "AlwaysVerify"): Promise<TestNode> {
  const node = await startNode(policy ? { imagePullCredentialsVerificationPolicy: policy } : {});
  node.runtime.onPull = (reference, { auth }) => {
    if (reference.includes("private") && auth?.username !== "owner") throw status("UNKNOWN", "denied");
    return { id: `sha256:${reference}` };
  };
  putSecret(node, "owner", { "quay.io": "owner" });
  return node;
}

const withVolume = (reference: string, pullPolicy = "IfNotPresent", secret?: string) => ({
  ...(secret ? { imagePullSecrets: [{ name: secret }] } : {}),
  containers: [{ name: "a", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: "/v" }] }],
  volumes: [{ name: "v", image: { reference, pullPolicy } }],
});

test("a private volume that one Pod's secret brought is not handed to a Pod without it", async () => {
  await using node = await withPrivate();
  const reference = "quay.io/private/model:v1";
  node.apply("owner", withVolume(reference, "IfNotPresent", "owner"));
  await node.when("owner", isRunning);

  node.apply("thief", withVolume(reference));
  const thief = await node.when("thief", (pod) => waiting(pod)?.reason === "ErrImagePull");
  assert.equal(waiting(thief)?.message, "denied");
  node.apply("patient", withVolume(reference, "Never"));
  await node.when("patient", (pod) => waiting(pod)?.reason === "ErrImageNeverPull");

  // Whoever has the secret need not pull again, also after the kubelet was restarted.
  await node.restart();
  const pulls = node.runtime.pulls.length;
  node.apply("friend", withVolume(reference, "Never", "owner"));
  await node.when("friend", isRunning);
  assert.equal(node.runtime.pulls.slice(pulls).filter(({ auth }) => auth?.username === "owner").length, 0);
});

test("what came without a secret is everybody's", async () => {
  await using node = await withPrivate();
  node.apply("first", withVolume("quay.io/public/model:v1"));
  await node.when("first", isRunning);
  node.apply("second", withVolume("quay.io/public/model:v1", "Never"));
  await node.when("second", isRunning);
});

test("images that were there before are everybody's, unless the node verifies always", async () => {
  await using lenient = await withPrivate();
  lenient.runtime.images.set("quay.io/private/old:v1", { id: "sha256:old" });
  lenient.apply("web", withVolume("quay.io/private/old:v1", "Never"));
  await lenient.when("web", isRunning);

  await using strict = await withPrivate("AlwaysVerify");
  strict.runtime.images.set("quay.io/private/old:v1", { id: "sha256:old" });
  strict.apply("web", withVolume("quay.io/private/old:v1", "Never"));
  await strict.when("web", (pod) => waiting(pod)?.reason === "ErrImageNeverPull");
});

test("the node's own logins come after the Pod's", async () => {
  await using node = await startNode();
  await writeFile(join(node.directory, "kubelet", "config.json"), dockerConfig({ "quay.io": "node" }));
  putSecret(node, "own", { "quay.io": "pod" });
  node.runtime.onPull = (_, { auth }) => {
    if (auth?.username === "node") return { id: "sha256:x" };
    throw status("UNKNOWN", "denied");
  };
  node.apply("web", { imagePullSecrets: [{ name: "own" }], containers: [{ name: "a", image: "quay.io/x:1" }] });
  await node.when("web", isRunning);
  assert.deepEqual(
    node.runtime.pulls.map(({ auth }) => auth?.username),
    ["pod", "node"],
  );
});

test("the errors of all logins are told together", async () => {
  await using node = await startNode();
  putSecret(node, "two", { "quay.io": "one", "quay.io/team": "two" });
  node.runtime.onPull = (_, { auth }) => {
    throw status("UNKNOWN", `${auth?.username} denied`);
  };
  node.apply("web", { imagePullSecrets: [{ name: "two" }], containers: [{ name: "a", image: "quay.io/team/x:1" }] });
  const pod = await node.when("web", (pod) => waiting(pod)?.reason === "ErrImagePull");
  assert.equal(waiting(pod)?.message, "[two denied, one denied]");
});

test("a credential plugin is asked in its protocol, and its answer kept as it says", async () => {
  const directory = await mkdtemp(join(tmpdir(), "orlop-plugin-"));
  try {
    const asked = join(directory, "asked");
    const answer = {
      apiVersion: "credentialprovider.kubelet.k8s.io/v1",
      kind: "CredentialProviderResponse",
      cacheKeyType: "Registry",
      cacheDuration: "1h",
      auth: { "*.example.com": { username: "plugin", password: "pw" } },
    };
    await writeFile(
      join(directory, "good"),
      `#!/bin/sh\ncat >> ${asked}; echo "$1 $TOKEN" >> ${asked}\necho '${JSON.stringify(answer)}'\n`,
      { mode: 0o755 },
    );
    await writeFile(join(directory, "bad"), "#!/bin/sh\necho hunter2; exit 3\n", { mode: 0o755 });
    const provider = { matchImages: ["*.example.com"], apiVersion: answer.apiVersion, defaultCacheDuration: "0s" };
    const config = {
      providers: [
        { name: "bad", ...provider },
        { name: "good", ...provider, args: ["--get"], env: [{ name: "TOKEN", value: "t" }] },
      ],
    };
    await writeFile(join(directory, "config.yaml"), JSON.stringify(config));

    const warnings: unknown[] = [];
    const log = { ...silent, warn: (fields: object) => void warnings.push(fields) };
    const plugins = await openCredentialPlugins({
      configFile: join(directory, "config.yaml"),
      binDir: directory,
      log,
      now: () => 0,
    });
    const ask = async (reference: string) =>
      (await plugins(parseReference(reference))).map(({ auth }) => auth.username);
    assert.deepEqual(await ask("a.example.com/x:1"), ["plugin"]);
    assert.deepEqual(await ask("a.example.com/y:1"), ["plugin"]);
    assert.deepEqual(await ask("quay.io/y:1"), []);
    const request = { apiVersion: answer.apiVersion, kind: "CredentialProviderRequest", image: "a.example.com/x" };
    assert.equal(await readFile(asked, "utf8"), `${JSON.stringify(request)}--get t\n`);
    assert.equal(warnings.length, 2);
    assert.ok(!JSON.stringify(warnings).includes("hunter2"));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
