import { FieldErrors } from "./field-errors.ts";
import { StatusError, badRequest } from "./status.ts";

/** The form a client asked for. */
export interface Form {
  readonly as: "object" | (typeof TRANSFORMS)[number];
  readonly version: "v1" | "v1beta1";
  readonly yaml: boolean;
}

const TRANSFORMS = ["Table", "PartialObjectMetadata", "PartialObjectMetadataList"] as const;
const PLAIN: Form = { as: "object", version: "v1", yaml: false };
const PROTOBUF = "application/vnd.kubernetes.protobuf";
const ANSWERED = ["application/json", "application/yaml", PROTOBUF];
const STREAMED = ["application/json;stream=watch", `${PROTOBUF};stream=watch`];

/**
 * The form in `Accept` that the client likes best of those the server has. Protobuf is answered in JSON; where nothing else
 * is accepted, that is 406.
 */
export function formOf(accept: string | undefined): Form {
  const ranges = rangesOf(accept ?? "");
  if (ranges.length === 0) return PLAIN;
  let fallback = false;
  for (const { type, parameters } of ranges) {
    const json = ["application/json", "application/*", "*/*"].includes(type);
    const yaml = type === "application/yaml";
    if (type === PROTOBUF || type === "application/cbor") fallback = true;
    if (!json && !yaml) continue;
    const as = parameters.get("as");
    if (as === undefined) return { ...PLAIN, yaml };
    const known = TRANSFORMS.find((name) => name.toLowerCase() === as);
    const version = parameters.get("v");
    if (known !== undefined && parameters.get("g") === "meta.k8s.io" && (version === "v1" || version === "v1beta1"))
      return { as: known, version, yaml };
  }
  if (fallback) return PLAIN;
  throw notAcceptable(`only the following media types are accepted: ${ANSWERED.join(", ")}`);
}

/** Checks a form against what is answered: one object, a list, or a stream. Throws 400 and 406. */
export function checkForm(form: Form, what: "object" | "list" | "watch", goType: string, query: URLSearchParams): void {
  const include = query.get("includeObject") ?? "";
  if (form.as === "Table" && !["", "Metadata", "Object", "None"].includes(include)) {
    const errors = new FieldErrors();
    errors.invalid("includeObject", include, "must be 'Metadata', 'Object', 'None', or empty");
    throw badRequest(
      `Unable to convert to Table as requested: includeObject: ${errors.causes[0]?.message ?? "is not known"}`,
    );
  }
  if (what === "watch" && form.yaml)
    throw notAcceptable(`only the following media types are accepted: ${STREAMED.join(", ")}`);
  if (what === "list" && form.as === "PartialObjectMetadata")
    throw notAcceptable(`you requested PartialObjectMetadata, but the requested object is a list (*${goType}List)`);
  if (what === "object" && form.as === "PartialObjectMetadataList")
    throw notAcceptable(`you requested PartialObjectMetadataList, but the requested object is not a list (*${goType})`);
}

const notAcceptable = (message: string): StatusError => new StatusError(406, "NotAcceptable", message);

interface Range {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
  /** How exactly the type is named. */
  readonly rank: number;
}

/** The ranges of `Accept`, the most wanted first. */
function rangesOf(accept: string): Range[] {
  return accept
    .split(",")
    .map((range) => range.trim())
    .filter((range) => range !== "")
    .map((range) => {
      const [type = "", ...rest] = range.split(";").map((part) => part.trim().toLowerCase());
      const parameters = new Map(
        rest.map((part) => [part.split("=")[0] ?? "", (part.split("=")[1] ?? "").replaceAll('"', "")]),
      );
      const rank = type === "*/*" ? 0 : type.endsWith("/*") ? 1 : 2;
      return { type, parameters, quality: Number(parameters.get("q") ?? 1), rank };
    })
    .sort((a, b) => b.quality - a.quality || b.rank - a.rank);
}
