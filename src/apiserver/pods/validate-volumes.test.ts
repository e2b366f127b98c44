import { pod, table, type Row } from "./testing/table.ts";

const V = "spec.volumes[0]";
const MORE = "Forbidden: may not specify more than 1 volume type";
const MODE = "must be a number between 0 and 0777 (octal), both inclusive";
const volume = (source: object, name = "v"): object => ({ volumes: [{ name, ...source }] });
const row = (title: string, source: object, ...expected: string[]): Row => [title, pod(volume(source)), expected];
const image = { reference: "a:1" };

table([
  row("an image", { image }),
  row("an image without a reference", { image: {} }, `${V}.image.reference: Required value`),
  row("an image whose reference is blank", { image: { reference: " " } }),
  row("an image that cannot be a reference", { image: { reference: "A::/b" } }),
  row(
    "an image with an odd policy and no reference",
    { image: { reference: "", pullPolicy: "always" } },
    `${V}.image.reference: Required value`,
    `${V}.image.pullPolicy: Unsupported value: "always": supported values: "Always", "IfNotPresent", "Never"`,
  ),
  row("an image and an empty directory", { image, emptyDir: {} }, `${V}.image: ${MORE}`),
  row("an image that is wrong and second", { image: {}, emptyDir: {} }, `${V}.image: ${MORE}`),
  row(
    "an image and a path of the host",
    { image, hostPath: { path: "" } },
    `${V}.hostPath.path: Required value`,
    `${V}.image: ${MORE}`,
  ),
  row(
    "an image and a claim to be made",
    { image, ephemeral: {} },
    `${V}.ephemeral.volumeClaimTemplate: Required value`,
    `${V}.image: ${MORE}`,
  ),
  row("three sources", { image, csi: { driver: "d" }, emptyDir: {} }, `${V}.csi: ${MORE}`, `${V}.image: ${MORE}`),
  ["an image without a name", pod(volume({ image }, "")), [`${V}.name: Required value`]],
  ["a name with dots", pod(volume({ image }, "a.b")), [`${V}.name: Invalid value: "a.b": must not contain dots`]],
  [
    "a name that is too long",
    pod(volume({ image }, "a".repeat(64))),
    [`${V}.name: Invalid value: "${"a".repeat(64)}": must be no more than 63 characters`],
  ],
  [
    "one name twice",
    pod({
      volumes: [
        { name: "v", image },
        { name: "v", image },
        { name: "v", image: {} },
      ],
    }),
    [
      'spec.volumes[1].name: Duplicate value: "v"',
      "spec.volumes[2].image.reference: Required value",
      'spec.volumes[2].name: Duplicate value: "v"',
    ],
  ],
  [
    "a name whose first bearer is wrong",
    pod({
      volumes: [
        { name: "v", image: {} },
        { name: "v", image },
      ],
    }),
    [`${V}.image.reference: Required value`],
  ],
  row(
    "an empty directory of less than nothing",
    { emptyDir: { sizeLimit: "-1" } },
    `${V}.emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity`,
  ),
  row(
    "a path of the host that steps back",
    { hostPath: { path: "/a/../b" } },
    `${V}.hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
  ),
  row(
    "an odd path of the host",
    { hostPath: { path: "/a", type: "Pipe" } },
    `${V}.hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"`,
  ),
  row(
    "a secret's keys",
    {
      secret: {
        defaultMode: 512,
        items: [
          { key: "", path: "", mode: -1 },
          { key: "k", path: "/a" },
          { key: "k", path: "..a" },
        ],
      },
    },
    `${V}.secret.secretName: Required value`,
    `${V}.secret.defaultMode: Invalid value: 512: ${MODE}`,
    `${V}.secret.items[0].key: Required value`,
    `${V}.secret.items[0].path: Required value`,
    `${V}.secret.items[0].mode: Invalid value: -1: ${MODE}`,
    `${V}.secret.items[1].path: Invalid value: "/a": must be a relative path`,
    `${V}.secret.items[2].path: Invalid value: "..a": must not start with '..'`,
  ),
  row("a ConfigMap without a name", { configMap: {} }, `${V}.configMap.name: Required value`),
  row(
    "files of the downward API",
    {
      downwardAPI: {
        items: [
          { path: "a" },
          { path: "b", fieldRef: { fieldPath: "spec.nodeName" } },
          { path: "c", resourceFieldRef: { resource: "limits.cpu", divisor: "2" } },
        ],
      },
    },
    `${V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required`,
    `${V}.downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"`,
    `${V}.downwardAPI.resourceFieldRef.containerName: Required value`,
    `${V}.downwardAPI.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource`,
  ),
  row(
    "a projection",
    {
      projected: {
        sources: [
          { secret: { items: [{ key: "k", path: "a" }] } },
          { configMap: { name: "m", items: [{ key: "k", path: "a" }] } },
          { serviceAccountToken: { path: "", expirationSeconds: 1 } },
          { secret: { name: "s" }, configMap: { name: "m" } },
        ],
      },
    },
    `${V}.projected.sources[0].secret.name: Required value`,
    `${V}.projected: Invalid value: "m": conflicting duplicate paths`,
    `${V}.projected.sources[2].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes`,
    `${V}.projected.path: Required value`,
    `${V}.projected.sources[3]: Forbidden: may not specify more than 1 volume type per source`,
  ),
  row(
    "NFS at no place",
    { nfs: {} },
    `${V}.nfs.server: Required value`,
    `${V}.nfs.path: Required value`,
    `${V}.nfs.path: Invalid value: "": must be an absolute path`,
  ),
  row("a driver of nothing", { csi: {} }, `${V}.csi.driver: Required value`),
  row(
    "a disk of a cloud",
    { gcePersistentDisk: { partition: 256 } },
    `${V}.persistentDisk.pdName: Required value`,
    `${V}.persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive`,
  ),
  row(
    "two that upstream misspells",
    { cephfs: { monitors: ["m"] }, downwardAPI: {}, emptyDir: {} },
    `${V}.cephFS: ${MORE}`,
    `${V}.downwarAPI: ${MORE}`,
  ),
  row(
    "a reserved option",
    { flexVolume: { driver: "d", options: { "a.kubernetes.io/b": "c" } } },
    `${V}.flexVolume.options[a.kubernetes.io/b]: Invalid value: "a.kubernetes.io/b": kubernetes.io and k8s.io namespaces are reserved`,
  ),
  [
    "a claim that is to be made, by its name",
    pod({
      volumes: [
        { name: "e", ephemeral: { volumeClaimTemplate: { spec: { accessModes: ["Often"], resources: {} } } } },
        { name: "c", persistentVolumeClaim: { claimName: "p-e" } },
      ],
    }),
    [
      `${V}.ephemeral.volumeClaimTemplate.spec.accessModes: Unsupported value: "Often": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"`,
      `${V}.ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value`,
      'spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-e": must not reference a PVC that gets created for an ephemeral volume',
    ],
  ],
]);
