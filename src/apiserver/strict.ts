import { structOf, target, type Type } from "#k8s";

/** What strict decoding finds odd: a member that the type does not have, or one that is there twice. */
interface Oddity {
  readonly what: "unknown" | "duplicate";
  /** As `spec.containers[0].name`. */
  readonly path: string;
}

/** Upstream reports no more than these. */
const MOST = 100;

/** The paths of members that a JSON text gives twice: `JSON.parse` keeps the last and says nothing. The text is known to be JSON. */
export function duplicateFields(text: string): string[] {
  return scan(text, ANYTHING).map(({ path }) => path);
}

/** What strict decoding of a JSON text as a type of the schema finds, each once and in the order of the text. */
export function strictProblems(text: string, typeName: string): string[] {
  const found = scan(text, { kind: "struct", name: typeName });
  return [...new Set(found.map(({ what, path }) => `${what} field ${JSON.stringify(path)}`))].slice(0, MOST);
}

/** `free` has no type, so that only duplicates are odd; nothing is odd in what is `skipped`. */
type Shape = Type | { readonly kind: "free" | "skipped" };

const ANYTHING: Shape = { kind: "free" };
const SKIPPED: Shape = { kind: "skipped" };

/** The shape of a member; undefined where there is no such member. */
function memberOf(shape: Shape, key: string): Shape | undefined {
  if (shape.kind === "free") return ANYTHING;
  if (shape.kind === "map") return target(shape.of);
  if (shape.kind !== "struct") return SKIPPED;
  const field = structOf(shape.name).get(key);
  return field === undefined ? undefined : target(field.type);
}

function scan(text: string, root: Shape): Oddity[] {
  const found: Oddity[] = [];
  let at = 0;
  const space = (): void => {
    while (/\s/.test(text.charAt(at))) at++;
  };
  const string = (): string => {
    const from = at++;
    while (text.charAt(at) !== '"') at += text.charAt(at) === "\\" ? 2 : 1;
    at++;
    return JSON.parse(text.slice(from, at)) as string;
  };
  const value = (path: string, shape: Shape): void => {
    space();
    const first = text.charAt(at);
    if (first === "{") object(path, shape);
    else if (first === "[") list(path, shape);
    else if (first === '"') string();
    else while (at < text.length && !/[\s,\]}]/.test(text.charAt(at))) at++;
    space();
  };
  const object = (path: string, shape: Shape): void => {
    const seen = new Set<string>();
    at++;
    space();
    while (text.charAt(at) !== "}") {
      const key = string();
      const inner = path === "" ? key : `${path}.${key}`;
      const member = memberOf(shape, key);
      if (member === undefined) found.push({ what: "unknown", path: inner });
      else if (seen.has(key) && shape.kind !== "skipped") found.push({ what: "duplicate", path: inner });
      seen.add(key);
      space();
      at++;
      value(inner, member ?? SKIPPED);
      if (text.charAt(at) === ",") at++;
      space();
    }
    at++;
  };
  const list = (path: string, shape: Shape): void => {
    const item = shape.kind === "list" ? target(shape.of) : shape.kind === "free" ? shape : SKIPPED;
    at++;
    space();
    for (let i = 0; text.charAt(at) !== "]"; i++) {
      value(`${path}[${i}]`, item);
      if (text.charAt(at) === ",") at++;
      space();
    }
    at++;
  };
  value("", root);
  return found;
}
