import type { Descriptor } from "#oci";
import type { FileAttributes } from "./part.ts";

const KEYS = ["org.cncf.model.file.metadata+json", "org.cnai.model.file.metadata+json"];
const MAX_ID = 2 ** 32 - 2;

/**
 * What ModelPack's file metadata annotation says of mode, owner and time. model-spec, docs/annotations.md. What makes no sense
 * counts as not said: the annotation decorates a file, and a bad one is no reason to withhold it.
 */
export function attributesOf(blob: Descriptor): FileAttributes | undefined {
  const text = KEYS.map((key) => blob.annotations?.[key]).find((value) => value !== undefined);
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof json !== "object" || json === null) return undefined;
  const { mode, uid, gid, mtime } = json as Record<string, unknown>;
  const seconds = typeof mtime === "string" ? Date.parse(mtime) / 1000 : Number.NaN;
  return {
    ...(isNatural(mode) ? { mode: mode % 0o10000 } : {}),
    ...(isNatural(uid) ? { uid } : {}),
    ...(isNatural(gid) ? { gid } : {}),
    ...(Number.isFinite(seconds) ? { mtime: seconds } : {}),
  };
}

function isNatural(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_ID;
}
