import assert from "node:assert/strict";
import { test } from "node:test";
import type { Event, Namespace, Node, Secret } from "#k8s";
import { FieldErrors } from "../field-errors.ts";
import { leases, namespaces } from "./cluster.ts";
import { configMaps, secrets } from "./config.ts";
import { validateEvent, validateEventUpdate, validateNewEvent } from "./event-rules.ts";
import { validateNode, validateNodeUpdate } from "./node-rules.ts";
import type { AnyObject } from "./resource.ts";

function collect(check: (errors: FieldErrors) => void): string[] {
  const errors = new FieldErrors();
  check(errors);
  return errors.causes.map(({ field, message }) => `${field}: ${message}`);
}

const event = (given: object): Event => ({
  metadata: { name: "e", namespace: "a" },
  involvedObject: { namespace: "a" },
  ...given,
});

test("an event is in the namespace of what it is about", () => {
  const wrong = (given: object): string[] =>
    collect((errors) => validateEvent(event(given), "reportingComponent", errors));
  assert.deepEqual(wrong({}), []);
  assert.deepEqual(wrong({ involvedObject: { namespace: "b" } }), [
    'involvedObject.namespace: Invalid value: "b": does not match event.namespace',
  ]);
  assert.deepEqual(wrong({ involvedObject: {} }), [
    'involvedObject.namespace: Invalid value: "": does not match event.namespace',
  ]);
  assert.deepEqual(wrong({ involvedObject: {}, metadata: { name: "e", namespace: "default" } }), []);
});

test("an event with a time says who reports what", () => {
  const given = event({
    eventTime: "2026-01-01T00:00:00.000000Z",
    reason: "r".repeat(129),
    type: "Odd",
    count: 1,
    series: {},
  });
  const found = collect((errors) => {
    validateEvent(given, "reportingController", errors);
    validateNewEvent(given, errors);
  });
  assert.deepEqual(
    found.map((line) => line.replace(/name part must consist.*/, "…")),
    [
      "reportingController: Required value",
      'reportingController: Invalid value: "": name part must be non-empty',
      'reportingController: Invalid value: "": …',
      "reportingInstance: Required value",
      "action: Required value",
      'reason: Invalid value: "": can have at most 128 characters',
      'series.count: Invalid value: "": should be at least 2',
      "series.lastObservedTime: Required value",
      'type: Invalid value: "": has invalid value: Odd',
      'count: Invalid value: "": needs to be unset',
    ],
  );
  assert.deepEqual(
    collect((errors) => validateEventUpdate(event({ reason: "b" }), event({ reason: "a" }), errors)),
    Array<string>(2).fill('reason: Invalid value: "b": field is immutable'),
  );
});

const node = (spec: object, status: object = {}): Node => ({ spec, status });

test("a node's taints and resources", () => {
  const taint = { key: "a", effect: "NoSchedule" };
  const given = node(
    { taints: [taint, taint, { key: "a", value: "b c", effect: "Odd" }] },
    { capacity: { cpu: "-1", pods: "1500m" } },
  );
  assert.deepEqual(
    collect((errors) => validateNode(given, errors)).map((line) => line.replace(/a valid label must be.*/, "…")),
    [
      'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair',
      'metadata.taints[2].value: Invalid value: "b c": …',
      'metadata.taints[2].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
      'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
      'status.capacity.pods: Invalid value: "1500m": must be an integer',
    ],
  );
});

test("what names a node's machine is given once", () => {
  const before = node({ podCIDRs: ["10.0.0.0/24"], providerID: "a" });
  const address = { type: "Hostname", address: "a" };
  const next = node({ podCIDRs: ["10.0.1.0/24"], providerID: "b" }, { addresses: [address, address] });
  assert.deepEqual(
    collect((errors) => validateNodeUpdate(next, before, errors)),
    [
      'status.addresses[1]: Duplicate value: {"Type":"Hostname","Address":"a"}',
      'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
      'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ],
  );
  assert.deepEqual(
    collect((errors) => validateNodeUpdate(before, node({}), errors)),
    [],
  );
});

test("a secret's credentials can be read", () => {
  const wrong = (text: string): string[] => {
    const data = { ".dockerconfigjson": Buffer.from(text).toString("base64") };
    const secret: Secret = { type: "kubernetes.io/dockerconfigjson", data };
    return collect((errors) => secrets.validate?.(secret as unknown as AnyObject, errors, undefined as never));
  };
  const why = (words: string): string[] => [
    `data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": ${words}`,
  ];
  assert.deepEqual(wrong("{}"), []);
  assert.deepEqual(wrong(""), why("unexpected end of JSON input"));
  assert.deepEqual(wrong("x"), why("invalid character 'x' looking for beginning of value"));
  assert.deepEqual(wrong("[]"), why("json: cannot unmarshal array into Go value of type map[string]interface {}"));
});

test("keys, sizes and what is fixed in a ConfigMap", () => {
  const wrong = (map: object): string[] =>
    collect((errors) => configMaps.validate?.(map as AnyObject, errors, undefined as never));
  assert.deepEqual(wrong({ data: { "..": "", a: "" }, binaryData: { a: "" } }), [
    "data[..]: Invalid value: \"..\": must not be '..'",
    'data[a]: Invalid value: "a": duplicate of key present in binaryData',
  ]);
  assert.deepEqual(wrong({ data: { a: "x".repeat(1024 * 1024 + 1) } }), [
    ": Too long: may not be more than 1048576 bytes",
  ]);
  const before = { data: { a: "1" }, immutable: true };
  assert.deepEqual(
    collect((errors) =>
      configMaps.validateUpdate?.(
        { data: {} } as unknown as AnyObject,
        before as unknown as AnyObject,
        errors,
        undefined as never,
      ),
    ),
    ["immutable", "data"].map((field) => `${field}: Forbidden: field is immutable when \`immutable\` is set`),
  );
});

test("a namespace's phase goes with its end, and a lease's holder with its strategy", () => {
  const namespace: Namespace = { metadata: { name: "a" }, status: { phase: "Terminating" } };
  const given = namespace as unknown as AnyObject;
  assert.deepEqual(
    collect((errors) => namespaces.validateStatus?.(given, given, errors)),
    ["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"],
  );
  const lease = {
    spec: { leaseDurationSeconds: 0, leaseTransitions: -1, preferredHolder: "a" },
  } as unknown as AnyObject;
  assert.deepEqual(
    collect((errors) => leases.validate?.(lease, errors, undefined as never)),
    [
      "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
      "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
      "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
    ],
  );
});
