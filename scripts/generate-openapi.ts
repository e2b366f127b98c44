// Writes src/apiserver/openapi/documentation.json: what the published Kubernetes client says about each type and field
// that the server knows. Types, list kinds and merge keys stand in src/k8s/schema.json; only words are taken from here.
// Run it after a new type or a new version of @kubernetes/client-node: node scripts/generate-openapi.ts
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format } from "prettier";

interface Documentation {
  readonly description: string;
  readonly required?: readonly string[];
  readonly int64?: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
}

const root = join(import.meta.dirname, "..");
const models = join(root, "node_modules/@kubernetes/client-node/dist/gen/models");
const schema = JSON.parse(readFileSync(join(root, "src/k8s/schema.json"), "utf8")) as Record<string, object>;
/** The client's class names, by the prefix of ours. */
const CLASSES: Readonly<Record<string, readonly string[]>> = {
  v1: ["CoreV1", "V1"],
  metav1: ["V1"],
  events: ["EventsV1"],
  coordination: ["V1"],
  authn: ["AuthenticationV1", "V1"],
  authz: ["AuthorizationV1", "V1"],
};

/** Where the older, plain type declarations stand: they still say what a field is whose type is an object. */
const DECLARATIONS: Readonly<Record<string, string>> = {
  v1: "core",
  metav1: "meta",
  events: "events",
  coordination: "coordination",
  authn: "authentication",
  authz: "authorization",
};
/** Newer than those declarations. */
const ADDED: Readonly<Record<string, string>> = {
  "v1.Volume.image":
    "image is an OCI object (a container image or an artifact) whose files are mounted read-only. It is resolved when " +
    "the Pod starts, as pullPolicy says: Always pulls each time and fails the container if that fails; Never uses only " +
    "what is on the node; IfNotPresent pulls what is not there. When the Pod is deleted and made again, the reference is " +
    "resolved anew. A failed pull keeps the container from starting and is tried again with growing pauses; the reason " +
    "and message stand in the status of the Pod. The volume is mounted read-only and without execution; subPath and " +
    "subPathExpr of a mount choose a part of it. fsGroupChangePolicy has no effect on it.",
};

const documentation: Record<string, Documentation> = {};
for (const [type, fields] of Object.entries(schema)) {
  const [prefix = "", kind = ""] = type.split(".");
  const found = (CLASSES[prefix] ?? []).find((one) => existsSync(join(models, `${one}${kind}.d.ts`)));
  if (found === undefined) console.error(`no documentation for ${type}`);
  else documentation[type] = read(join(models, found + kind), type, Object.keys(fields));
}
const target = join(root, "src/apiserver/openapi/documentation.json");
writeFileSync(target, await format(JSON.stringify(documentation), { parser: "json", printWidth: 120 }));

function read(model: string, type: string, known: readonly string[]): Documentation {
  const source = readFileSync(`${model}.d.ts`, "utf8");
  const attributes = JSON.parse(
    /attributeTypeMap = (\[[^]*?\n\]);/.exec(readFileSync(`${model}.js`, "utf8"))?.[1] ?? "[]",
  ) as { name: string; baseName: string; format: string }[];
  const fields: Record<string, string> = {};
  const required: string[] = [];
  const int64: string[] = [];
  const declaration = /(?:\/\*\*((?:[^*]|\*(?!\/))*)\*\/\s*)?'(\w+)'(\??): [^;]+;/g;
  for (const [, comment = "", name, optional] of source.matchAll(declaration)) {
    const attribute = attributes.find((one) => one.name === name);
    if (attribute === undefined || !known.includes(attribute.baseName)) continue;
    fields[attribute.baseName] = text(comment);
    if (optional === "") required.push(attribute.baseName);
    if (attribute.format === "int64") int64.push(attribute.baseName);
  }
  for (const name of known) if (!fields[name]) fields[name] = ADDED[`${type}.${name}`] ?? declared(type, name);
  const comment = /\/\*\*((?:[^*]|\*(?!\/))*)\*\/\s*export declare class/.exec(source)?.[1] ?? "";
  return {
    description: text(comment),
    ...(required.length === 0 ? {} : { required }),
    ...(int64.length === 0 ? {} : { int64 }),
    fields,
  };
}

/** What the plain declarations say of a field; "" where they do not have it. */
function declared(type: string, name: string): string {
  const [prefix = "", kind = ""] = type.split(".");
  const source = readFileSync(
    join(root, "node_modules/kubernetes-types", DECLARATIONS[prefix] ?? "", "v1.d.ts"),
    "utf8",
  );
  const body = new RegExp(`^export interface ${kind} \\{\n([^]*?)\n\\}`, "m").exec(source)?.[1] ?? "";
  return text(new RegExp(`/\\*\\*((?:[^*]|\\*(?!/))*)\\*/\\s*${name}\\??:`).exec(body)?.[1] ?? "");
}

function text(comment: string): string {
  return comment
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .trim()
    .replaceAll("\\'", "'")
    .replaceAll('\\"', '"');
}
