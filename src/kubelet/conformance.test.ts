// The table of ../shared/conformance/kubelet-1.36.md, row by row: what a real kubelet did, and better where it was at fault.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { Pod, PodSpec } from "#k8s";
import { status } from "./testing/fake-runtime.ts";
import { startNode, type TestNode } from "./testing/node.ts";

const ECHO = "registry.k8s.io/e2e-test-images/echoserver:2.3";

/** Two containers, of which `test` mounts the volume `v`. */
function twoContainers(reference: string, pullPolicy: string, mount: object = {}): Partial<PodSpec> {
  return {
    containers: [
      { name: "test", image: ECHO, volumeMounts: [{ name: "v", mountPath: "/volume", ...mount }] },
      { name: "other", image: ECHO },
    ],
    volumes: [{ name: "v", image: { reference, pullPolicy } }],
  };
}

const stateOf = (pod: Pod, name: string) =>
  pod.status?.containerStatuses?.find((container) => container.name === name)?.state;
const waiting = (pod: Pod, name: string) => stateOf(pod, name)?.waiting;

async function withEcho(): Promise<TestNode> {
  const node = await startNode();
  node.runtime.images.set(ECHO, { id: "sha256:echo" });
  return node;
}

test("a volume that does not exist keeps its container waiting and no other", async () => {
  await using node = await withEcho();
  const reference = "quay.io/crio/missing:v1";
  node.runtime.onPull = () => {
    throw status(
      "NOT_FOUND",
      `failed to pull and unpack image "${reference}": failed to resolve image: ${reference}: not found`,
    );
  };
  node.apply("notfound", twoContainers(reference, "IfNotPresent"));
  const raw = `rpc error: code = NotFound desc = failed to pull and unpack image "${reference}": failed to resolve image: ${reference}: not found`;

  const first = await node.when("notfound", (pod) => waiting(pod, "test")?.reason === "ErrImagePull");
  assert.equal(waiting(first, "test")?.message, raw);
  const pod = await node.when(
    "notfound",
    (pod) => waiting(pod, "test")?.reason === "ImagePullBackOff" && stateOf(pod, "other")?.running,
  );
  assert.equal(waiting(pod, "test")?.message, `Back-off pulling image "${reference}": ErrImagePull: ${raw}`);
  assert.equal(pod.status?.phase, "Pending");

  await node.event("notfound", "Failed", "Error: ImagePullBackOff");
  const told = node.told("notfound");
  assert.deepEqual(
    told.filter((line) => !line.includes(ECHO) && !line.includes("{other}")),
    [
      `Normal Pulling Pulling image "${reference}"`,
      `Warning Failed Failed to pull image "${reference}": ${raw}`,
      "Warning Failed spec.containers{test} Error: ErrImagePull",
      `Normal BackOff Back-off pulling image "${reference}"`,
      "Warning Failed spec.containers{test} Error: ImagePullBackOff",
    ],
  );
  assert.deepEqual(
    told.filter((line) => line.includes("{other}")),
    [
      `Normal Pulled spec.containers{other} Container image "${ECHO}" already present on machine and can be accessed by the pod`,
      "Normal Created spec.containers{other} Container created",
      "Normal Started spec.containers{other} Container started",
    ],
  );
});

test("the policy Never asks for a volume that is here, and says so where it is not", async () => {
  await using node = await withEcho();
  node.apply("never", twoContainers("quay.io/crio/never:v1", "Never"));
  const pod = await node.when(
    "never",
    (pod) => waiting(pod, "test")?.reason === "ErrImageNeverPull" && stateOf(pod, "other")?.running,
  );
  const message = 'Container image "quay.io/crio/never:v1" is not present with pull policy of Never';
  assert.equal(waiting(pod, "test")?.message, message);
  assert.equal(pod.status?.phase, "Pending");
  await node.event("never", "ErrImageNeverPull", message);
  await node.event("never", "Failed", "Error: ErrImageNeverPull");
  assert.deepEqual(node.runtime.pulls, []);
});

test("a reference that is none is said to be none", async () => {
  await using node = await withEcho();
  node.apply("invalid", twoContainers("INVALID::ref", "IfNotPresent"));
  const pod = await node.when(
    "invalid",
    (pod) => waiting(pod, "test")?.reason === "InvalidImageName" && stateOf(pod, "other")?.running,
  );
  const message =
    'Failed to apply default image tag "INVALID::ref": couldn\'t parse image name "INVALID::ref": invalid reference format: repository name (library/INVALID) must be lowercase';
  assert.equal(waiting(pod, "test")?.message, message);
  await node.event("invalid", "InspectFailed", message);
  await node.event("invalid", "Failed", "Error: InvalidImageName");
});

test("a bad volume that nobody mounts stops nobody", async () => {
  await using node = await withEcho();
  node.runtime.onPull = () => {
    throw status("NOT_FOUND", "not found");
  };
  const spec = twoContainers("quay.io/crio/missing:v2", "IfNotPresent");
  for (const container of spec.containers ?? []) delete container.volumeMounts;
  node.apply("unmounted", spec);
  const pod = await node.when("unmounted", (pod) => pod.status?.phase === "Running");
  assert.ok(stateOf(pod, "test")?.running);
  assert.ok(stateOf(pod, "other")?.running);
});

test("an error without a code is told as it came", async () => {
  await using node = await withEcho();
  const raw =
    'failed to pull and unpack image "127.0.0.1:9/x/y:v1": failed to resolve image: failed to do request: Head "https://127.0.0.1:9/v2/x/y/manifests/v1": dial tcp 127.0.0.1:9: connect: connection refused';
  node.runtime.onPull = () => {
    throw status("UNKNOWN", raw);
  };
  node.apply("refused", twoContainers("127.0.0.1:9/x/y:v1", "Always"));
  const pod = await node.when("refused", (pod) => waiting(pod, "test")?.reason === "ImagePullBackOff");
  assert.equal(waiting(pod, "test")?.message, `Back-off pulling image "127.0.0.1:9/x/y:v1": ErrImagePull: ${raw}`);
});

test("a registry that does not answer is a reason of its own, and then a back-off as any other", async () => {
  await using node = await withEcho();
  node.runtime.onPull = () => {
    throw status("UNKNOWN", "RegistryUnavailable: 127.0.0.1:9: connection refused");
  };
  node.apply("down", twoContainers("127.0.0.1:9/x/y:v1", "Always"));
  const first = await node.when("down", (pod) => waiting(pod, "test")?.reason === "RegistryUnavailable");
  const why =
    "image pull failed for 127.0.0.1:9/x/y:v1 because the registry is unavailable: 127.0.0.1:9: connection refused";
  assert.equal(waiting(first, "test")?.message, why);
  const pod = await node.when("down", (pod) => waiting(pod, "test")?.reason === "ImagePullBackOff");
  assert.equal(
    waiting(pod, "test")?.message,
    `Back-off pulling image "127.0.0.1:9/x/y:v1": RegistryUnavailable: ${why}`,
  );
});

test("the sub path of a volume reaches the runtime", async () => {
  await using node = await withEcho();
  node.apply("subpath", twoContainers("quay.io/crio/artifact:v1", "IfNotPresent", { subPath: "dir" }));
  await node.when("subpath", (pod) => pod.status?.phase === "Running");
  const create = node.runtime.created.find(({ config }) => config?.metadata?.name === "test");
  const mount = create?.config?.mounts?.find(({ containerPath }) => containerPath === "/volume");
  assert.equal(mount?.imageSubPath, "dir");
});

test("a missing sub path is an error before the container starts", async () => {
  await using node = await withEcho();
  const message = 'ImageVolumeMountFailed: sub path "nope" does not exist in image volume';
  node.runtime.onCreate = ({ config }) => {
    if (config?.mounts?.some(({ imageSubPath }) => imageSubPath === "nope")) throw status("UNKNOWN", message);
  };
  node.apply("submissing", twoContainers("quay.io/crio/artifact:v1", "IfNotPresent", { subPath: "nope" }));
  const pod = await node.when(
    "submissing",
    (pod) => waiting(pod, "test")?.reason === "CreateContainerError" && stateOf(pod, "other")?.running,
  );
  assert.equal(waiting(pod, "test")?.message, message);
  await node.event("submissing", "Failed", `Error: ${message}`);
});

test("a first pull tells its time and size once, and a present volume is told once for a Pod's life", async () => {
  await using node = await withEcho();
  const reference = "quay.io/crio/artifact:v1";
  node.runtime.onPull = () => ({
    id: "sha256:artifact",
    repoDigests: ["quay.io/crio/artifact@sha256:abc"],
    size: 1247n,
  });
  node.apply("first", twoContainers(reference, "IfNotPresent"));
  const pod = await node.when("first", (pod) => pod.status?.phase === "Running");
  const event = await node.event("first", "Pulled", undefined);
  assert.ok(event);
  const told = node.told("first").filter((line) => line.includes(reference));
  assert.equal(told[0], `Normal Pulling Pulling image "${reference}"`);
  assert.match(
    told[1] ?? "",
    /^Normal Pulled Successfully pulled image "quay\.io\/crio\/artifact:v1" in (\d+ms|0s) \((\d+ms|0s) including waiting\)\. Image size: 1247 bytes\.$/,
  );
  const mounts = pod.status?.containerStatuses?.find(({ name }) => name === "test")?.volumeMounts;
  assert.deepEqual(mounts, [
    { name: "v", mountPath: "/volume", volumeStatus: { image: { imageRef: "quay.io/crio/artifact@sha256:abc" } } },
  ]);

  node.apply("second", twoContainers(reference, "IfNotPresent"));
  await node.when("second", (pod) => pod.status?.phase === "Running");
  node.runtime.exit("test", 1);
  await node.when("second", (pod) => pod.status?.containerStatuses?.some(({ restartCount }) => restartCount > 0));
  const again = node.api.events("second").filter(({ message }) => message?.includes(reference));
  assert.deepEqual(
    again.map(({ message, count }) => [message, count]),
    [[`Container image "${reference}" already present on machine and can be accessed by the pod`, 1]],
  );
});

test("what the runtime is sent: the id of the volume's image, its name as written, read-only", async () => {
  await using node = await withEcho();
  node.runtime.onPull = () => ({ id: "sha256:artifact" });
  node.apply("sent", twoContainers("quay.io/crio/artifact:v1", "Always"));
  await node.when("sent", (pod) => pod.status?.phase === "Running");
  const [pull] = node.runtime.pulls;
  assert.equal(pull?.image?.annotations?.["orlop.dev/volume"], "true");
  assert.equal(pull?.image?.userSpecifiedImage, "quay.io/crio/artifact:v1");
  const create = node.runtime.created.find(({ config }) => config?.metadata?.name === "test");
  const mount = create?.config?.mounts?.find(({ containerPath }) => containerPath === "/volume");
  assert.equal(mount?.image?.image, "sha256:artifact");
  assert.equal(mount?.image?.userSpecifiedImage, "quay.io/crio/artifact:v1");
  assert.equal(mount?.readonly, true);
  assert.equal(mount?.hostPath ?? "", "");
});

test("the status of a running Pod has what kubectl shows", async () => {
  await using node = await withEcho();
  node.apply("running", twoContainers("quay.io/crio/artifact:v1", "IfNotPresent"));
  const { status } = await node.when("running", (pod) =>
    pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
  );
  assert.deepEqual(
    status?.conditions?.map((condition) => [condition.type, condition.status]),
    [
      ["PodReadyToStartContainers", "True"],
      ["Initialized", "True"],
      ["Ready", "True"],
      ["ContainersReady", "True"],
      ["PodScheduled", "True"],
    ],
  );
  const [test] = status?.containerStatuses ?? [];
  assert.match(test?.containerID ?? "", /^fake:\/\/[0-9a-f]{64}$/);
  assert.deepEqual(
    [test?.ready, test?.started, test?.restartCount, test?.lastState, test?.resources],
    [true, true, 0, {}, {}],
  );
  assert.ok(test?.state?.running?.startedAt);
  assert.deepEqual(
    [
      status?.phase,
      status?.qosClass,
      status?.hostIP,
      status?.hostIPs,
      status?.podIP,
      status?.podIPs,
      status?.observedGeneration,
    ],
    ["Running", "BestEffort", "127.0.0.1", [{ ip: "127.0.0.1" }], "10.0.0.7", [{ ip: "10.0.0.7" }], 1],
  );
});

test("a volume whose image was removed under the Pod comes again by its digest", async () => {
  await using node = await withEcho();
  const reference = "quay.io/crio/artifact:v1";
  const digest = `sha256:${"a".repeat(64)}`;
  node.runtime.onPull = () => ({ id: digest, repoDigests: [`quay.io/crio/artifact@${digest}`] });
  node.apply("lost", twoContainers(reference, "Always"));
  await node.when("lost", (pod) => stateOf(pod, "test")?.running);
  node.runtime.images.delete(reference);
  node.runtime.onCreate = ({ config }) => {
    if (
      config?.mounts?.some(({ image }) => image?.image === digest) &&
      ![...node.runtime.images.values()].some(({ id }) => id === digest)
    )
      throw status("NOT_FOUND", "pull it again");
  };
  node.runtime.exit("test", 1);
  await node.when("lost", (pod) =>
    pod.status?.containerStatuses?.some(({ restartCount, state }) => restartCount === 1 && state?.running),
  );
  assert.deepEqual(
    node.runtime.pulls.map(({ image }) => image?.image),
    [reference, `quay.io/crio/artifact@${digest}`],
  );
});

test("many volumes that become ready at once are all noted", async () => {
  await using node = await withEcho();
  const names = Array.from({ length: 12 }, (_, i) => `v${i}`);
  node.runtime.onPull = (reference) => ({ id: `sha256:${reference}` });
  const spec = {
    containers: [{ name: "test", image: ECHO, volumeMounts: names.map((name) => ({ name, mountPath: `/${name}` })) }],
    volumes: names.map((name) => ({ name, image: { reference: `quay.io/crio/${name}:1` } })),
  };
  const { metadata } = node.apply("many", spec);
  await node.when("many", (pod) => stateOf(pod, "test")?.running);
  const path = join(node.directory, "kubelet/pods", metadata?.uid ?? "", "image-volumes.json");
  const noted = JSON.parse(await readFile(path, "utf8")) as Record<string, { id: string }>;
  assert.deepEqual(Object.keys(noted).sort(), names.toSorted());
});
