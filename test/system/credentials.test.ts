// Who may have what a registry guards: docker-registry with a password file and with a token server, our API server, our kubelet,
// Orlop's CRI and a real containerd.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { startApiServer } from "#apiserver";
import type { Pod, PodSpec } from "#k8s";
import type { KubeletConfig } from "#kubelet";
import { createKubeClient, kubePath, openPki, type KubeClientOptions } from "#wire";
import { startCriNode, type CriNode } from "../support/cri-node.ts";
import { startRegistry, type DockerRegistryOptions } from "../support/docker-registry.ts";
import { startKubeletIn } from "../support/kubelet.ts";
import { createWorld, leftovers, pushObjects, until, WORKLOAD, type World } from "../support/orlop.ts";
import { startTokenServer } from "../support/token-server.ts";

const PASSWORD = { username: "orlop", password: "secret" };
const NAMESPACE = { namespace: "default" };
const PODS = kubePath("v1", "pods", NAMESPACE);
type Policy = NonNullable<KubeletConfig["imagePullCredentialsVerificationPolicy"]>;

let world: World;
let node: CriNode;
const stack = new AsyncDisposableStack();
before(async () => {
  world = stack.use(await createWorld());
  stack.defer(() => assert.deepEqual(leftovers(world), []));
  pushObjects(world);
  node = stack.use(await startCriNode(world));
});
after(() => stack.disposeAsync());

/** An API server, and what its administrator does with the Pods of one node of it. */
async function startCluster(name: string) {
  await using parts = new AsyncDisposableStack();
  const dir = join(world.dir, name);
  const pki = await openPki(join(dir, "pki"));
  const server = parts.use(await startApiServer({ dataDir: dir, pki }));
  const as = async (commonName: string, organization: string): Promise<KubeClientOptions> => {
    const credential = await pki.clientCertificate({ commonName, organizations: [organization] });
    return { server: server.url, ca: pki.ca, ...credential };
  };
  const client = parts.use(createKubeClient(await as("admin", "system:masters")));
  const api = await as(`system:node:${name}`, "system:nodes");
  const owned = parts.move();
  const when = async (pod: string, found: (state: State) => unknown): Promise<Pod> =>
    until(`${pod} is as it should be`, async () => {
      const one = await client.get<Pod>(`${PODS}/${pod}`);
      return found(stateOf(one)) ? one : undefined;
    });
  return {
    client,
    dir,
    /** A kubelet of this node, whose Pods go with it. */
    async startKubelet(imagePullCredentialsVerificationPolicy: Policy): Promise<AsyncDisposable> {
      const kubelet = await startKubeletIn(dir, pki, {
        api,
        criSocket: join(node.runDir, "cri.sock"),
        nodeName: name,
        measure: async () => ({}),
        config: {
          cgroupRoot: `/orlop-test-${process.pid}-${name}`,
          imagePullCredentialsVerificationPolicy,
          imageCredentialProviderConfigFile: join(dir, "plugins.json"),
          imageCredentialProviderBinDir: join(dir, "plugins"),
          registryPullQPS: 0,
          retryPeriod: 500,
        },
      });
      return {
        async [Symbol.asyncDispose]() {
          const { items } = await client.list<Pod>(PODS);
          for (const { metadata } of items) await client.delete(`${PODS}/${metadata?.name}`, { gracePeriodSeconds: 1 });
          await until("all Pods are gone", async () => (await client.list(PODS)).items.length === 0);
          await kubelet[Symbol.asyncDispose]();
        },
      };
    },
    /** A Pod that mounts `reference` at `/v`. */
    async apply(pod: string, reference: string, more: Partial<PodSpec> = {}, pullPolicy = "IfNotPresent") {
      const container = { name: "a", image: WORKLOAD, command: IDLE, volumeMounts: [{ name: "v", mountPath: "/v" }] };
      const volumes = [{ name: "v", image: { reference, pullPolicy } }];
      const spec = { nodeName: name, containers: [container], volumes, ...more };
      await client.create(PODS, { metadata: { name: pod }, spec });
    },
    /** What the Pod reads in its volume. */
    async read(pod: string): Promise<string> {
      const { status } = await when(pod, (state) => {
        assert.ok(!REFUSED.test(state?.waiting?.reason ?? ""), `${pod} waits: ${state?.waiting?.message}`);
        return state?.running;
      });
      const id = status?.containerStatuses?.[0]?.containerID?.replace("containerd://", "") ?? "";
      return (await node.sh(id, "cat /v/file")).out;
    },
    /** Why the Pod does not get its image. */
    async refusal(pod: string): Promise<string> {
      const refused = await when(pod, (state) => {
        assert.equal(state?.running, undefined, `${pod} runs`);
        return REFUSED.test(state?.waiting?.reason ?? "");
      });
      const { reason, message } = stateOf(refused)?.waiting ?? {};
      return `${reason}: ${message}`;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const IDLE = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];
const REFUSED = /^(ErrImagePull|ErrImageNeverPull|ImagePullBackOff)$/;
const DENIED = /ErrImagePull: .*(UNAUTHORIZED|401)/;
const stateOf = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state;
type State = ReturnType<typeof stateOf>;

/** As `docker login` writes it. */
function dockerConfig(logins: Readonly<Record<string, typeof PASSWORD>>): string {
  const auths = Object.entries(logins).map(([where, { username, password }]) => [
    where,
    { auth: Buffer.from(`${username}:${password}`).toString("base64") },
  ]);
  return JSON.stringify({ auths: Object.fromEntries(auths) as object });
}

function pullSecret(name: string, logins: Readonly<Record<string, typeof PASSWORD>>): object {
  const data = { ".dockerconfigjson": Buffer.from(dockerConfig(logins)).toString("base64") };
  return { metadata: { name }, type: "kubernetes.io/dockerconfigjson", data };
}

/** The node's own logins: one in its `config.json`, one that a plugin gives, each good for one repository only. */
function writeNodeLogins(node: string, inFile: string, byPlugin: string): void {
  const apiVersion = "credentialprovider.kubelet.k8s.io/v1";
  world.file(`${node}/kubelet/config.json`, dockerConfig({ [inFile]: PASSWORD }));
  const provider = { name: "plugin", apiVersion, matchImages: [byPlugin], defaultCacheDuration: "0s" };
  const config = { apiVersion: "kubelet.config.k8s.io/v1", kind: "CredentialProviderConfig", providers: [provider] };
  world.file(`${node}/plugins.json`, JSON.stringify(config));
  const auth = { [byPlugin]: PASSWORD };
  const answer = { apiVersion, kind: "CredentialProviderResponse", cacheKeyType: "Image", auth };
  world.file(`${node}/plugins/plugin`, `#!/bin/sh\ncat > /dev/null\necho '${JSON.stringify(answer)}'\n`, 0o755);
}

const GUARDS: Readonly<
  Record<string, (stack: AsyncDisposableStack) => Promise<NonNullable<DockerRegistryOptions["auth"]>>>
> = {
  htpasswd: async () => "basic",
  tokens: async (stack) => stack.use(await startTokenServer(false)).auth,
};

for (const [guard, authOf] of Object.entries(GUARDS))
  suite(`a registry with ${guard}`, () => {
    let host: string;
    let cluster: Awaited<ReturnType<typeof startCluster>>;
    const parts = new AsyncDisposableStack();
    before(async () => {
      const registry = parts.use(await startRegistry({ auth: await authOf(parts) }));
      host = registry.host;
      const push = { paths: [join(world.dir, "content/artifact/file")], credentials: [PASSWORD] };
      for (const name of ["secret", "account", "file", "plugin", "owned", "preloaded"])
        // Each an object of its own: who may have one says nothing about the others.
        await node.engine.push({
          reference: `${host}/by/${name}:v1`,
          annotations: { name: `${guard} ${name}` },
          ...push,
        });
      writeNodeLogins(guard, `${host}/by/file`, `${host}/by/plugin`);
      cluster = parts.use(await startCluster(guard));
      const namespaced = (resource: string): string => kubePath("v1", resource, NAMESPACE);
      const wrong = { username: "orlop", password: "wrong" };
      await cluster.client.create(
        namespaced("secrets"),
        pullSecret("login", { [`${host}/by/secret`]: wrong, [host]: PASSWORD }),
      );
      await cluster.client.create(namespaced("serviceaccounts"), {
        metadata: { name: "puller" },
        imagePullSecrets: [{ name: "login" }],
      });
    });
    after(() => parts.disposeAsync());

    test("gives to Pods with a secret, with an account that has it, by the node's files and by its plugin, and to no other", async () => {
      await using _kubelet = await cluster.startKubelet("NeverVerifyPreloadedImages");
      await cluster.apply("none", `${host}/by/account:v1`);
      assert.match(await cluster.refusal("none"), DENIED);
      await cluster.apply("secret", `${host}/by/secret:v1`, { imagePullSecrets: [{ name: "login" }] });
      await cluster.apply("account", `${host}/by/account:v1`, { serviceAccountName: "puller" });
      await cluster.apply("file", `${host}/by/file:v1`);
      await cluster.apply("plugin", `${host}/by/plugin:v1`);
      for (const pod of ["secret", "account", "file", "plugin"]) assert.equal(await cluster.read(pod), "2\n");
    });

    for (const policy of ["NeverVerifyPreloadedImages", "AlwaysVerify"] as const)
      test(`what one Pod's secret brought is refused to a Pod without it under ${policy}`, async () => {
        await using _kubelet = await cluster.startKubelet(policy);
        const reference = `${host}/by/owned:v1`;
        await cluster.apply("owner", reference, { imagePullSecrets: [{ name: "login" }] });
        assert.equal(await cluster.read("owner"), "2\n");
        await cluster.apply("thief", reference);
        await cluster.apply("patient", reference, {}, "Never");
        await cluster.apply("friend", reference, { serviceAccountName: "puller" }, "Never");
        assert.match(await cluster.refusal("thief"), DENIED);
        assert.match(await cluster.refusal("patient"), /^ErrImageNeverPull: /);
        assert.equal(await cluster.read("friend"), "2\n");
      });

    test("an image that was here before is everybody's, but not under AlwaysVerify", async () => {
      const reference = `${host}/by/preloaded:v1`;
      const image = { image: reference, annotations: { "orlop.dev/volume": "true" } };
      await node.client.pullImage({ image, auth: PASSWORD });
      {
        await using _kubelet = await cluster.startKubelet("NeverVerifyPreloadedImages");
        await cluster.apply("early", reference, {}, "Never");
        assert.equal(await cluster.read("early"), "2\n");
      }
      await using _kubelet = await cluster.startKubelet("AlwaysVerify");
      await cluster.apply("late", reference);
      assert.match(await cluster.refusal("late"), DENIED);
    });
  });
