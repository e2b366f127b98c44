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
