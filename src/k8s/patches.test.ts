import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, jsonPatch, mergePatch, parseYaml, strategicMerge } from "#k8s";
import { canonicalQuantity, quantityMilli, quantityValue } from "#k8s";

const pod = () => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", labels: { a: "1", b: "2" }, finalizers: ["x/1"] },
  spec: {
    containers: [
      { name: "one", image: "a:1", env: [{ name: "A", value: "1" }] },
      { name: "two", image: "b:1" },
    ],
    volumes: [{ name: "v", image: { reference: "a:1" } }],
    tolerations: [{ key: "k" }],
  },
});

test("a strategic merge patch finds list items by their merge key, and puts new ones first", () => {
  const patch = {
    metadata: { labels: { b: null, c: "3" }, finalizers: ["y/1"] },
    spec: {
      containers: [
        { name: "one", env: [{ name: "B", value: "2" }] },
        { name: "two", $patch: "delete" },
        { name: "new", image: "c" },
      ],
      volumes: [{ $retainKeys: ["name", "emptyDir"], name: "v", emptyDir: {} }],
      tolerations: [{ key: "other" }],
    },
  };
  assert.deepEqual(strategicMerge(pod(), patch, "v1.Pod"), {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", labels: { a: "1", c: "3" }, finalizers: ["y/1", "x/1"] },
    spec: {
      containers: [
        {
          name: "one",
          image: "a:1",
          env: [
            { name: "B", value: "2" },
            { name: "A", value: "1" },
          ],
        },
        { name: "new", image: "c" },
      ],
      volumes: [{ name: "v", emptyDir: {} }],
      tolerations: [{ key: "other" }],
    },
  });
});

test("$setElementOrder orders what it names, and $patch: replace replaces", () => {
  const patch = {
    spec: {
      "$setElementOrder/containers": [{ name: "new" }, { name: "two" }, { name: "one" }],
      containers: [{ name: "new", image: "c" }],
    },
  };
  const merged = strategicMerge(pod(), patch, "v1.Pod") as { spec: { containers: { name: string }[] } };
  assert.deepEqual(
    merged.spec.containers.map((c) => c.name),
    ["new", "two", "one"],
  );
  const replaced = strategicMerge(pod(), { spec: { containers: [{ $patch: "replace" }, { name: "z" }] } }, "v1.Pod");
  assert.deepEqual((replaced as { spec: { containers: unknown } }).spec.containers, [{ name: "z" }]);
  const emptied = strategicMerge(pod(), { metadata: { labels: { $patch: "delete" } } }, "v1.Pod");
  assert.deepEqual((emptied as { metadata: { labels: unknown } }).metadata.labels, {});
  const swapped = strategicMerge(pod(), { metadata: { labels: { $patch: "replace", z: "1" } } }, "v1.Pod");
  assert.deepEqual((swapped as { metadata: { labels: unknown } }).metadata.labels, { z: "1" });
});

test("items the patch does not name keep their place among those it names", () => {
  const live = { spec: { containers: ["a", "b", "c", "d"].map((name) => ({ name })) } };
  const names = (patch: object): string[] => {
    const merged = strategicMerge(live, { spec: patch }, "v1.Pod") as typeof live;
    return merged.spec.containers.map((container) => container.name);
  };
  const of = (text: string): object[] => text.split("").map((name) => ({ name }));
  assert.deepEqual(names({ containers: of("dn") }), ["a", "b", "c", "d", "n"]);
  assert.deepEqual(names({ containers: of("nd") }), ["n", "a", "b", "c", "d"]);
  assert.deepEqual(names({ containers: of("ca") }), ["b", "c", "a", "d"]);
  assert.deepEqual(names({ "$setElementOrder/containers": of("dba") }), ["c", "d", "b", "a"]);
  assert.deepEqual(
    names({ "$setElementOrder/containers": of("an"), containers: [{ name: "n" }, { name: "b", $patch: "delete" }] }),
    ["a", "n", "c", "d"],
  );
});

test("primitive lists are sets: what is new comes first, and a directive deletes", () => {
  const live = { metadata: { finalizers: ["a/1", "b/1", "c/1"] } };
  const finalizers = (metadata: object): unknown =>
    (strategicMerge(live, { metadata }, "v1.Pod") as typeof live).metadata.finalizers;
  assert.deepEqual(finalizers({ finalizers: ["d/1", "b/1"] }), ["d/1", "a/1", "b/1", "c/1"]);
  assert.deepEqual(finalizers({ "$deleteFromPrimitiveList/finalizers": ["b/1"] }), ["a/1", "c/1"]);
  const both = {
    "$deleteFromPrimitiveList/finalizers": ["c/1"],
    "$setElementOrder/finalizers": ["n/1", "b/1", "a/1"],
    finalizers: ["n/1"],
  };
  assert.deepEqual(finalizers(both), ["n/1", "b/1", "a/1", "c/1"]);
});

test("every list of a PodSpec that merges does so by its own key", () => {
  const spec = {
    hostAliases: [{ ip: "1.1.1.1", hostnames: ["a"] }],
    imagePullSecrets: [{ name: "s" }],
    topologySpreadConstraints: [{ topologyKey: "zone", maxSkew: 1 }],
    schedulingGates: [{ name: "g" }],
    initContainers: [{ name: "i", image: "a" }],
    ephemeralContainers: [{ name: "e", image: "a" }],
    containers: [
      {
        name: "c",
        ports: [{ containerPort: 80, name: "web" }],
        volumeMounts: [{ mountPath: "/a", name: "v" }],
        volumeDevices: [{ devicePath: "/dev/a", name: "d" }],
        envFrom: [{ prefix: "A" }],
      },
    ],
  };
  const patch = {
    hostAliases: [{ ip: "1.1.1.1", hostnames: ["b"] }],
    imagePullSecrets: [{ name: "t" }],
    topologySpreadConstraints: [{ topologyKey: "zone", maxSkew: 2 }],
    schedulingGates: [{ name: "g", $patch: "delete" }],
    initContainers: [{ name: "i", image: "b" }],
    ephemeralContainers: [{ name: "e", image: "b" }],
    containers: [
      {
        name: "c",
        ports: [{ containerPort: 80, hostPort: 8080 }],
        volumeMounts: [{ mountPath: "/a", readOnly: true }],
        volumeDevices: [{ devicePath: "/dev/a", name: "f" }],
        envFrom: [{ prefix: "B" }],
      },
    ],
  };
  assert.deepEqual(strategicMerge({ spec }, { spec: patch }, "v1.Pod"), {
    spec: {
      hostAliases: [{ ip: "1.1.1.1", hostnames: ["b"] }],
      imagePullSecrets: [{ name: "t" }, { name: "s" }],
      topologySpreadConstraints: [{ topologyKey: "zone", maxSkew: 2 }],
      schedulingGates: [],
      initContainers: [{ name: "i", image: "b" }],
      ephemeralContainers: [{ name: "e", image: "b" }],
      containers: [
        {
          name: "c",
          ports: [{ containerPort: 80, name: "web", hostPort: 8080 }],
          volumeMounts: [{ mountPath: "/a", name: "v", readOnly: true }],
          volumeDevices: [{ devicePath: "/dev/a", name: "f" }],
          envFrom: [{ prefix: "B" }],
        },
      ],
    },
  });
});

test("a strategic merge patch that is none is refused in upstream's words", () => {
  const refusals: [object, string, string][] = [
    [
      { spec: { containers: [{ image: "x" }] } },
      "BROKEN_PATCH",
      "map: map[image:x] does not contain declared merge key: name",
    ],
    [{ spec: { $patch: "odd" } }, "BROKEN_PATCH", "unknown patch type: odd in map: map[$patch:odd]"],
    [
      { spec: { containers: [{ $patch: "merge", name: "one" }] } },
      "BROKEN_PATCH",
      "merging lists cannot yet be specified in the patch",
    ],
    [
      { spec: { volumes: [{ name: "v", $retainKeys: "name" }] } },
      "INVALID_PATCH",
      "invalid patch format of retainKeys",
    ],
    [
      { spec: { volumes: [{ name: "v", $retainKeys: ["name"], emptyDir: {} }] } },
      "INVALID_PATCH",
      "invalid patch format of retainKeys",
    ],
    [
      { spec: { "$setElementOrder/containers": [{ name: "one" }], containers: [{ name: "two" }] } },
      "BROKEN_PATCH",
      "The order in patch list:\n[map[name:two]]\n doesn't match $setElementOrder list:\n[map[name:one]]\n",
    ],
    [
      { spec: { "$setElementOrder/odd": [] } },
      "BROKEN_PATCH",
      'unable to find api field in struct PodSpec for the json field "odd"',
    ],
    [{ metadata: { finalizers: [["x"]] } }, "PATCH_DOES_NOT_APPLY", "lists of lists"],
  ];
  for (const [patch, reason, message] of refusals)
    assert.throws(() => strategicMerge(pod(), patch, "v1.Pod"), { reason, message });
});

test("RFC 7396: null removes, lists are replaced", () => {
  assert.deepEqual(mergePatch({ a: { b: 1, c: 2 }, d: [1, 2] }, { a: { b: null }, d: [3], e: { f: null, g: 1 } }), {
    a: { c: 2 },
    d: [3],
    e: { g: 1 },
  });
});

test("RFC 6902: every operation, and the ones that do not apply", () => {
  const done = jsonPatch({ a: [1, 2], "b/c": { "~": 1 } }, [
    { op: "add", path: "/a/1", value: 9 },
    { op: "add", path: "/a/-", value: 3 },
    { op: "test", path: "/b~1c/~0", value: 1 },
    { op: "move", from: "/b~1c/~0", path: "/m" },
    { op: "copy", from: "/a/0", path: "/k" },
    { op: "replace", path: "/a/0", value: 0 },
    { op: "remove", path: "/a/2" },
  ]);
  assert.deepEqual(done, { a: [0, 9, 3], "b/c": {}, m: 1, k: 1 });
  const refused: [unknown, string][] = [
    [
      { op: "remove", path: "/x" },
      "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
    ],
    [
      { op: "replace", path: "/x/y", value: 1 },
      "replace operation does not apply: doc is missing path: /x/y: missing value",
    ],
    [{ op: "test", path: "/a", value: 2 }, "testing value /a failed: test failed"],
    [{ op: "add", path: "/l/9", value: 2 }, "Unable to access invalid index: 9: invalid index referenced"],
    [{ op: "add", path: "x", value: 2 }, "add operation does not apply: doc is missing path: x: missing value"],
    [{ op: "odd", path: "/a" }, "Unexpected kind: odd"],
    [null, "Unexpected kind: unknown"],
  ];
  for (const [operation, message] of refused)
    assert.throws(() => jsonPatch({ a: 1, l: [] }, [operation]), { reason: "PATCH_DOES_NOT_APPLY", message });
});

test("where upstream's JSON patch is laxer than the RFC, so is this", () => {
  const lax = [
    { op: "replace", path: "/new", value: 1 },
    { op: "test", path: "/absent", value: null },
    { op: "copy", from: "/absent", path: "/null" },
    { op: "add", path: "/l/-1", value: 3 },
    { op: "remove", path: "/l/-3" },
  ];
  assert.deepEqual(jsonPatch({ l: [1, 2] }, lax), { new: 1, null: null, l: [2, 3] });
});

test("decoding writes what Go's encoder would: unknown fields named, empty ones left out or zero", () => {
  const { value, unknown } = decode(
    {
      kind: "Pod",
      apiVersion: "v1",
      metadata: { name: "p", labels: {}, creationTimestamp: null, odd: 1 },
      spec: { containers: [{ name: "c", tty: false, resources: { limits: { memory: "1024Mi", cpu: 0.5 } }, x: 1 }] },
      status: { conditions: [{ type: "Ready", status: "True" }] },
    },
    "v1.Pod",
  );
  assert.deepEqual(unknown, ["metadata.odd", "spec.containers[0].x"].sort());
  assert.deepEqual(value, {
    kind: "Pod",
    apiVersion: "v1",
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", resources: { limits: { cpu: "500m", memory: "1Gi" } } }] },
    status: { conditions: [{ type: "Ready", status: "True", lastProbeTime: null, lastTransitionTime: null }] },
  });
  assert.throws(() => decode({ spec: { volumes: [{ name: "v", image: { reference: 5 } }] } }, "v1.Pod"), {
    message: /^json: cannot unmarshal number into Go struct field ImageVolumeSource.*image\.reference of type string$/,
  });
});

test("quantities keep their form and lose nothing", () => {
  const forms = {
    "1024Mi": "1Gi",
    "1500m": "1500m",
    "1000m": "1",
    "0.5": "500m",
    "1e3": "1e3",
    "1Ki": "1Ki",
    "0": "0",
    "100M": "100M",
    "1.5Gi": "1536Mi",
    "0.1n": "1n",
    "-5": "-5",
  };
  for (const [from, to] of Object.entries(forms)) assert.equal(canonicalQuantity(from), to, from);
  assert.equal(quantityValue("1.5Ki"), 1536);
  assert.equal(quantityMilli("250m"), 250);
  assert.throws(() => canonicalQuantity("10 apples"), { message: /^quantities must match the regular expression/ });
  assert.throws(() => canonicalQuantity("10mm"), { message: "unable to parse quantity's suffix" });
});

test("YAML is read as Kubernetes reads it", () => {
  assert.deepEqual(parseYaml("a: yes\nb: 0777\nc: '1'\nd: {e: [1, ~]}\n"), {
    a: true,
    b: 511,
    c: "1",
    d: { e: [1, null] },
  });
  assert.throws(() => parseYaml("a: [1"), { reason: "INVALID_YAML" });
});
