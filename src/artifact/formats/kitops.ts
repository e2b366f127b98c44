import { Failure } from "#base";
import type { Descriptor, Manifest } from "#oci";
import { digestPath, modelPath, namedPath, safePath } from "../file-path.ts";
import { parseConfig } from "../parse-config.ts";
import type { ArtifactFormat, Part } from "../part.ts";
import { partOf } from "./generic.ts";
import { rawPart } from "./modelpack.ts";

const CONFIG = "application/vnd.kitops.modelkit.config.v1+json";
const LAYER = /^application\/vnd\.kitops\.modelkit\.([a-z]+)\.v1\.(raw|tar)(\+gzip|\+zstd)?$/;
const SUBTYPE = "ml.kitops.modelkit.layer-subtype";
/** A reference to another ModelKit, as Kit tells it from a path: a registry or a tag, and nothing that looks like a file. */
const REFERENCE = /^(?:[a-z0-9.-]+(?::\d+)?\/)?[a-z0-9._/-]+(?::[\w.-]+|@sha256:[0-9a-f]{64})$/i;

/** One place where the Kitfile speaks of a layer. */
interface Mention {
  readonly path: string | undefined;
  /** Of the layer, in kits since 0.5; before, only the order says which layer is meant. */
  readonly digest: string | undefined;
}

/**
 * KitOps ModelKits. The config is the Kitfile, and JSON is YAML: it becomes the file `Kitfile`, as `kit unpack` makes one. A raw
 * layer is the file that its annotation or the Kitfile names. The names in a tar count from the root; in kits of the days when
 * the Kitfile gave no digests they count from the directory of the Kitfile's path, and the order of the layers says whose.
 */
export const kitops: ArtifactFormat = {
  name: "kitops",
  claims: ({ config }) => config.mediaType === CONFIG,
  plan(manifest, config) {
    const kitfile = parseConfig(manifest, config);
    refuseReference(manifest, kitfile);
    const mentionOf = mentions(kitfile);
    return [
      ...(config.length === 0 ? [] : [{ kind: "file", blob: manifest.config, path: "Kitfile" } as const]),
      ...manifest.layers.flatMap((blob) => planLayer(blob, mentionOf(blob))),
    ];
  },
};

function planLayer(blob: Descriptor, mention: Mention | undefined): readonly Part[] {
  const [, type, packing, compression] = LAYER.exec(blob.mediaType) ?? [];
  if (type === undefined) return partOf(blob);
  const said = mention?.path === undefined ? undefined : safePath(mention.path, blob);
  if (packing === "raw") return [rawPart(blob, namedPath(blob) ?? (said || digestPath(blob)), compression)];
  const isOld = mention !== undefined && mention.digest === undefined && modelPath(blob) === undefined;
  const under = isOld ? said?.slice(0, Math.max(0, said.lastIndexOf("/"))) : undefined;
  return [{ kind: "archive", blob, ...(under === undefined || under === "" ? {} : { under }) }];
}

/** Finds for each layer, asked in order, what the Kitfile says of it: by digest, else the next one of its sort. */
function mentions(kitfile: Readonly<Record<string, unknown>>): (blob: Descriptor) => Mention | undefined {
  const model = record(kitfile["model"]);
  const sorts = new Map<string, readonly Mention[]>([
    ["model", model === undefined ? [] : [mention(model)]],
    ["modelpart", list(model?.["parts"])],
    ["dataset", list(kitfile["datasets"])],
    ["code", list(kitfile["code"])],
    ["docs", list(kitfile["docs"])],
    ["prompt", list(kitfile["prompts"])],
  ]);
  const byDigest = new Map([...sorts.values()].flat().map((entry) => [entry.digest, entry]));
  const turns = new Map<string, number>();
  return (blob) => {
    const type = LAYER.exec(blob.mediaType)?.[1] ?? "";
    const sort = type === "code" && blob.annotations?.[SUBTYPE] === "prompt" ? "prompt" : type;
    const turn = turns.get(sort) ?? 0;
    turns.set(sort, turn + 1);
    const inTurn = sorts.get(sort)?.[turn];
    return byDigest.get(blob.digest) ?? (inTurn?.digest === undefined ? inTurn : undefined);
  };
}

function list(value: unknown): Mention[] {
  if (!Array.isArray(value)) return [];
  // A dataset that lies in a bucket has no layer.
  return value.flatMap((item) => {
    const entry = record(item);
    return entry === undefined || entry["remotePath"] !== undefined ? [] : [mention(entry)];
  });
}

function mention(entry: Readonly<Record<string, unknown>>): Mention {
  const { path, digest } = entry;
  return {
    path: typeof path === "string" ? path : undefined,
    digest: typeof digest === "string" && digest !== "" ? digest : undefined,
  };
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** A kit whose model is another kit has no weights of its own: a volume without them would only look right. */
function refuseReference({ config, layers }: Manifest, kitfile: Readonly<Record<string, unknown>>): void {
  const path = record(kitfile["model"])?.["path"];
  const hasModel = layers.some(({ mediaType }) => LAYER.exec(mediaType)?.[1] === "model");
  if (hasModel || typeof path !== "string" || !REFERENCE.test(path)) return;
  throw new Failure(
    "UNIMPLEMENTED",
    "UNSUPPORTED_ARTIFACT",
    `the Kitfile ${config.digest} takes its model from another ModelKit, ${JSON.stringify(path)}: mount that one as a volume of its own`,
  );
}
