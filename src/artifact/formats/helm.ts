import type { Descriptor, Manifest } from "#oci";
import { digestPath } from "../file-path.ts";
import { parseConfig } from "../parse-config.ts";
import type { ArtifactFormat } from "../part.ts";
import { partOf } from "./generic.ts";

const CONFIG = "application/vnd.cncf.helm.config.v1+json";
const CHARTS: readonly string[] = ["application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"];
const PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/**
 * Helm charts: the chart's archive, whose one directory is named like the chart, and beside it the provenance file as `helm pull
 * --prov` names it. The layers come in the order of their digests, so only their types tell them apart.
 */
export const helm: ArtifactFormat = {
  name: "helm",
  claims: ({ config }) => config.mediaType === CONFIG,
  plan: (manifest, config) =>
    manifest.layers.flatMap((blob) => {
      if (CHARTS.includes(blob.mediaType)) return [{ kind: "sniff", blob, path: digestPath(blob) }];
      if (blob.mediaType === PROVENANCE) return [{ kind: "file", blob, path: provenancePath(manifest, config, blob) }];
      return partOf(blob);
    }),
};

function provenancePath(manifest: Manifest, config: Uint8Array, blob: Descriptor): string {
  const { name, version } = parseConfig(manifest, config);
  const isPlain = (text: unknown): text is string => typeof text === "string" && /^[\w.+-]{1,100}$/.test(text);
  return isPlain(name) && isPlain(version) ? `${name}-${version}.tgz.prov` : `${digestPath(blob)}.prov`;
}
