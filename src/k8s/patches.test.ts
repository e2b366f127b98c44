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

test("a strategic merge patch finds list items by their merge key", () => {
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
    metadata: { name: "p", labels: { a: "1", c: "3" }, finalizers: ["x/1", "y/1"] },
    spec: {
      containers: [
        {
          name: "one",
          image: "a:1",
          env: [
            { name: "A", value: "1" },
            { name: "B", value: "2" },
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
  assert.throws(() => strategicMerge(pod(), { spec: { containers: [{ image: "x" }] } }, "v1.Pod"), {
    message: "map: map[image:x] does not contain declared merge key: name",
  });
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
  assert.throws(() => jsonPatch({}, [{ op: "remove", path: "/x" }]), { reason: "PATCH_DOES_NOT_APPLY" });
  assert.throws(() => jsonPatch({}, [{ op: "replace", path: "/x/y", value: 1 }]), { reason: "PATCH_DOES_NOT_APPLY" });
  assert.throws(() => jsonPatch({ a: 1 }, [{ op: "test", path: "/a", value: 2 }]), {
    message: "testing value /a failed: test failed",
  });
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
  assert.throws(() => canonicalQuantity("10 apples"), { reason: "INVALID_QUANTITY" });
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
