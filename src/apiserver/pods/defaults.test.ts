import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, type Pod } from "#k8s";
import { alwaysPullImages, setPriority, tolerateLostNodes } from "./admission.ts";
import { defaultPod, defaultPodSpec } from "./defaults.ts";
import { dropAlphaFields, mergeLabelKeys } from "./prepare.ts";
import { pod } from "./testing/table.ts";

test("who is limited asks for as much, and nothing is measured in less than thousandths", () => {
  const { resources } = pod({}, { resources: { limits: { memory: "1Gi", cpu: "1500u" }, requests: { memory: "1Mi" } } })
    .spec!.containers[0]!;
  assert.deepEqual(resources, { limits: { cpu: "2m", memory: "1Gi" }, requests: { cpu: "2m", memory: "1Mi" } });
});

test("a whole Pod asks for what its containers do, else for what it may have", () => {
  const limits = { cpu: "2", memory: "1Gi" };
  const { resources } = pod({ resources: { limits } }, { resources: { requests: { cpu: "500m" } } }).spec!;
  assert.deepEqual(resources?.requests, { cpu: "500m", memory: "1Gi" });
});

test("a template's spec leaves to the Pod what depends on more than itself", () => {
  const container = { name: "c", image: "b", ports: [{ containerPort: 80 }], resources: { limits: { cpu: "1" } } };
  const ports = (): unknown => made.spec?.containers[0]?.ports;
  const made = decode({ spec: { hostNetwork: true, containers: [container] } }, "v1.Pod").value as Pod;
  defaultPodSpec(made.spec!, { imageVolume: true });
  assert.equal(made.spec?.enableServiceLinks, undefined);
  assert.deepEqual(ports(), [{ containerPort: 80, protocol: "TCP" }]);
  assert.equal(made.spec?.containers[0]?.resources?.requests, undefined);
  defaultPod(made, { imageVolume: true });
  assert.equal(made.spec?.enableServiceLinks, true);
  assert.deepEqual(ports(), [{ hostPort: 80, containerPort: 80, protocol: "TCP" }]);
  assert.deepEqual(made.spec?.containers[0]?.resources?.requests, { cpu: "1" });
});

test("volumes of other makers have their defaults too", () => {
  const volumes = [
    { name: "e" },
    { name: "r", rbd: { monitors: ["m"], image: "i" } },
    { name: "h", hostPath: { path: "/" } },
  ];
  assert.deepEqual(pod({ volumes }).spec?.volumes, [
    { name: "e", emptyDir: {} },
    { name: "r", rbd: { monitors: ["m"], image: "i", pool: "rbd", user: "admin", keyring: "/etc/ceph/keyring" } },
    { name: "h", hostPath: { path: "/", type: "" } },
  ]);
});

test("a Pod's priority is that of its class", () => {
  const of = (spec: object): Pod => {
    const made = pod(spec);
    setPriority(made);
    return made;
  };
  assert.equal(of({}).spec?.priority, 0);
  assert.equal(of({ priorityClassName: "system-node-critical" }).spec?.priority, 2000001000);
  assert.throws(() => of({ priorityClassName: "nope" }), {
    message: 'pods "p" is forbidden: no PriorityClass with name nope was found',
  });
  assert.throws(() => of({ priority: 5 }), { message: /the integer value of priority \(5\) must not be provided/ });
  assert.throws(() => of({ preemptionPolicy: "Never" }), { message: /the string value of PreemptionPolicy \(Never\)/ });
});

test("a Pod bears a lost node unless it says how long", () => {
  const made = pod({
    tolerations: [
      { key: "node.kubernetes.io/not-ready", operator: "Exists", tolerationSeconds: 1, effect: "NoExecute" },
    ],
  });
  tolerateLostNodes(made);
  assert.deepEqual(
    made.spec?.tolerations?.map(({ key, tolerationSeconds }) => [key, tolerationSeconds]),
    [
      ["node.kubernetes.io/not-ready", 1],
      ["node.kubernetes.io/unreachable", 300],
    ],
  );
});

test("every image is pulled anew where the plugin says so, of volumes too", () => {
  const made = pod({
    volumes: [{ name: "v", image: { reference: "a:1" } }],
    initContainers: [{ name: "i", image: "b:1" }],
  });
  alwaysPullImages(made);
  assert.equal(made.spec?.volumes?.[0]?.image?.pullPolicy, "Always");
  assert.equal(made.spec?.initContainers?.[0]?.imagePullPolicy, "Always");
});

test("keys of labels become selectors, and fields of the future go", () => {
  const constraint = { maxSkew: 1, topologyKey: "t", whenUnsatisfiable: "DoNotSchedule", matchLabelKeys: ["a", "b"] };
  const made = pod(
    {
      topologySpreadConstraints: [{ ...constraint, labelSelector: {} }, constraint],
      schedulingGroup: { podGroupName: "g" },
    },
    { lifecycle: { stopSignal: "SIGTERM" } },
    { labels: { a: "1" } },
  );
  mergeLabelKeys(made);
  dropAlphaFields(made.spec!);
  assert.deepEqual(made.spec?.topologySpreadConstraints, [
    { ...constraint, labelSelector: { matchExpressions: [{ key: "a", operator: "In", values: ["1"] }] } },
    constraint,
  ]);
  assert.equal(made.spec?.schedulingGroup, undefined);
  assert.equal(made.spec?.containers[0]?.lifecycle, undefined);
});
