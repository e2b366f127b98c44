import { Failure, type Code } from "#base";
import { plainUrl } from "./network-failure.ts";
import { RETRY_AFTER_LIMIT, retryAfter } from "./patience.ts";
import type { WireResponse } from "./wire-response.ts";

/** More of an error body than this is never read. Bytes. */
const BODY_LIMIT = 8 * 1024;
/** More of it than this is never quoted. Characters. */
const QUOTE_LIMIT = 200;

const CODE: Readonly<Record<number, readonly [Code, string]>> = {
  400: ["INVALID_ARGUMENT", "BAD_REQUEST"],
  401: ["UNAUTHENTICATED", "UNAUTHORIZED"],
  403: ["PERMISSION_DENIED", "DENIED"],
  404: ["NOT_FOUND", "NOT_FOUND"],
  405: ["UNIMPLEMENTED", "UNSUPPORTED"],
  413: ["RESOURCE_EXHAUSTED", "TOO_LARGE"],
  416: ["OUT_OF_RANGE", "RANGE_NOT_SATISFIABLE"],
  429: ["RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS"],
};

/**
 * An answer that is not the one asked for, as a Failure: the status, and what the registry says about it, cut short and
 * without the secrets given. Reads the body to its end or drops it.
 *
 * `notFound` names what a 404 is about: its reason word and its message.
 */
export async function statusFailure(
  method: string,
  url: URL,
  response: WireResponse,
  options: {
    readonly secrets?: readonly string[];
    readonly notFound?: { readonly reason: string; readonly message: string };
    /** Credentials that were tried in vain. */
    readonly refused?: number;
  } = {},
): Promise<Failure> {
  const { statusCode: status } = response;
  const said = redact(quote(await readSome(response)), options.secrets ?? []);
  const [code, reason] =
    CODE[status] ?? (status >= 500 ? ["UNAVAILABLE", "REGISTRY_UNAVAILABLE"] : ["UNKNOWN", "UNEXPECTED_STATUS"]);
  if (status === 404 && options.notFound !== undefined)
    return new Failure("NOT_FOUND", options.notFound.reason, options.notFound.message);
  const server = said === "" ? "" : `: server message: ${said}`;
  if (status === 401 || status === 403) {
    const asked = method === "GET" || method === "HEAD" ? "pull" : "push";
    const why = `${asked} access denied, repository does not exist or may require authorization${server}`;
    const { refused = 0 } = options;
    const tried = refused === 0 ? "no credentials were found for it" : "the credentials for it were refused";
    return new Failure(code, reason, `${url.host}: ${why} (${status} from ${method} ${plainUrl(url)}; ${tried})`);
  }
  const what = `unexpected status from ${method} request to ${plainUrl(url)}: ${status}`;
  const later = retryAfter(response.headers["retry-after"]) ?? 0;
  if (later > RETRY_AFTER_LIMIT)
    return new Failure(
      code,
      "RETRY_LATER",
      `${what}${server}; it wants to be asked again in ${Math.ceil(later / 1000)} s`,
    );
  return new Failure(code, reason, `${what}${server}`);
}

/** The first bytes of a body; the rest is dropped together with its connection. */
async function readSome(response: WireResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= BODY_LIMIT) break;
    }
  } catch {
    // The status is what counts; a body that breaks off takes nothing from it.
  }
  return Buffer.concat(chunks).toString("utf8", 0, BODY_LIMIT);
}

/** Of the error form of distribution-spec ("Error Codes") the codes and messages; other bodies (pages of proxies) say nothing. */
function quote(body: string): string {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return "";
  }
  const { errors, details, message } = (json ?? {}) as { errors?: unknown; details?: unknown; message?: unknown };
  if (!Array.isArray(errors)) return [details, message].find((text) => typeof text === "string") ?? "";
  return errors
    .map((error: unknown) => {
      const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
      return [code, message].filter((text) => typeof text === "string" && text !== "").join(": ");
    })
    .join(", ");
}

function redact(text: string, secrets: readonly string[]): string {
  const plain = secrets
    .filter((secret) => secret !== "")
    .reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text)
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, "$1 [secret]")
    .replace(/\?\S+/g, "?[query]")
    // eslint-disable-next-line no-control-regex
    .replace(/[\x00-\x1f\x7f-\x9f]+/g, " ")
    .trim();
  return plain.length > QUOTE_LIMIT ? `${plain.slice(0, QUOTE_LIMIT)}…` : plain;
}
