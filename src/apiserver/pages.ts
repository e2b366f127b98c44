import { badRequest, expired } from "./status.ts";
import type { Stored } from "./storage.ts";

/** One page of a list: `limit` items after where `continue` says. */
export function page(
  items: readonly Stored[],
  query: URLSearchParams,
  version: number,
  oldest: number,
): { items: readonly Stored[]; metadata: object } {
  const limit = Number(query.get("limit") ?? 0);
  const token = query.get("continue") ?? "";
  let from = 0;
  let at = version;
  if (token !== "") {
    const start = readToken(token);
    if (start.version < oldest)
      throw expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
      );
    at = start.version;
    from = items.findIndex((stored) => keyOf(stored) > start.after);
    if (from < 0) from = items.length;
  }
  const end = limit > 0 ? from + limit : items.length;
  const left = items.length - end;
  const last = items[end - 1];
  const metadata = {
    resourceVersion: String(at),
    ...(left > 0 && last !== undefined
      ? {
          continue: writeToken(at, keyOf(last)),
          ...(query.has("labelSelector") || query.has("fieldSelector") ? {} : { remainingItemCount: left }),
        }
      : {}),
  };
  return { items: items.slice(from, end), metadata };
}

const keyOf = (stored: Stored): string => `${stored.namespace}\u0000${stored.name}`;

function writeToken(version: number, after: string): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: version, start: after })).toString("base64url");
}

function readToken(token: string): { version: number; after: string } {
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, "base64url").toString()) as { rv: unknown; start: unknown };
    if (typeof rv === "number" && typeof start === "string") return { version: rv, after: start };
  } catch {
    // Said below.
  }
  throw badRequest("continue key is not valid: it must be the one a list gave");
}
