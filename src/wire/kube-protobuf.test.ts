import assert from "node:assert/strict";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { test } from "node:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { decodeKubeProtobuf } from "./kube-protobuf.ts";

type Part = readonly [number, Uint8Array | string | number];
/** A message of these fields: text and bytes are length-delimited, numbers varints. */
function message(...parts: readonly Part[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [field, value] of parts)
    if (typeof value === "number") writer.tag(field, WireType.Varint).int64(value);
    else if (typeof value === "string") writer.tag(field, WireType.LengthDelimited).string(value);
    else writer.tag(field, WireType.LengthDelimited).bytes(value);
  return writer.finish();
}
const object = (apiVersion: string, kind: string, raw: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from("k8s\0"), message([1, message([1, apiVersion], [2, kind])], [2, raw], [3, ""], [4, ""])]);

test("a Pod comes as the JSON it would have been", () => {
  const volume = message([1, "v"], [2, message([30, message([1, "quay.io/a/b:c"], [2, "Never"])])]);
  const env = message([1, "E"], [2, ""], [3, message([4, message([1, message([1, "s"])], [2, "k"], [3, 1])])]);
  const limits = message([1, message([1, "cpu"], [2, message([1, "100m"])])]);
  const probe = message([1, message([2, message([1, "/"], [2, message([1, 1], [2, 0], [3, "http"])])])], [2, 5]);
  const container = message([1, "c"], [2, "busybox"], [3, "sh"], [3, "-c"], [7, env], [8, limits], [10, probe]);
  const time = message([1, 1_795_431_915], [2, 0]);
  const metadata = message(
    [1, "p"],
    [8, time],
    [9, new Uint8Array()],
    [11, message([1, "a"], [2, "b"])],
    [11, message([1, "c"], [2, ""])],
  );
  const spec = message([1, volume], [2, container], [4, 30], [11, 0], [99, "unknown"]);
  assert.deepEqual(decodeKubeProtobuf(object("v1", "Pod", message([1, metadata], [2, spec]))), {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "p",
      creationTimestamp: "2026-11-23T11:05:15Z",
      deletionTimestamp: null,
      labels: { a: "b", c: "" },
    },
    spec: {
      volumes: [{ name: "v", image: { reference: "quay.io/a/b:c", pullPolicy: "Never" } }],
      containers: [
        {
          name: "c",
          image: "busybox",
          command: ["sh", "-c"],
          env: [{ name: "E", value: "", valueFrom: { secretKeyRef: { name: "s", key: "k", optional: true } } }],
          resources: { limits: { cpu: "100m" } },
          livenessProbe: { httpGet: { path: "/", port: "http" }, initialDelaySeconds: 5 },
        },
      ],
      terminationGracePeriodSeconds: 30,
      hostNetwork: false,
    },
  });
});

test("what kubectl asks about access, bytes of secrets, evictions and options of deletions are read", () => {
  const review = message([2, message([1, message([1, "default"], [2, "create"], [3, ""], [4, "*"], [5, "pods"])])]);
  const access = decodeKubeProtobuf(object("authorization.k8s.io/v1", "SelfSubjectAccessReview", review));
  assert.deepEqual(access["spec"], {
    resourceAttributes: { namespace: "default", verb: "create", group: "", version: "*", resource: "pods" },
  });
  const data = message([1, "k"], [2, Buffer.of(0, 255)]);
  assert.deepEqual(decodeKubeProtobuf(object("v1", "Secret", message([2, data], [3, "Opaque"])))["data"], {
    k: "AP8=",
  });
  const options = message([1, 0], [4, "Background"]);
  assert.deepEqual(decodeKubeProtobuf(object("apps/v1", "DeleteOptions", options)), {
    apiVersion: "apps/v1",
    kind: "DeleteOptions",
    gracePeriodSeconds: 0,
    propagationPolicy: "Background",
  });
  const eviction = object("policy/v1", "Eviction", message([1, message([1, "p"])], [2, options]));
  assert.deepEqual(decodeKubeProtobuf(eviction)["metadata"], { name: "p" });
});

test("bytes that are none of it fail in one way", () => {
  const wrong = [
    Buffer.from("{}"),
    object("v1", "Nothing", message()),
    object("v1", "Pod", Buffer.of(0xff)),
    object("v1", "Pod", message([1, 7])),
  ];
  for (const bytes of wrong)
    assert.throws(
      () => decodeKubeProtobuf(bytes),
      (error) => isFailure(error, "INVALID_PROTOBUF"),
    );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
      try {
        decodeKubeProtobuf(object("v1", "Pod", raw));
      } catch (error) {
        assert.ok(isFailure(error, "INVALID_PROTOBUF"));
      }
    }),
  );
});
