import { FieldErrors } from "./field-errors.ts";
import { StatusError, badRequest } from "./status.ts";

/** What a list, a watch or a deletion of many was asked for, in its query. */
export interface ListOptions {
  readonly watch: boolean;
  /** 0 for no limit. */
  readonly limit: number;
  readonly continue: string;
  /** As it was given; "" for none. */
  readonly resourceVersion: string;
  readonly match: string;
  readonly sendInitialEvents: boolean | undefined;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number | undefined;
}

const MATCHES = ["Exact", "NotOlderThan"];

/** Reads and checks the options, in upstream's words. Throws 400 and 422. */
export function listOptions(query: URLSearchParams): ListOptions {
  const given: ListOptions = {
    watch: flag(query, "watch") ?? false,
    limit: integer(query, "limit") ?? 0,
    continue: query.get("continue") ?? "",
    resourceVersion: query.get("resourceVersion") ?? "",
    match: query.get("resourceVersionMatch") ?? "",
    sendInitialEvents: flag(query, "sendInitialEvents"),
    bookmarks: flag(query, "allowWatchBookmarks") ?? false,
    timeoutSeconds: integer(query, "timeoutSeconds"),
  };
  const errors = new FieldErrors();
  if (given.watch) checkWatch(given, errors);
  else checkList(given, errors);
  errors.check("ListOptions", "meta.k8s.io", "");
  const legacy = given.resourceVersion === "" || given.resourceVersion === "0";
  if (given.watch && legacy && given.sendInitialEvents === undefined) return { ...given, sendInitialEvents: true };
  return given;
}

function checkList(given: ListOptions, errors: FieldErrors): void {
  const { match } = given;
  const field = "resourceVersionMatch";
  if (match !== "") {
    if (given.resourceVersion === "")
      errors.forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (given.continue !== "") errors.forbidden(field, "resourceVersionMatch is forbidden when continue is provided");
    if (!MATCHES.includes(match)) errors.unsupported(field, match, [...MATCHES, ""]);
    if (match === "Exact" && given.resourceVersion === "0")
      errors.forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
  if (given.sendInitialEvents !== undefined)
    errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
}

function checkWatch(given: ListOptions, errors: FieldErrors): void {
  const { match, sendInitialEvents: initial } = given;
  const field = "resourceVersionMatch";
  if (initial !== undefined && match !== "NotOlderThan")
    errors.forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (match === "") return;
  if (initial === undefined)
    errors.forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  if (match !== "NotOlderThan") errors.unsupported(field, match, ["NotOlderThan"]);
  if (given.continue !== "") errors.forbidden(field, "resourceVersionMatch is forbidden when continue is provided");
}

/** A version as a number, 0 for none. `refuse` makes the error of what is none. */
export function parseVersion(text: string, refuse: (why: string) => StatusError): number {
  if (text === "") return 0;
  const why = goIntegerError("ParseUint", text, /^\d+$/, 2n ** 64n - 1n);
  if (why !== undefined) throw refuse(`resourceVersion: Invalid value: ${JSON.stringify(text)}: ${why}`);
  return Number(text);
}

/** Said of a version that no write has reached yet. */
export function tooLarge(asked: number, current: number): StatusError {
  return new StatusError(504, "Timeout", `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

/** Only "0" and "false" are no; what is given without a value is a yes. */
export function flag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  return value === null ? undefined : value !== "0" && value.toLowerCase() !== "false";
}

/** A number of the query. Throws 400. */
export function integer(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  const why = goIntegerError("ParseInt", value, /^[-+]?\d+$/, 2n ** 63n - 1n);
  if (why !== undefined) throw badRequest(why);
  return Number(value);
}

/** What Go's strconv says of a text that is no such number. */
function goIntegerError(parser: string, text: string, form: RegExp, most: bigint): string | undefined {
  const say = (why: string): string => `strconv.${parser}: parsing ${JSON.stringify(text)}: ${why}`;
  if (!form.test(text)) return say("invalid syntax");
  const value = BigInt(text.replace(/^\+/, ""));
  return value > most || value < -most - 1n ? say("value out of range") : undefined;
}
