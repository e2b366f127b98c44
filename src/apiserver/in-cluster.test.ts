// What a client in a Pod finds: a token, the authority's certificate, and an API server at an address that Pods reach.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startApiServer, type ApiServer } from "#apiserver";
import type { ConfigMap, Pod, ServiceAccount } from "#k8s";
import { createKubeClient, openPki, type KubeClient, type Pki } from "#wire";

let directory: string;
let pki: Pki;
let server: ApiServer;
let admin: KubeClient;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "orlop-in-cluster-"));
  pki = await openPki(join(directory, "pki"));
  server = await startApiServer({ dataDir: directory, pki });
  const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
  admin = createKubeClient({ server: server.url, ca: pki.ca, ...credential });
});
after(async () => {
  admin[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const PODS = "/api/v1/namespaces/default/pods";
const create = (name: string, spec: object): Promise<Pod> =>
  admin.create<Pod>(PODS, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [{ name: "c", image: "busybox:1" }], ...spec },
  });
const mountsOf = (pod: Pod): (string | undefined)[] =>
  (pod.spec?.containers ?? []).flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ mountPath }) => mountPath));
const TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount";

test("a Pod is given a token of its account, the authority's certificate and its namespace", async () => {
  const pod = await create("plain", {});
  assert.deepEqual(mountsOf(pod), [TOKENS]);
  assert.equal(pod.spec?.serviceAccountName, "default");
  const [volume] = pod.spec?.volumes ?? [];
  assert.match(volume?.name ?? "", /^kube-api-access-[a-z0-9]{5}$/);
  assert.deepEqual(
    volume?.projected?.sources?.map((source) => Object.keys(source)),
    [["serviceAccountToken"], ["configMap"], ["downwardAPI"]],
  );
  const path = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
  assert.deepEqual((await admin.get<ConfigMap>(path)).data, { "ca.crt": pki.ca });
});

test("not where the Pod or its account wants none, nor over a mount of its own", async () => {
  assert.deepEqual(mountsOf(await create("none", { automountServiceAccountToken: false })), []);
  await admin.create<ServiceAccount>("/api/v1/namespaces/default/serviceaccounts", {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "quiet" },
    automountServiceAccountToken: false,
  });
  assert.deepEqual(mountsOf(await create("account", { serviceAccountName: "quiet" })), []);
  const own = await create("own", {
    containers: [{ name: "c", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: TOKENS }] }],
    volumes: [{ name: "v", emptyDir: {} }],
  });
  assert.deepEqual(
    own.spec?.volumes?.map(({ name }) => name),
    ["v"],
  );
});

test("another address is answered at, under a certificate that names it, until the server ends", async () => {
  await server.listenAt("127.0.0.9");
  const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
  const url = `https://127.0.0.9:${server.port}`;
  using client = createKubeClient({ server: url, ca: pki.ca, ...credential });
  assert.equal((await client.get<Pod>(`${PODS}/plain`)).metadata?.name, "plain");
});
