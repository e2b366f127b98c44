import { Failure } from "#base";
import { isRecord, jsonEqual } from "./merge-patch.ts";

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

const fail = (op: string, path: string, why: string): Failure =>
  new Failure(
    "FAILED_PRECONDITION",
    "PATCH_DOES_NOT_APPLY",
    `${op} operation does not apply: doc is missing ${why}: ${path}: missing value`,
  );

/** RFC 6902: the document after all operations. Throws Failure `PATCH_DOES_NOT_APPLY` or `INVALID_PATCH`. */
export function jsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new Failure("INVALID_ARGUMENT", "INVALID_PATCH", "a JSON patch must be an array");
  const root = { "": structuredClone(document) };
  for (const operation of patch as Operation[]) apply(root, operation);
  return root[""];
}

function apply(root: Record<string, unknown>, { op, path, from, value }: Operation): void {
  if (typeof path !== "string" || (path !== "" && !path.startsWith("/")))
    throw new Failure("INVALID_ARGUMENT", "INVALID_PATCH", `invalid path ${JSON.stringify(path)} in a JSON patch`);
  switch (op) {
    case "add":
      return insert(root, op, path, structuredClone(value));
    case "remove":
      take(root, op, path);
      return;
    case "replace":
      read(root, op, path);
      return replace(root, op, path, structuredClone(value));
    case "move": {
      const moved = take(root, op, from ?? "");
      return insert(root, op, path, moved);
    }
    case "copy":
      return insert(root, op, path, structuredClone(read(root, op, from ?? "")));
    case "test":
      if (!jsonEqual(find(root, path), value ?? null))
        throw new Failure("FAILED_PRECONDITION", "PATCH_DOES_NOT_APPLY", `testing value ${path} failed: test failed`);
      return;
    default:
      throw new Failure("INVALID_ARGUMENT", "INVALID_PATCH", `unexpected kind of operation ${JSON.stringify(op)}`);
  }
}

const keysOf = (path: string): string[] =>
  path.split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

/** The parent container of a path, and the last key. */
function parent(
  root: Record<string, unknown>,
  op: string,
  path: string,
): [Record<string, unknown> | unknown[], string] {
  const keys = keysOf(path);
  let at: unknown = root;
  for (const key of keys.slice(0, -1)) at = member(at, key);
  if (!isRecord(at) && !Array.isArray(at)) throw fail(op, path, "path");
  return [at, keys.at(-1) ?? ""];
}

function member(at: unknown, key: string): unknown {
  if (Array.isArray(at)) return at[index(at, key)] as unknown;
  return isRecord(at) && Object.hasOwn(at, key) ? at[key] : undefined;
}

function find(root: Record<string, unknown>, path: string): unknown {
  let at: unknown = root;
  for (const key of keysOf(path)) at = member(at, key);
  return at === undefined ? null : at;
}

function index(list: readonly unknown[], key: string): number {
  if (!/^-?\d+$/.test(key)) return -1;
  const i = Number(key);
  return i < 0 ? i + list.length : i;
}

function read(root: Record<string, unknown>, op: string, path: string): unknown {
  const [at, key] = parent(root, op, path);
  const value = member(at, key);
  if (value === undefined) throw fail(op, path, "key");
  return value;
}

function insert(root: Record<string, unknown>, op: string, path: string, value: unknown): void {
  const [at, key] = parent(root, op, path);
  if (!Array.isArray(at)) {
    at[key] = value;
    return;
  }
  const i = key === "-" ? at.length : index(at, key);
  if (i < 0 || i > at.length) throw fail(op, path, "path");
  at.splice(i, 0, value);
}

function replace(root: Record<string, unknown>, op: string, path: string, value: unknown): void {
  const [at, key] = parent(root, op, path);
  if (Array.isArray(at)) at[index(at, key)] = value;
  else at[key] = value;
}

function take(root: Record<string, unknown>, op: string, path: string): unknown {
  const value = read(root, op, path);
  const [at, key] = parent(root, op, path);
  if (Array.isArray(at)) at.splice(index(at, key), 1);
  else delete at[key];
  return value;
}
