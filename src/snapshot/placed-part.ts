import { Failure } from "#base";
import type { FileAttributes, Part } from "#artifact";
import type { Digest } from "#oci";
import type { StoredPart } from "#store";

/** A part whose blob is in the store: what the tree is made of. Plain data, so that it can cross to a worker thread. */
export type PlacedPart = { readonly stored: Digest; /** Bytes. */ readonly size: number } & (
  | { readonly kind: "layer" }
  | { readonly kind: "archive"; readonly strip?: string; readonly under?: string }
  | { readonly kind: "file"; readonly path: string; readonly attributes?: FileAttributes }
);

/** Puts what was planned together with what was stored for it, in order. */
export function placeParts(parts: readonly Part[], stored: readonly StoredPart[]): readonly PlacedPart[] {
  if (parts.length !== stored.length)
    throw new Failure("INTERNAL", "INVALID_RECORD", "the plan and the record of a manifest differ; pull it again");
  return parts.map((part, i) => place(part, stored[i] as StoredPart));
}

function place(part: Part, { stored, size, isTar }: StoredPart): PlacedPart {
  const blob = { stored, size };
  switch (part.kind) {
    case "layer":
      return { kind: "layer", ...blob };
    case "archive":
      return {
        kind: "archive",
        ...blob,
        ...(part.strip === undefined ? {} : { strip: part.strip }),
        ...(part.under === undefined ? {} : { under: part.under }),
      };
    case "file":
      return {
        kind: "file",
        ...blob,
        path: part.path,
        ...(part.attributes === undefined ? {} : { attributes: part.attributes }),
      };
    case "sniff":
      break;
  }
  if (!isTar) return { kind: "file", ...blob, path: part.path };
  if (part.whiteouts === true) return { kind: "layer", ...blob };
  return { kind: "archive", ...blob, ...(part.strip === undefined ? {} : { strip: part.strip }) };
}
