import { Failure } from "#base";
import { isRecord, jsonEqual } from "./merge-patch.ts";

type Container = Record<string, unknown> | unknown[];
interface Document {
  root: unknown;
}

const fail = (why: string): Failure => new Failure("FAILED_PRECONDITION", "PATCH_DOES_NOT_APPLY", why);
const missing = (op: string, what: string, path: string): Failure =>
  fail(`${op} operation does not apply: doc is missing ${what}: ${path}: missing value`);

/**
 * RFC 6902 as the API server has it: the document after all operations. Other than the RFC says, `replace` may add a member,
 * `copy` and `test` take an absent member for null, and an index may count from the end.
 * Throws Failure `PATCH_DOES_NOT_APPLY`, or `INVALID_PATCH` for what is no list of objects.
 */
export function jsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new Failure("INVALID_ARGUMENT", "INVALID_PATCH", "a JSON patch must be an array");
  const held = { root: structuredClone(document) };
  for (const operation of patch) apply(held, isRecord(operation) ? operation : {});
  return held.root;
}

function apply(document: Document, operation: Record<string, unknown>): void {
  const op = operation["op"];
  const text = (field: "path" | "from"): string => {
    const value = operation[field];
    if (typeof value !== "string") throw fail(`${String(op)} operation missing ${field} field: missing value`);
    return value;
  };
  const value = (): unknown => structuredClone(operation["value"] ?? null);
  switch (op) {
    case "add":
      return insert(document, op, text("path"), value());
    case "remove":
      return remove(document, op, text("path"));
    case "replace":
      return replace(document, text("path"), value());
    case "move": {
      const from = text("from");
      const moved = read(document, op, from);
      remove(document, op, from);
      return insert(document, op, text("path"), moved ?? null);
    }
    case "copy":
      return insert(document, op, text("path"), structuredClone(read(document, op, text("from")) ?? null));
    case "test": {
      const path = text("path");
      const is = path === "" ? document.root : read(document, op, path);
      if (!jsonEqual(is ?? null, value())) throw fail(`testing value ${path} failed: test failed`);
      return;
    }
    default:
      throw fail(`Unexpected kind: ${typeof op === "string" ? op : "unknown"}`);
  }
}

/** The container that a path's last step is in, and that step. Steps are all that follows the first slash. */
function place({ root }: Document, op: string, path: string): [Container, string] {
  const [, ...keys] = path.split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop();
  let at = root;
  for (const key of keys) at = isContainer(at) ? member(at, key) : undefined;
  if (last === undefined || !isContainer(at)) throw missing(op, "path", path);
  return [at, last];
}

const isContainer = (value: unknown): value is Container => isRecord(value) || Array.isArray(value);

/** A member of an object, which may be absent, or an item of a list, which may not. */
function member(at: Container, key: string): unknown {
  if (!Array.isArray(at)) return Object.hasOwn(at, key) ? at[key] : undefined;
  return at[index(key, at.length)];
}

/** The index that a step means in a list of so many items. */
function index(key: string, length: number): number {
  if (!/^[+-]?\d+$/.test(key)) throw fail(`strconv.Atoi: parsing ${JSON.stringify(key)}: invalid syntax`);
  const i = Number(key);
  if (i >= length || i < -length) throw fail(`Unable to access invalid index: ${i}: invalid index referenced`);
  return i < 0 ? i + length : i;
}

function read(document: Document, op: string, path: string): unknown {
  const [at, key] = place(document, op, path);
  return member(at, key);
}

function insert(document: Document, op: string, path: string, value: unknown): void {
  const [at, key] = place(document, op, path);
  if (!Array.isArray(at)) at[key] = value;
  else at.splice(key === "-" ? at.length : index(key, at.length + 1), 0, value);
}

function replace(document: Document, path: string, value: unknown): void {
  if (path === "") {
    if (!isContainer(value)) throw fail("replace operation value must be object or array");
    document.root = value;
    return;
  }
  const [at, key] = place(document, "replace", path);
  if (Array.isArray(at)) at[index(key, at.length)] = value;
  else at[key] = value;
}

function remove(document: Document, op: string, path: string): void {
  const [at, key] = place(document, op, path);
  if (Array.isArray(at)) at.splice(index(key, at.length), 1);
  else if (!Object.hasOwn(at, key))
    throw fail(`error in ${op} for path: '${path}': Unable to remove nonexistent key: ${key}: missing value`);
  else delete at[key];
}
