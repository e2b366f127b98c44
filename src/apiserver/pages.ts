import { goSyntaxError } from "#k8s";
import { waitFor } from "./freshness.ts";
import { parseVersion, tooLarge, type ListOptions } from "./list-options.ts";
import type { Selector } from "./select.ts";
import { StatusError, badRequest, expired } from "./status.ts";
import type { Storage, Stored } from "./storage.ts";

export interface Page {
  readonly items: readonly Stored[];
  /** The metadata of the list. */
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
}

/** Which state a list reads, and after which object it goes on. */
interface Start {
  /** Undefined for the newest. */
  readonly version: number | undefined;
  readonly after: string;
}

/**
 * One page of a list: at most `limit` selected objects after where `continue` says, all as they were at one version.
 * Throws 400, 410 where that version is forgotten, and 504 where it does not come.
 */
export async function readPage(
  storage: Storage,
  resource: string,
  namespace: string,
  options: ListOptions,
  select: Selector | undefined,
  signal: AbortSignal,
): Promise<Page> {
  const { version, after } = await startOf(options, storage, signal);
  const found =
    version === undefined ? storage.list(resource, namespace) : storage.listAt(resource, namespace, version);
  if (found === undefined) throw tooOld(after);
  const at = version ?? storage.version;
  const key = (stored: Stored): string => (namespace === "" ? keyOf(stored) : stored.name);
  const first = after === "" ? 0 : found.findIndex((stored) => key(stored) >= after);
  const rest = first < 0 ? [] : found.slice(first);
  // What may be as old as it likes comes whole.
  const limit = options.limit > 0 && options.resourceVersion !== "0" ? options.limit : rest.length;
  const items: Stored[] = [];
  let seen = 0;
  for (const stored of rest) {
    if (items.length === limit) break;
    seen++;
    if (select?.(stored.object) ?? true) items.push(stored);
  }
  const left = rest.length - seen;
  const last = items.at(-1);
  if (left === 0 || last === undefined) return { items, metadata: { resourceVersion: String(at) } };
  const metadata = {
    resourceVersion: String(at),
    continue: writeToken(at, `${key(last)}\u0000`),
    ...(select === undefined ? { remainingItemCount: left } : {}),
  };
  return { items, metadata };
}

async function startOf(options: ListOptions, storage: Storage, signal: AbortSignal): Promise<Start> {
  const { resourceVersion, match, limit } = options;
  const asked = parseVersion(resourceVersion, (why) => badRequest(`invalid resource version: ${why}`));
  if (options.continue !== "") {
    const token = readToken(options.continue);
    if (asked !== 0) throw badRequest("specifying resource version is not allowed when using continue");
    if (token.version > storage.version) throw tooLarge(token.version, storage.version);
    return { version: token.version < 0 ? undefined : token.version, after: token.after };
  }
  await waitFor(asked, storage, signal);
  const exact = match === "Exact" || (match === "" && limit > 0);
  return { version: exact && asked > 0 ? asked : undefined, after: "" };
}

const keyOf = ({ namespace, name }: Stored): string => (namespace === "" ? name : `${namespace}/${name}`);

const RESTART =
  "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter";

/** A list that was to go on may, from the newest state: the answer holds the token for that. */
function tooOld(after: string): StatusError {
  if (after === "") return expired("The resourceVersion for the provided list is too old.");
  return expired(
    `${RESTART}, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.`,
    { continue: writeToken(-1, after) },
  );
}

const TOKEN_VERSION = "meta.k8s.io/v1";

function writeToken(version: number, after: string): string {
  return Buffer.from(JSON.stringify({ v: TOKEN_VERSION, rv: version, start: after })).toString("base64url");
}

function readToken(token: string): { version: number; after: string } {
  const refuse = (why: string): StatusError => badRequest(`invalid continue token: continue key is not valid${why}`);
  const odd = token.search(/[^\w-]/);
  const short = token.length % 4 === 1 ? token.length - 1 : -1;
  if (odd >= 0 || short >= 0) throw refuse(`: illegal base64 data at input byte ${odd >= 0 ? odd : short}`);
  const text = Buffer.from(token, "base64url").toString();
  let value: { v?: unknown; rv?: unknown; start?: unknown };
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    throw refuse(`: ${goSyntaxError(text)}`);
  }
  const { v = "", rv = 0, start = "" } = value ?? {};
  if (v !== TOKEN_VERSION) throw refuse(`: server does not recognize this encoded version ${String(v)}`);
  if (typeof rv !== "number" || !Number.isInteger(rv) || rv === 0)
    throw refuse(`: incorrect encoded start resourceVersion (version ${TOKEN_VERSION})`);
  if (typeof start !== "string" || start === "") throw refuse(`: encoded start key empty (version ${TOKEN_VERSION})`);
  if (
    start
      .replace(/^\//, "")
      .split("/")
      .some((part) => ["", ".", ".."].includes(part))
  )
    throw refuse(`: ${start}`);
  return { version: rv, after: start };
}
