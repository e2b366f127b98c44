import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Failure, messageOf } from "#base";
import { structOf, type Type } from "#k8s";
import numbers from "./kube-protobuf-numbers.json" with { type: "json" };

/** The media type of {@link decodeKubeProtobuf}. */
export const KUBE_PROTOBUF = "application/vnd.kubernetes.protobuf";

/** What stands before every object. */
const MAGIC = Buffer.from("k8s\0", "latin1");
/** Of the types of the schema, the number of each field. `+v1.VolumeSource` is a message whose fields are the type's. */
const table = numbers as Readonly<Record<string, Readonly<Record<string, number>>>>;
const PREFIXES: Readonly<Record<string, readonly string[]>> = {
  v1: ["v1", "metav1"],
  "authentication.k8s.io/v1": ["authn"],
  "authorization.k8s.io/v1": ["authz"],
  "coordination.k8s.io/v1": ["coordination"],
  "events.k8s.io/v1": ["events"],
};

/**
 * An object that a client sent in Kubernetes' protobuf, as the JSON of the same object. kubectl 1.32 sends `create token`,
 * `auth can-i` and others so. Fields that are not in the schema are left out.
 * @throws Failure INVALID_PROTOBUF for bytes that are none, or of a kind that is not in the schema
 */
export function decodeKubeProtobuf(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.length < MAGIC.length || MAGIC.compare(bytes.subarray(0, MAGIC.length)) !== 0)
    throw invalid("does not start as Kubernetes' protobuf does");
  try {
    const { apiVersion, kind, raw } = readEnvelope(bytes.subarray(MAGIC.length));
    if (kind === "Eviction" && apiVersion === "policy/v1") return { apiVersion, kind, ...readEviction(raw) };
    // The options of a deletion name the version of what is deleted.
    const prefixes = kind === "DeleteOptions" ? ["metav1"] : (PREFIXES[apiVersion] ?? []);
    const type = prefixes.map((prefix) => `${prefix}.${kind}`).find((one) => one in table);
    if (type === undefined)
      throw invalid(`is of kind ${apiVersion} ${kind}, which cannot be read in this form; use JSON`);
    return { apiVersion, kind, ...readStruct(raw, type) };
  } catch (error) {
    throw error instanceof Failure ? error : invalid(`does not parse: ${messageOf(error)}`);
  }
}

/** runtime.Unknown: type meta 1 (API version 1, kind 2), the object's own bytes 2. */
function readEnvelope(bytes: Uint8Array): { apiVersion: string; kind: string; raw: Uint8Array } {
  let raw: Uint8Array = new Uint8Array();
  const meta = new Map<number, string>();
  each(bytes, (field, reader) => {
    if (field === 1)
      each(reader.bytes(), (inner, of) => {
        if (inner > 2) return false;
        meta.set(inner, of.string());
        return true;
      });
    else if (field === 2) raw = reader.bytes();
    else return false;
    return true;
  });
  return { apiVersion: meta.get(1) ?? "", kind: meta.get(2) ?? "", raw };
}

/** policy/v1 Eviction: metadata 1, the options of the deletion 2. */
function readEviction(bytes: Uint8Array): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  each(bytes, (field, reader) => {
    if (field === 1) value["metadata"] = readStruct(reader.bytes(), "metav1.ObjectMeta");
    else if (field === 2) value["deleteOptions"] = readStruct(reader.bytes(), "metav1.DeleteOptions");
    else return false;
    return true;
  });
  return value;
}

function readStruct(bytes: Uint8Array, type: string): Record<string, unknown> {
  const fields = structOf(type);
  const names = namesOf(type);
  const value: Record<string, unknown> = {};
  each(bytes, (number, reader, wire) => {
    const name = names.get(number);
    if (name?.startsWith("+")) {
      Object.assign(value, readStruct(reader.bytes(), name.slice(1)));
      return true;
    }
    const field = name === undefined ? undefined : fields.get(name);
    if (name === undefined || field === undefined) return false;
    if (wire !== wireOf(field.type)) throw new Error(`field ${name} has the wrong wire type`);
    const read = readValue(reader, field.type);
    if (isList(field.type)) value[name] = [...((value[name] as unknown[] | undefined) ?? []), read];
    else if (field.type.kind === "map") value[name] = { ...(value[name] as object | undefined), ...(read as object) };
    else value[name] = read;
    return true;
  });
  return value;
}

const isList = (type: Type): boolean => type.kind === "list" || (type.kind === "pointer" && isList(type.of));

function readValue(reader: BinaryReader, type: Type): unknown {
  switch (type.kind) {
    case "pointer":
    case "list":
      return readValue(reader, type.of);
    case "string":
      return reader.string();
    case "bool":
      return reader.bool();
    case "int":
      return Number(reader.int64());
    case "float":
      return reader.double();
    case "bytes":
      return Buffer.from(reader.bytes()).toString("base64");
    case "time":
    case "microtime":
      return readTime(reader.bytes(), type.kind === "microtime");
    case "quantity":
      return firstString(reader.bytes(), 1) ?? "0";
    case "intstr":
      return readIntOrString(reader.bytes());
    case "any": {
      const text = firstString(reader.bytes(), 1);
      return text === undefined || text === "" ? null : (JSON.parse(text) as unknown);
    }
    case "struct":
      return readStruct(reader.bytes(), type.name);
    case "map":
      return readEntry(reader.bytes(), type.of);
    default:
      return type satisfies never;
  }
}

/** One entry of a map: key 1, value 2. A value that is a list is a message with its items in field 1. */
function readEntry(bytes: Uint8Array, of: Type): Record<string, unknown> {
  let key = "";
  let value: unknown = of.kind === "list" ? [] : of.kind === "struct" ? {} : "";
  each(bytes, (field, reader) => {
    if (field === 1) key = reader.string();
    else if (field !== 2) return false;
    else if (of.kind === "list") {
      const items: unknown[] = [];
      each(reader.bytes(), (inner, items1) => {
        if (inner !== 1) return false;
        items.push(readValue(items1, of.of));
        return true;
      });
      value = items;
    } else value = readValue(reader, of);
    return true;
  });
  return Object.fromEntries([[key, value]]);
}

/** Seconds 1, nanoseconds 2; the zero time is empty. */
function readTime(bytes: Uint8Array, micro: boolean): string | null {
  if (bytes.length === 0) return null;
  let seconds = 0;
  let nanos = 0;
  each(bytes, (field, reader) => {
    if (field === 1) seconds = Number(reader.int64());
    else if (field === 2) nanos = reader.int32();
    else return false;
    return true;
  });
  const text = new Date(seconds * 1000).toISOString().replace(/\.000Z$/, "");
  return micro ? `${text}.${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z` : `${text}Z`;
}

/** Type 1 (1 is a string), number 2, string 3. */
function readIntOrString(bytes: Uint8Array): string | number {
  let isString = false;
  let int = 0;
  let text = "";
  each(bytes, (field, reader) => {
    if (field === 1) isString = Number(reader.int64()) === 1;
    else if (field === 2) int = reader.int32();
    else if (field === 3) text = reader.string();
    else return false;
    return true;
  });
  return isString ? text : int;
}

function firstString(bytes: Uint8Array, wanted: number): string | undefined {
  let text: string | undefined;
  each(bytes, (field, reader) => {
    if (field !== wanted) return false;
    text = reader.string();
    return true;
  });
  return text;
}

/** Calls `take` for each field; what it does not take is skipped. */
function each(bytes: Uint8Array, take: (field: number, reader: BinaryReader, wire: WireType) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (!take(field, reader, wire)) reader.skip(wire, field);
  }
}

function wireOf(type: Type): WireType {
  switch (type.kind) {
    case "pointer":
    case "list":
      return wireOf(type.of);
    case "bool":
    case "int":
      return WireType.Varint;
    case "float":
      return WireType.Bit64;
    case "string":
    case "bytes":
    case "time":
    case "microtime":
    case "quantity":
    case "intstr":
    case "any":
    case "struct":
    case "map":
      return WireType.LengthDelimited;
    default:
      return type satisfies never;
  }
}

const byNumber = new Map<string, ReadonlyMap<number, string>>();

function namesOf(type: string): ReadonlyMap<number, string> {
  let names = byNumber.get(type);
  if (names === undefined) {
    names = new Map(Object.entries(table[type] ?? {}).map(([name, number]) => [number, name]));
    byNumber.set(type, names);
  }
  return names;
}

function invalid(what: string): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_PROTOBUF", `the body ${what}`);
}
