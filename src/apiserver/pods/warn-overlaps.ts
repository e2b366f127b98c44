import type { Volume } from "#k8s";

/** A file in a volume, and where its contents come from. */
interface File {
  readonly path: string;
  readonly source: string;
}

type Items = readonly { readonly path: string }[] | undefined;
type Projection = NonNullable<NonNullable<Volume["projected"]>["sources"]>[number];

const filesOf = (items: Items, source: string): File[] => (items ?? []).map(({ path }) => ({ path, source }));
const quoted = (name: string | undefined): string => JSON.stringify(name ?? "");

/** Files of one volume that lie at the same path, or one below another. */
export function overlappingFiles(volumes: readonly Volume[]): string[] {
  return volumes.flatMap(({ name, configMap, secret, downwardAPI, projected }) => [
    ...overlaps(filesOf(configMap?.items, ""), name, `ConfigMap ${quoted(configMap?.name)}`),
    ...overlaps(filesOf(secret?.items, ""), name, `Secret ${quoted(secret?.secretName)}`),
    ...overlaps(filesOf(downwardAPI?.items, ""), name, "DownwardAPI"),
    ...(projected?.sources ?? [])
      .filter((source) => Object.keys(source).length === 0)
      .map(() => `volume ${quoted(name)} (Projected) has no sources provided`),
    ...overlaps((projected?.sources ?? []).flatMap(filesOfSource), name, "Projected"),
  ]);
}

function filesOfSource(source: Projection): File[] {
  const { configMap, secret, downwardAPI, serviceAccountToken } = source;
  if (configMap?.items !== undefined) return filesOf(configMap.items, `ConfigMap ${quoted(configMap.name)}`);
  if (secret?.items !== undefined) return filesOf(secret.items, `Secret ${quoted(secret.name)}`);
  if (downwardAPI?.items !== undefined) return filesOf(downwardAPI.items, "DownwardAPI");
  return serviceAccountToken === undefined ? [] : filesOf([serviceAccountToken], "ServiceAccountToken");
}

function overlaps(given: readonly File[], volume: string, what: string): string[] {
  const files = given.map(({ path, source }) => ({ path: path.replace(/\/+$/, ""), source }));
  const text = ({ path, source }: File): string => (source === "" ? quoted(path) : `${quoted(path)} (${source})`);
  return files.flatMap((file, i) =>
    files
      .slice(0, i)
      .filter((other) => touch(file.path, other.path))
      .map((other) => `volume ${quoted(volume)} (${what}): overlapping paths: ${text(file)} with ${text(other)}`),
  );
}

function touch(one: string, other: string): boolean {
  if (one === "" || other === "") return false;
  return `${one}/`.startsWith(`${other}/`) || `${other}/`.startsWith(`${one}/`);
}
