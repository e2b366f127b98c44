import { containersOf, qosClass, type KubeObject, type Pod, type PodStatus, type ServiceAccount } from "#k8s";
import { subdomainName } from "../meta.ts";
import { mountApiAccess, ROOT_CA } from "../pods/api-access.ts";
import { alwaysPullImages, setPriority, tolerateLostNodes } from "../pods/admission.ts";
import { MIRROR } from "../pods/annotations.ts";
import { podCells } from "../pods/cells.ts";
import { defaultPod, defaultPodSpec } from "../pods/defaults.ts";
import { dropAlphaFields, dropImageVolumes, keepGenerations, mergeLabelKeys } from "../pods/prepare.ts";
import { keepEphemeral, validateEphemeralUpdate, validatePodUpdate } from "../pods/update.ts";
import { validatePod } from "../pods/validate-spec.ts";
import { validateStatusUpdate } from "../pods/validate-status.ts";
import { validateTemplate } from "../pods/validate-template.ts";
import { podWarnings, templateWarnings } from "../pods/warnings.ts";
import { AGE, NAME, column } from "./columns.ts";
import { ALL_VERBS, type AnyObject, type Resource } from "./resource.ts";

/** Metadata that only an update of the whole Pod changes. */
const OF_THE_WHOLE = ["labels", "annotations", "finalizers", "ownerReferences"] as const;

export const pods: Resource = {
  group: "",
  version: "v1",
  resource: "pods",
  singular: "pod",
  kind: "Pod",
  type: "v1.Pod",
  shortNames: ["po"],
  categories: ["all"],
  namespaced: true,
  verbs: ALL_VERBS,
  storedAs: "pods",
  hasStatus: true,
  generations: true,
  returnsDeleted: true,
  nameErrors: subdomainName,
  default: (object, policy) => defaultPod(object as Pod, policy),
  prepareCreate(object, policy) {
    const pod = object as Pod;
    const status: PodStatus = { phase: "Pending", qosClass: qosClass(pod) };
    object["status"] = status;
    setPriority(pod);
    tolerateLostNodes(pod);
    if (policy.alwaysPullImages) alwaysPullImages(pod);
    if (!policy.imageVolume) dropImageVolumes(pod);
    if (pod.spec !== undefined) dropAlphaFields(pod.spec);
    mergeLabelKeys(pod);
    if ((pod.spec?.schedulingGates ?? []).length > 0)
      status.conditions = [
        {
          type: "PodScheduled",
          status: "False",
          reason: "SchedulingGated",
          message: "Scheduling is blocked due to non-empty scheduling gates",
        },
      ];
  },
  admit(object, find) {
    const { metadata, spec } = object as Pod;
    const isMirror = metadata?.annotations?.[MIRROR] !== undefined;
    if (spec === undefined || isMirror) return;
    const namespace = metadata?.namespace ?? "";
    const account = find("serviceaccounts", namespace, spec.serviceAccountName || "default") as
      ServiceAccount | undefined;
    // A server without TLS has no authority, and so nothing that a client in a Pod could trust.
    if (find("configmaps", namespace, ROOT_CA) !== undefined) mountApiAccess(object as Pod, account);
    if ((spec.imagePullSecrets ?? []).length > 0) return;
    const { imagePullSecrets = [] } = account ?? {};
    if (imagePullSecrets.length > 0) spec.imagePullSecrets = imagePullSecrets.map(({ name }) => ({ name: name ?? "" }));
  },
  prepareUpdate(object, before, policy) {
    const pod = object as Pod;
    const old = before as Pod;
    object["status"] = old.status;
    const used = (old.spec?.volumes ?? []).some((volume) => volume.image !== undefined);
    if (!policy.imageVolume && !used) dropImageVolumes(pod);
    if (pod.spec !== undefined && old.spec !== undefined) {
      if (old.spec.priority !== undefined) pod.spec.priority ??= old.spec.priority;
      if (old.spec.preemptionPolicy !== undefined) pod.spec.preemptionPolicy ??= old.spec.preemptionPolicy;
      tolerateLostNodes(pod);
      dropAlphaFields(pod.spec);
    }
    const images = (of: Pod): (string | undefined)[] => containersOf(of).map(({ container }) => container.image);
    const known = new Set(images(old));
    if (policy.alwaysPullImages && images(pod).some((image) => !known.has(image))) alwaysPullImages(pod);
  },
  prepareStatus(object, before) {
    const pod = object as Pod;
    const old = before as Pod;
    if (old.spec !== undefined) pod.spec = old.spec;
    const status: PodStatus = { ...pod.status };
    if (!status.qosClass && old.status?.qosClass) status.qosClass = old.status.qosClass;
    keepGenerations(status, old.status ?? {});
    object["status"] = status;
    if (old.metadata?.ownerReferences === undefined) delete object.metadata.ownerReferences;
    else object.metadata.ownerReferences = old.metadata.ownerReferences;
  },
  prepareEphemeral(object, before) {
    object["spec"] = keepEphemeral(object as Pod, before as Pod);
    object["status"] = before["status"];
    for (const field of OF_THE_WHOLE) {
      delete object.metadata[field];
      if (before.metadata[field] !== undefined) Object.assign(object.metadata, { [field]: before.metadata[field] });
    }
  },
  validateEphemeral: (object, before, errors, policy) =>
    validateEphemeralUpdate(object as Pod, before as Pod, policy.podRules, errors),
  validate: (object, errors, policy) => validatePod(object as Pod, policy.podRules, errors),
  validateUpdate: (object, before, errors, policy) =>
    validatePodUpdate(object as Pod, before as Pod, policy.podRules, errors),
  validateStatus: (object, before, errors) => validateStatusUpdate(object as Pod, before as Pod, errors),
  warnings: (object) => podWarnings(object as Pod),
  fields(object) {
    const { spec, status } = object as Pod;
    return {
      "spec.nodeName": spec?.nodeName ?? "",
      "spec.host": spec?.nodeName ?? "",
      "spec.restartPolicy": spec?.restartPolicy ?? "",
      "spec.schedulerName": spec?.schedulerName ?? "",
      "spec.serviceAccountName": spec?.serviceAccountName ?? "",
      "spec.hostNetwork": String(spec?.hostNetwork ?? false),
      "status.phase": status?.phase ?? "",
      "status.podIP": status?.podIP ?? "",
      // Upstream lets it be asked for, and has no value for it.
      "status.podIPs": "",
      "status.nominatedNodeName": status?.nominatedNodeName ?? "",
    };
  },
  columns: [
    NAME,
    column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    column("Status", "The aggregate status of the containers in this pod."),
    column(
      "Restarts",
      "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    column(
      "IP",
      "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
      1,
    ),
    column(
      "Node",
      "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
      1,
    ),
    column("Nominated Node", "The node a preempting pod is meant for.", 1),
    column("Readiness Gates", "If specified, all readiness gates will be evaluated for pod readiness.", 1),
  ],
  cells: (object, now) => podCells(object as Pod, now),
};

export const podTemplates: Resource = {
  group: "",
  version: "v1",
  resource: "podtemplates",
  singular: "podtemplate",
  kind: "PodTemplate",
  type: "v1.PodTemplate",
  namespaced: true,
  verbs: ALL_VERBS,
  storedAs: "podtemplates",
  hasStatus: false,
  generations: true,
  returnsDeleted: true,
  nameErrors: subdomainName,
  default(object, policy) {
    const { template } = object as AnyObject & { template?: Pod };
    if (template?.spec !== undefined) defaultPodSpec(template.spec, policy);
  },
  validate(object, errors, policy) {
    const { template } = object as AnyObject & { template?: Pod };
    validateTemplate(template ?? {}, "template", { ...policy.podRules, isPod: false }, errors);
  },
  warnings: (object) => templateWarnings((object as AnyObject & { template?: Pod }).template ?? {}, "template"),
  columns: [
    NAME,
    column("Containers", "Names of each container in the template."),
    column("Images", "Images referenced by each container in the template."),
    column("Pod Labels", "The labels for the pod template."),
  ],
  cells(object: KubeObject) {
    const template = (object as AnyObject & { template?: Pod }).template;
    const containers = template?.spec?.containers ?? [];
    const labels = Object.entries(template?.metadata?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
    return [
      object.metadata?.name ?? "",
      containers.map((container) => container.name).join(","),
      containers.map((container) => container.image).join(","),
      labels.length === 0 ? "<none>" : labels.join(","),
    ];
  },
};
