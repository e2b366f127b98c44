import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, structOf, type Pod, type Type } from "#k8s";
import { defaultPod } from "./defaults.ts";
import { collect, pod, RULES, table, type Row } from "./testing/table.ts";
import { validateTemplate } from "./validate-template.ts";
import { validatePod } from "./validate-spec.ts";
import { podWarnings } from "./warnings.ts";

const row = (title: string, spec: object, ...expected: string[]): Row => [title, pod(spec), expected];
const SUBDOMAIN =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const UNDERSCORED =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

table([
  row("no containers", { containers: [] }, "spec.containers: Required value"),
  row(
    "what is wrong comes in upstream's order",
    {
      containers: [],
      volumes: [{ name: "v", image: {} }],
      restartPolicy: "Maybe",
      dnsPolicy: "Mine",
      hostname: "A",
      os: { name: "plan9" },
    },
    "spec.volumes[0].image.reference: Required value",
    "spec.containers: Required value",
    'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"',
    'spec.dnsPolicy: Unsupported value: "Mine": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"',
    `spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
    'spec.os: Unsupported value: "plan9": supported values: "linux", "windows"',
  ),
  row(
    "names of other things",
    { serviceAccountName: "A", nodeName: "B", priorityClassName: "C", runtimeClassName: "", preemptionPolicy: "Odd" },
    `spec.serviceAccountName: Invalid value: "A": ${SUBDOMAIN}`,
    `spec.nodeName: Invalid value: "B": ${SUBDOMAIN}`,
    `spec.priorityClassName: Invalid value: "C": ${SUBDOMAIN}`,
    `spec.runtimeClassName: Invalid value: "": ${SUBDOMAIN}`,
    'spec.preemptionPolicy: Unsupported value: "Odd": supported values: "PreemptLowerPriority", "Never"',
  ),
  row(
    "a deadline of nothing",
    { activeDeadlineSeconds: 0 },
    "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
  ),
  row(
    "DNS",
    {
      dnsConfig: {
        nameservers: ["1.2.3.4", "x", "01.2.3.4", "::ffff:1.2.3.4"],
        searches: [".", "a_b.", "A"],
        options: [{}],
      },
    },
    'spec.dnsConfig.nameservers: Invalid value: ["1.2.3.4","x","01.2.3.4","::ffff:1.2.3.4"]: must not have more than 3 nameservers',
    `spec.dnsConfig.nameservers[1]: Invalid value: "x": ${IP}`,
    'spec.dnsConfig.nameservers[2]: Invalid value: "01.2.3.4": must not have leading 0s',
    'spec.dnsConfig.nameservers[3]: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address',
    `spec.dnsConfig.searches[2]: Invalid value: "A": ${UNDERSCORED}`,
    "spec.dnsConfig.options[0]: Required value: must not be empty",
  ),
  row(
    "DNS of nobody",
    { dnsPolicy: "None" },
    "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
  ),
  row(
    "DNS of no server",
    { dnsPolicy: "None", dnsConfig: {} },
    "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
  ),
  row(
    "aliases of hosts",
    { hostAliases: [{ ip: "", hostnames: ["A"] }] },
    `spec.hostAliases[0].ip: Invalid value: "": ${IP}`,
    `spec.hostAliases[0].hostnames[0]: Invalid value: "A": ${SUBDOMAIN}`,
  ),
  row(
    "gates",
    { nodeName: "n", schedulingGates: [{ name: "a" }, { name: "a" }], readinessGates: [{ conditionType: "a/b/c" }] },
    "spec.readinessGates[0].conditionType: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
    'spec.schedulingGates[1]: Duplicate value: "a"',
    "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
  ),
  row(
    "users of its own and namespaces of the host",
    { hostUsers: false, hostNetwork: true, hostPID: true, hostIPC: true },
    "spec.hostNetwork: Forbidden: when `hostUsers` is false",
    "spec.HostPID: Forbidden: when `hostUsers` is false",
    "spec.HostIPC: Forbidden: when `hostUsers` is false",
  ),
  row(
    "another host name",
    { hostnameOverride: "A", setHostnameAsFQDN: true, hostNetwork: true },
    "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
    "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
    `spec.hostnameOverride: Invalid value: "A": ${SUBDOMAIN}`,
  ),
]);

test("a template may leave open what a Pod may not, and has no ephemeral containers", () => {
  const spec = { containers: [{ name: "c", image: " b" }], volumes: [{ name: "v", image: {} }], hostNetwork: true };
  const template = pod({ ...spec, ephemeralContainers: [{ name: "e", image: "b" }] }, {}, { labels: { "a b": "c" } });
  const found = collect((errors) => validateTemplate(template, "template", { ...RULES, isPod: false }, errors));
  assert.deepEqual(
    found.map((line) => line.replace(/ must consist.*/, "")),
    [
      'template.labels: Invalid value: "a b": name part',
      "template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
    ],
  );
});

/** A value of a type with everything in it, and all of it empty. */
function hollow(type: Type, depth: number): unknown {
  switch (type.kind) {
    case "struct":
      if (depth > 12) return {};
      return Object.fromEntries([...structOf(type.name)].map(([key, field]) => [key, hollow(field.type, depth + 1)]));
    case "pointer":
      return hollow(type.of, depth);
    case "list":
      return [hollow(type.of, depth + 1)];
    case "map":
      return { a: hollow(type.of, depth + 1) };
    case "string":
    case "bytes":
      return "";
    case "bool":
      return true;
    case "quantity":
      return "0";
    case "time":
    case "microtime":
      return null;
    case "int":
    case "float":
    case "intstr":
    case "any":
    default:
      return 0;
  }
}

test("a Pod with every field there is, all of them empty, is judged and warned of", () => {
  const given = { metadata: { name: "p" }, spec: hollow({ kind: "struct", name: "v1.PodSpec" }, 0) };
  const made = decode(given, "v1.Pod").value as Pod;
  defaultPod(made, { imageVolume: true });
  const found = collect((errors) => validatePod(made, RULES, errors));
  assert.ok(found.length > 100, `${found.length}`);
  assert.ok(podWarnings(made).length > 10);
});
