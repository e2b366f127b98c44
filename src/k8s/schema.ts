import table from "./schema.json" with { type: "json" };

/** A field's type, in Go's terms, since those decide what is written when a value is empty. */
export type Type =
  | {
      readonly kind: "string" | "bool" | "float" | "bytes" | "time" | "microtime" | "quantity" | "intstr" | "any";
    }
  | { readonly kind: "int"; readonly go: "int32" | "int64" | "byte" | "uint32" }
  | { readonly kind: "struct"; readonly name: string }
  | { readonly kind: "pointer" | "list" | "map"; readonly of: Type };

export interface Field {
  readonly type: Type;
  /** `always` writes the zero value; `filled` leaves an empty value out; `nonzero` leaves a zero struct out. */
  readonly emit: "always" | "filled" | "nonzero";
  /** How server-side apply sees a list; undefined is atomic. */
  readonly list?: "atomic" | "set" | "map";
  readonly keys: readonly string[];
  /** A struct or map that server-side apply replaces as a whole. */
  readonly atomic: boolean;
  /** Strategic merge: the list merges item by item, by `mergeKey`, or as a set where that is undefined. */
  readonly merges: boolean;
  readonly mergeKey?: string;
  readonly retainKeys: boolean;
}

export type Struct = ReadonlyMap<string, Field>;

/**
 * schema.json holds, for each type of Kubernetes 1.36 that the server knows, its fields in order:
 * `type [!] [0] [list=kind:keys] [atomic] [patch=strategy:mergeKey]`, where `!` marks a field that is written even when
 * empty, and `0` one that is left out when zero.
 */
const structs = new Map<string, Struct>();

/** The fields of a type (`v1.Pod`). Throws for a name that is not in the table. */
export function structOf(name: string): Struct {
  let struct = structs.get(name);
  if (struct === undefined) {
    const source = (table as Record<string, Record<string, string>>)[name];
    if (source === undefined) throw new Error(`no type ${name}`);
    struct = new Map(Object.entries(source).map(([field, text]) => [field, parseField(text)]));
    structs.set(name, struct);
  }
  return struct;
}

function parseField(text: string): Field {
  const [type = "", ...flags] = text.split(" ");
  const option = (name: string): string[] | undefined =>
    flags
      .find((flag) => flag.startsWith(`${name}=`))
      ?.slice(name.length + 1)
      .split(":");
  const list = option("list");
  const patch = option("patch");
  return {
    type: parseType(type),
    emit: flags.includes("!") ? "always" : flags.includes("0") ? "nonzero" : "filled",
    ...(list === undefined ? {} : { list: list[0] as "atomic" | "set" | "map" }),
    keys: list?.[1]?.split(",") ?? [],
    atomic: flags.includes("atomic"),
    merges: patch?.[0]?.split(",").includes("merge") ?? false,
    ...(patch?.[1] === undefined ? {} : { mergeKey: patch[1] }),
    retainKeys: patch?.[0]?.split(",").includes("retainKeys") ?? false,
  };
}

function parseType(text: string): Type {
  if (text.startsWith("*")) return { kind: "pointer", of: parseType(text.slice(1)) };
  if (text.startsWith("[]")) return { kind: "list", of: parseType(text.slice(2)) };
  if (text.startsWith("{}")) return { kind: "map", of: parseType(text.slice(2)) };
  switch (text) {
    case "string":
    case "bool":
    case "bytes":
    case "time":
    case "microtime":
    case "quantity":
    case "intstr":
    case "any":
      return { kind: text };
    case "int32":
    case "int64":
    case "byte":
    case "uint32":
      return { kind: "int", go: text };
    case "float64":
      return { kind: "float" };
    default:
      return { kind: "struct", name: text };
  }
}

/** The type without its pointer. */
export function target(type: Type): Type {
  return type.kind === "pointer" ? target(type.of) : type;
}
