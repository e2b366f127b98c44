import { structOf, target, type Field, type Type } from "#k8s";
import documentation from "./documentation.json" with { type: "json" };
import { ENUMS } from "./enums.ts";

/** A JSON schema with Kubernetes' extensions, as far as it is used here. */
export interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly description?: string;
  readonly type?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly [extension: `x-kubernetes-${string}`]: unknown;
}

/** `2` refers to `#/definitions/` with words beside the reference, `3` to `#/components/schemas/` with words around it. */
export type Dialect = 2 | 3;

/** What is served as an object of its own: one kind of one version. */
export interface ServedKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Its type in the schema (`v1.Pod`); "" for a kind that is served without being in the schema. */
  readonly type: string;
  /** `create`, `get`, `list`, `watch`, `update`, `patch`, `delete`, `deletecollection`. */
  readonly verbs: readonly string[];
}

const PACKAGES: Readonly<Record<string, string>> = {
  v1: "io.k8s.api.core.v1",
  metav1: "io.k8s.apimachinery.pkg.apis.meta.v1",
  events: "io.k8s.api.events.v1",
  coordination: "io.k8s.api.coordination.v1",
  authn: "io.k8s.api.authentication.v1",
  authz: "io.k8s.api.authorization.v1",
};
const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

interface Documentation {
  readonly description: string;
  readonly required?: readonly string[];
  readonly int64?: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
}
const docs = documentation as Readonly<Record<string, Documentation>>;
/** The defaults that tell list items apart: server-side apply needs them where a key is left out. */
const DEFAULTS: Readonly<Record<string, unknown>> = { "v1.ContainerPort.protocol": "TCP" };

/** The name of a type in the documents (`io.k8s.api.core.v1.Pod`). */
export function definitionName(type: string): string {
  const [prefix = "", kind = ""] = type.split(".");
  return `${PACKAGES[prefix] ?? prefix}.${kind}`;
}

export function refTo(name: string, dialect: Dialect): Schema {
  return { $ref: (dialect === 2 ? "#/definitions/" : "#/components/schemas/") + name };
}

/** The definitions of these kinds, their lists, what every request may carry, and all they refer to, by name. */
export function definitionsOf(kinds: readonly ServedKind[], dialect: Dialect): Record<string, Schema> {
  const found = new Map<string, Schema>(shared(dialect));
  const visit = (type: string): void => {
    const name = definitionName(type);
    if (found.has(name)) return;
    found.set(name, {});
    const own = kinds.filter((one, i) => one.type === type && kinds.findIndex((other) => same(one, other)) === i);
    found.set(name, structSchema(type, own, dialect, visit));
  };
  visit("metav1.DeleteOptions");
  for (const kind of kinds) {
    if (kind.type === "") continue;
    visit(kind.type);
    if (kind.verbs.includes("list")) found.set(`${definitionName(kind.type)}List`, listSchema(kind, dialect));
  }
  return Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

type Names = Pick<ServedKind, "group" | "version" | "kind">;

export function groupVersionKind({ group, version, kind }: Names): object {
  return { group, kind, version };
}

const same = (a: Names, b: Names): boolean => a.kind === b.kind && a.group === b.group && a.version === b.version;

function structSchema(type: string, own: readonly ServedKind[], dialect: Dialect, visit: (t: string) => void): Schema {
  const said = docs[type];
  const properties: Record<string, Schema> = {};
  for (const [name, field] of [...structOf(type)].sort(([a], [b]) => (a < b ? -1 : 1)))
    properties[name] = fieldSchema(type, name, field, dialect, visit);
  return {
    ...(said?.description ? { description: said.description } : {}),
    type: "object",
    ...(said?.required === undefined ? {} : { required: said.required }),
    properties,
    ...(own.length === 0 ? {} : { "x-kubernetes-group-version-kind": own.map(groupVersionKind) }),
    ...(ATOMIC.has(type) ? { "x-kubernetes-map-type": "atomic" } : {}),
  };
}

/** Selectors and references are replaced as a whole, wherever they stand. */
const ATOMIC = new Set(
  "LocalObjectReference ObjectReference SecretKeySelector ConfigMapKeySelector ObjectFieldSelector SecretReference"
    .concat(" ResourceFieldSelector NodeSelector NodeSelectorTerm TypedLocalObjectReference")
    .split(" ")
    .map((kind) => `v1.${kind}`)
    .concat("metav1.LabelSelector", "metav1.OwnerReference"),
);

function fieldSchema(type: string, name: string, field: Field, dialect: Dialect, visit: (t: string) => void): Schema {
  const said = docs[type];
  const values = ENUMS.get(`${type}.${name}`);
  const description = described(said?.fields[name] ?? "", values);
  const value = typeSchema(field.type, said?.int64?.includes(name) ? "int64" : "int32", dialect, visit);
  const fallback = DEFAULTS[`${type}.${name}`];
  const strategy = [field.merges ? "merge" : "", field.retainKeys ? "retainKeys" : ""].filter(Boolean).join(",");
  const around: Schema = {
    ...(description ? { description } : {}),
    ...(fallback === undefined ? {} : { default: fallback }),
    ...(values === undefined ? {} : { enum: values }),
    ...(field.keys.length === 0 ? {} : { "x-kubernetes-list-map-keys": field.keys }),
    ...(target(field.type).kind === "list" ? { "x-kubernetes-list-type": field.list ?? "atomic" } : {}),
    ...(field.atomic && target(field.type).kind === "map" ? { "x-kubernetes-map-type": "atomic" } : {}),
    ...(field.mergeKey === undefined ? {} : { "x-kubernetes-patch-merge-key": field.mergeKey }),
    ...(strategy === "" ? {} : { "x-kubernetes-patch-strategy": strategy }),
  };
  return dialect === 3 && value.$ref !== undefined && Object.keys(around).length > 0
    ? { ...around, allOf: [value] }
    : { ...value, ...around };
}

/** What is said of a field, with the values it may have. */
function described(text: string, values: readonly string[] | undefined): string {
  if (values === undefined) return text;
  return `${text}\n\nPossible enum values:\n${values.map((value) => ` - \`${JSON.stringify(value)}\``).join("\n")}`;
}

function typeSchema(type: Type, int: string, dialect: Dialect, visit: (t: string) => void): Schema {
  switch (type.kind) {
    case "pointer":
      return typeSchema(type.of, int, dialect, visit);
    case "struct":
      visit(type.name);
      return refTo(definitionName(type.name), dialect);
    case "list":
      return { type: "array", items: typeSchema(type.of, int, dialect, visit) };
    case "map":
      return { type: "object", additionalProperties: typeSchema(type.of, int, dialect, visit) };
    case "string":
      return { type: "string" };
    case "bool":
      return { type: "boolean" };
    case "int":
      return { type: "integer", format: int };
    case "float":
      return { type: "number", format: "double" };
    case "bytes":
      return { type: "string", format: "byte" };
    case "time":
      return refTo(`${META}.Time`, dialect);
    case "microtime":
      return refTo(`${META}.MicroTime`, dialect);
    case "quantity":
      return refTo(QUANTITY, dialect);
    case "intstr":
      return refTo(INT_OR_STRING, dialect);
    case "any":
      return refTo(`${META}.FieldsV1`, dialect);
    default:
      return type satisfies never;
  }
}

function listSchema(kind: ServedKind, dialect: Dialect): Schema {
  return {
    description: `${kind.kind}List is a list of ${kind.kind} objects.`,
    type: "object",
    required: ["items"],
    properties: {
      apiVersion: { type: "string" },
      items: { type: "array", items: refTo(definitionName(kind.type), dialect) },
      kind: { type: "string" },
      metadata: refTo(`${META}.ListMeta`, dialect),
    },
    "x-kubernetes-group-version-kind": [groupVersionKind({ ...kind, kind: `${kind.kind}List` })],
  };
}

function shared(dialect: Dialect): [string, Schema][] {
  const union = (...types: string[]): Schema =>
    dialect === 2 ? { type: "string" } : { oneOf: types.map((type) => ({ type })) };
  const text: Schema = { type: "string" };
  const cause: Schema = { type: "object", properties: { field: text, message: text, reason: text } };
  return [
    [`${META}.Time`, { description: "A moment, in RFC 3339.", type: "string", format: "date-time" }],
    [`${META}.MicroTime`, { description: "A moment with microseconds.", type: "string", format: "date-time" }],
    [`${META}.FieldsV1`, { description: "A set of fields, as a tree in JSON.", type: "object" }],
    [`${META}.Patch`, { description: "A patch, in the form its content type names.", type: "object" }],
    [QUANTITY, { description: "A number with a unit: 100m, 1.5Gi, 2e3.", ...union("string", "number") }],
    [INT_OR_STRING, { description: "A number or a name.", format: "int-or-string", ...union("integer", "string") }],
    [
      `${META}.ListMeta`,
      {
        description: "What a list says about itself.",
        type: "object",
        properties: {
          continue: text,
          remainingItemCount: { type: "integer", format: "int64" },
          resourceVersion: text,
          selfLink: text,
        },
      },
    ],
    [
      `${META}.Status`,
      {
        description: "The outcome of a request that returns no object.",
        type: "object",
        properties: {
          apiVersion: text,
          code: { type: "integer", format: "int32" },
          details: {
            type: "object",
            properties: { causes: { type: "array", items: cause }, group: text, kind: text, name: text, uid: text },
          },
          kind: text,
          message: text,
          metadata: refTo(`${META}.ListMeta`, dialect),
          reason: text,
          status: text,
        },
        "x-kubernetes-group-version-kind": [groupVersionKind({ group: "", version: "v1", kind: "Status" })],
      },
    ],
  ];
}
