import type { Pod } from "#k8s";
import { entriesOf, specOf } from "./pod.ts";
import { restartRulesOf } from "./restart.ts";

interface Newer {
  readonly resourceClaims?: readonly unknown[];
}

/** What a Pod asks for that this kubelet cannot give, and that would change what its containers may do; undefined: nothing. */
export function unsupported(pod: Pod): string | undefined {
  const spec = specOf(pod);
  const { resourceClaims } = spec as Newer;
  const refused = [
    ...(resourceClaims?.length ? ["resourceClaims"] : []),
    ...entriesOf(pod)
      .filter(({ container }) => container.volumeDevices?.length)
      .map(({ container }) => `volumeDevices of container ${container.name}`),
    ...entriesOf(pod)
      .filter(({ container }) => restartRulesOf(container).some(({ action }) => action === "RestartAllContainers"))
      .map(({ container }) => `restartPolicyRules with RestartAllContainers of container ${container.name}`),
    ...entriesOf(pod).flatMap(({ container }) =>
      Object.keys(container.resources?.limits ?? {})
        .filter((name) => !["cpu", "memory", "ephemeral-storage"].includes(name))
        .map((name) => `resource ${name} of container ${container.name}`),
    ),
  ];
  return refused.length === 0 ? undefined : `this node does not support ${refused.join(", ")}`;
}
