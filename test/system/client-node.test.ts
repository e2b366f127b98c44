// The published JavaScript client against our API server over TLS: typed calls, patches, a watch and an informer.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CoreV1Api, KubeConfig, makeInformer, type V1Pod } from "@kubernetes/client-node";
import { startApiServer } from "#apiserver";
import { kubeconfig, openPki } from "#wire";

test("@kubernetes/client-node creates, lists, follows and deletes Pods with image volumes", async () => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-client-node-"));
  try {
    const pki = await openPki(join(dir, "pki"));
    await using server = await startApiServer({ dataDir: dir, pki });
    const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
    await writeFile(join(dir, "config"), kubeconfig({ server: server.url, ca: pki.ca, ...credential, name: "test" }));
    const config = new KubeConfig();
    config.loadFromFile(join(dir, "config"));
    const core = config.makeApiClient(CoreV1Api);
    const namespace = "default";
    const body: V1Pod = {
      metadata: { name: "pod", labels: { app: "a" } },
      spec: {
        containers: [{ name: "c", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: "/volume" }] }],
        volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:v1" } }],
      },
    };

    const seen: string[] = [];
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const { promise: changed, resolve: sawChange } = Promise.withResolvers<void>();
    const { promise: added, resolve: sawPod } = Promise.withResolvers<void>();
    const informer = makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, () =>
      core.listNamespacedPod({ namespace }),
    );
    informer.on("add", (pod) => {
      seen.push(`add ${pod.metadata?.name}`);
      sawPod();
    });
    informer.on("update", (pod) => {
      seen.push(`update ${pod.metadata?.labels?.["app"]}`);
      sawChange();
    });
    informer.on("delete", (pod) => {
      seen.push(`delete ${pod.metadata?.name}`);
      resolve();
    });
    await informer.start();

    const made = await core.createNamespacedPod({ namespace, body });
    assert.equal(made.spec?.volumes?.[0]?.image?.pullPolicy, "IfNotPresent");
    await added;
    const patch = [{ op: "replace", path: "/metadata/labels/app", value: "b" }];
    await core.patchNamespacedPod({ namespace, name: "pod", body: patch });
    await changed;
    const list = await core.listNamespacedPod({ namespace, labelSelector: "app=b" });
    assert.deepEqual(
      list.items.map((pod) => pod.metadata?.name),
      ["pod"],
    );
    await assert.rejects(core.readNamespacedPod({ namespace, name: "none" }), { code: 404 });
    await core.deleteNamespacedPod({ namespace, name: "pod", gracePeriodSeconds: 0 });
    await gone;
    await informer.stop();
    assert.deepEqual(seen, ["add pod", "update b", "delete pod"]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
