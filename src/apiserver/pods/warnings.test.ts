import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "#k8s";
import { pod } from "./testing/table.ts";
import { podWarnings, templateWarnings } from "./warnings.ts";

const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";
const image = { name: "i", image: { reference: "a:1" } };

const rows: readonly (readonly [title: string, pod: Pod, expected: readonly string[]])[] = [
  ["nothing", pod({ volumes: [image] }), []],
  [
    "what the node cannot do",
    pod({ volumes: [{ name: "d", persistentVolumeClaim: { claimName: "x" } }, image], os: { name: "windows" } }),
    [
      "spec.volumes[0].persistentVolumeClaim: this node cannot mount such a volume; the Pod will not start",
      "spec.os.name: this node runs Linux containers only",
    ],
  ],
  [
    "a name that is no host's",
    pod({}, {}, { name: "a.b" }),
    [
      "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
    ],
  ],
  [
    "old labels of nodes, and selectors of nothing",
    pod({
      nodeSelector: { "beta.kubernetes.io/os": "linux" },
      affinity: {
        nodeAffinity: {
          [REQUIRED]: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: "beta.kubernetes.io/arch", operator: "Exists" }] }],
          },
        },
        podAntiAffinity: { [REQUIRED]: [{ topologyKey: "t" }] },
      },
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "t", whenUnsatisfiable: "DoNotSchedule" }],
    }),
    [
      'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
      `spec.affinity.nodeAffinity.${REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead`,
      "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
      `spec.affinity.podAntiAffinity.${REQUIRED}[0].labelSelector: a null labelSelector results in matching no pod`,
    ],
  ],
  [
    "files in one another's place",
    pod({
      volumes: [
        {
          name: "m",
          configMap: {
            name: "x",
            items: [
              { key: "a", path: "p" },
              { key: "b", path: "p/q" },
            ],
          },
        },
        {
          name: "p",
          projected: {
            sources: [
              {},
              { secret: { name: "s", items: [{ key: "a", path: "t/" }] } },
              { serviceAccountToken: { path: "t" } },
            ],
          },
        },
      ],
    }),
    [
      'volume "m" (ConfigMap "x"): overlapping paths: "p/q" with "p"',
      'volume "p" (Projected) has no sources provided',
      'volume "p" (Projected): overlapping paths: "t" (ServiceAccountToken) with "t" (Secret "s")',
    ],
  ],
  [
    "things twice, and in parts",
    pod(
      { imagePullSecrets: [{ name: "s" }, { name: "s" }, {}], hostAliases: [{ ip: "1.2.3.4" }, { ip: "1.2.3.4" }] },
      {
        env: [
          { name: "A", value: "1" },
          { name: "A", value: "2" },
          { name: "A", value: "$(A)3" },
        ],
        resources: { limits: { memory: "500m" } },
      },
    ),
    [
      'spec.hostAliases[1].ip: duplicate ip "1.2.3.4"',
      'spec.imagePullSecrets[1].name: duplicate name "s"',
      'spec.imagePullSecrets[2].name: invalid empty name ""',
      'spec.containers[0].resources.limits[memory]: fractional byte value "500m" is invalid, must be an integer',
      'spec.containers[0].resources.requests[memory]: fractional byte value "500m" is invalid, must be an integer',
      'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
    ],
  ],
  [
    "ports of one another",
    pod({
      containers: [
        {
          name: "a",
          image: "b",
          ports: [
            { containerPort: 80, name: "w", hostIP: "1.1.1.1" },
            { containerPort: 81, hostPort: 81 },
          ],
        },
        {
          name: "b",
          image: "b",
          ports: [
            { containerPort: 80, name: "w", hostPort: 80 },
            { containerPort: 81, hostPort: 81, hostIP: "1.1.1.1" },
          ],
        },
      ],
    }),
    [
      "spec.containers[0].ports[0]: hostIP set without hostPort: {Name:w HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.1.1.1}",
      "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
      "spec.containers[1].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[1]",
      'spec.containers[1].ports[0]: duplicate port name "w" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]',
    ],
  ],
  [
    "an end before the beginning, and an address in another form",
    pod({ terminationGracePeriodSeconds: -1, dnsConfig: { nameservers: ["2001:DB8::0"] } }),
    [
      "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
      'spec.dnsConfig.nameservers[0]: IPv6 address "2001:DB8::0" should be in RFC 5952 canonical format ("2001:db8::")',
    ],
  ],
];
for (const [title, object, expected] of rows)
  test(`warning: ${title}`, () => assert.deepEqual(podWarnings(object), expected));

test("a template's warnings name their place in it", () => {
  const annotations = { "container.apparmor.security.beta.kubernetes.io/c": "unconfined" };
  assert.deepEqual(
    templateWarnings(pod({ volumes: [{ name: "g", gitRepo: { repository: "r" } }] }, {}, { annotations }), "template"),
    [
      "template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
      'template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the "appArmorProfile" field instead',
    ],
  );
});
