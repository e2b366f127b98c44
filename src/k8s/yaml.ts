import { Failure, messageOf } from "#base";
import { parseDocument, stringify, type Document } from "yaml";

const OPTIONS = { version: "1.1", merge: true, uniqueKeys: false, intAsBigInt: false, logLevel: "silent" } as const;

/** The value of a YAML (or JSON) text with one document; undefined for an empty one. Throws Failure `INVALID_YAML`. */
export function parseYaml(text: string): unknown {
  const document = parseDocument(text, OPTIONS);
  return valueOf(document);
}

/** YAML as Kubernetes' clients write it: block style, no anchors, long lines kept whole. */
export function formatYaml(value: unknown): string {
  return stringify(value, { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false });
}

function valueOf(document: Pick<Document, "errors" | "toJS">): unknown {
  const error = document.errors[0];
  if (error !== undefined) throw new Failure("INVALID_ARGUMENT", "INVALID_YAML", firstLine(error.message));
  try {
    return document.toJS({ maxAliasCount: 100 }) as unknown;
  } catch (cause) {
    throw new Failure("INVALID_ARGUMENT", "INVALID_YAML", messageOf(cause), { cause });
  }
}

function firstLine(message: string): string {
  return (message.split("\n")[0] ?? message).replace(/:$/, "");
}

/** What go-yaml says where this parser says otherwise, and which half of it speaks. */
const GO_WORDS: Readonly<Record<string, readonly ["scanner" | "parser", string]>> = {
  BAD_SCALAR_START: ["scanner", "found character that cannot start any token"],
  BLOCK_AS_IMPLICIT_KEY: ["scanner", "mapping values are not allowed in this context"],
  MULTILINE_IMPLICIT_KEY: ["scanner", "could not find expected ':'"],
  TAB_AS_INDENT: ["scanner", "found character that cannot start any token"],
  UNEXPECTED_TOKEN: ["parser", "did not find expected key"],
};

/** What is wrong with a YAML text, in the words of the parser that clients of Kubernetes know, where those are known. */
export function goYamlError(text: string): string {
  const [error] = parseDocument(text, OPTIONS).errors;
  if (error === undefined) return "yaml: unknown error";
  const open = /^Flow (sequence|map)/.exec(error.message)?.[1];
  const [half, words] =
    open !== undefined
      ? (["parser", `did not find expected ',' or '${open === "map" ? "}" : "]"}'`] as const)
      : error.message.startsWith("Missing closing")
        ? (["scanner", "found unexpected end of stream"] as const)
        : (GO_WORDS[error.code] ?? ["scanner", firstLine(error.message)]);
  // go-yaml counts from 0, says nothing of line 0, and adds 1 in its scanner alone.
  const line = (error.linePos?.[0].line ?? 1) - 1;
  return line === 0 ? `yaml: ${words}` : `yaml: line ${half === "scanner" ? line + 1 : line}: ${words}`;
}

/** Keys that a YAML text has twice, as go-yaml reports them: one error with a line for each; empty where there are none. */
export function goYamlDuplicates(text: string): string[] {
  const { errors } = parseDocument(text, { ...OPTIONS, uniqueKeys: true });
  const lines = errors
    .filter(({ code }) => code === "DUPLICATE_KEY")
    .map(({ pos, linePos }) => {
      const key = /^[^\n]*?(?=\s*:(?:\s|$))/.exec(text.slice(pos[0]))?.[0] ?? "";
      return `  line ${linePos?.[0].line ?? 0}: key ${JSON.stringify(key.replace(/^(["'])(.*)\1$/, "$2"))} already set in map`;
    });
  return lines.length === 0 ? [] : [`yaml: unmarshal errors:\n${lines.join("\n")}`];
}
