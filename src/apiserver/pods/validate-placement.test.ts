import { pod, table, type Row } from "./testing/table.ts";

const row = (title: string, spec: object, ...expected: string[]): Row => [title, pod(spec), expected];
const REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution";
const N = "spec.affinity.nodeAffinity";
const P = "spec.affinity.podAffinity";
const T = "spec.tolerations";
const D = "spec.topologySpreadConstraints";
const QUALIFIED =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

table([
  row(
    "nodes of no kind",
    { affinity: { nodeAffinity: { [REQUIRED]: { nodeSelectorTerms: [] } } } },
    `${N}.${REQUIRED}.nodeSelectorTerms: Required value: must have at least one node selector term`,
  ),
  row(
    "nodes by odd requirements",
    {
      affinity: {
        nodeAffinity: {
          [REQUIRED]: {
            nodeSelectorTerms: [
              {
                matchExpressions: [
                  { key: "a", operator: "In" },
                  { key: "a", operator: "Exists", values: ["b"] },
                  { key: "a", operator: "Gt", values: ["1", "2"] },
                  { key: "a", operator: "Like" },
                ],
                matchFields: [{ key: "metadata.uid", operator: "In", values: ["a", "b"] }],
              },
            ],
          },
          [PREFERRED]: [{ weight: 101, preference: {} }],
        },
      },
    },
    `${N}.${REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when \`operator\` is 'In' or 'NotIn'`,
    `${N}.${REQUIRED}.nodeSelectorTerms[0].matchExpressions[1].values: Forbidden: may not be specified when \`operator\` is 'Exists' or 'DoesNotExist'`,
    `${N}.${REQUIRED}.nodeSelectorTerms[0].matchExpressions[2].values: Required value: must be specified single value when \`operator\` is 'Lt' or 'Gt'`,
    `${N}.${REQUIRED}.nodeSelectorTerms[0].matchExpressions[3].operator: Invalid value: "Like": not a valid selector operator`,
    `${N}.${REQUIRED}.nodeSelectorTerms[0].matchFields[0].values: Required value: must be only one value when \`operator\` is 'In' or 'NotIn' for node field selector`,
    `${N}.${REQUIRED}.nodeSelectorTerms[0].matchFields[0].key: Invalid value: "metadata.uid": not a valid field selector key`,
    `${N}.${PREFERRED}[0].weight: Invalid value: 101: must be in the range 1-100`,
  ),
  row(
    "Pods beside others",
    {
      affinity: {
        podAffinity: {
          [REQUIRED]: [{ topologyKey: "", matchLabelKeys: ["a"], mismatchLabelKeys: ["a"], namespaces: ["A.b"] }],
          [PREFERRED]: [
            {
              weight: 0,
              podAffinityTerm: {
                topologyKey: "t",
                matchLabelKeys: ["a"],
                labelSelector: { matchLabels: { a: "b" }, matchExpressions: [{ key: "a", operator: "Exists" }] },
              },
            },
          ],
        },
      },
    },
    `${P}.${REQUIRED}[0].namespace: Invalid value: "A.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
    `${P}.${REQUIRED}[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set`,
    `${P}.${REQUIRED}[0].mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set`,
    `${P}.${REQUIRED}[0].matchLabelKeys[0]: Invalid value: "a": exists in both matchLabelKeys and mismatchLabelKeys`,
    `${P}.${REQUIRED}[0].topologyKey: Required value: can not be empty`,
    `${P}.${REQUIRED}[0].topologyKey: Invalid value: "": name part must be non-empty`,
    `${P}.${REQUIRED}[0].topologyKey: Invalid value: "": name part ${QUALIFIED}`,
    `${P}.${PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100`,
    `${P}.${PREFERRED}[0].podAffinityTerm[0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector`,
  ),
  row(
    "Pods spread in odd ways",
    {
      topologySpreadConstraints: [
        { maxSkew: 0, topologyKey: "", whenUnsatisfiable: "Maybe", minDomains: 0, nodeTaintsPolicy: "No" },
        { maxSkew: 1, topologyKey: "t", whenUnsatisfiable: "ScheduleAnyway", labelSelector: {} },
        { maxSkew: 1, topologyKey: "t", whenUnsatisfiable: "ScheduleAnyway", labelSelector: {} },
      ],
    },
    `${D}[0].maxSkew: Invalid value: 0: must be greater than zero`,
    `${D}[0].topologyKey: Required value: can not be empty`,
    `${D}[0].whenUnsatisfiable: Unsupported value: "Maybe": supported values: "DoNotSchedule", "ScheduleAnyway"`,
    `${D}[0].minDomains: Invalid value: 0: must be greater than zero`,
    `${D}[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not Maybe`,
    `${D}[0].nodeTaintsPolicy: Unsupported value: "No": supported values: "Honor", "Ignore"`,
    `${D}[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{t, ScheduleAnyway}"`,
  ),
  row(
    "tolerations",
    {
      tolerations: [
        { operator: "Equal" },
        { key: "a", operator: "Exists", value: "b", effect: "Odd" },
        { key: "a", operator: "Lt", value: "1" },
        { key: "a", operator: "Near", tolerationSeconds: 1 },
        { key: "a b", value: "c d" },
      ],
    },
    `${T}[0].operator: Invalid value: "Equal": operator must be Exists when \`key\` is empty, which means "match all values and all keys"`,
    `${T}[1].operator: Invalid value: "b": value must be empty when \`operator\` is 'Exists'`,
    `${T}[1].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
    `${T}[2].operator: Unsupported value: "Lt": supported values: "Equal", "Exists", "Lt", "Gt"`,
    `${T}[3].effect: Invalid value: "": effect must be 'NoExecute' when \`tolerationSeconds\` is set`,
    `${T}[3].operator: Unsupported value: "Near": supported values: "Equal", "Exists"`,
    `${T}[4].key: Invalid value: "a b": name part ${QUALIFIED}`,
    `${T}[4].operator: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
  ),
]);
