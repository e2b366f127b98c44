import { errnoOf, Failure, messageOf } from "#base";

/** What undici and Node.js call their errors, in the words that container tools have taught their users. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  ETIMEDOUT: "i/o timeout",
  UND_ERR_CONNECT_TIMEOUT: "i/o timeout",
  ECONNRESET: "connection reset by peer",
  EPIPE: "broken pipe",
  UND_ERR_SOCKET: "the connection was closed by the other side",
  UND_ERR_HEADERS_TIMEOUT: "timeout awaiting response headers",
  UND_ERR_BODY_TIMEOUT: "no bytes came for too long",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "the answer ended before its Content-Length",
  ENOTFOUND: "no such host",
  EAI_AGAIN: "temporary failure in name resolution",
};
const NOT_TLS = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "EPROTO"]);
const DIALLING = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "UND_ERR_CONNECT_TIMEOUT"]);
const NAMING = new Set(["ENOTFOUND", "EAI_AGAIN"]);
const CERTIFICATE = /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

/** True where the server answered our TLS greeting in something else. */
export function isNotTls(error: unknown): boolean {
  return NOT_TLS.has(errnoOf(innermost(error)) ?? "");
}

/** True where no connection came about, so that asking again at once is of no use. */
export function isUnreachable(error: unknown): boolean {
  const code = errnoOf(innermost(error)) ?? "";
  return DIALLING.has(code) || NAMING.has(code);
}

/** A request that got no answer, or none that ended. Certificates that do not hold are no matter of waiting. Failures pass. */
export function networkFailure(method: string, url: URL, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const cause = innermost(error);
  const code = errnoOf(cause) ?? "";
  const verb = method.charAt(0) + method.slice(1).toLowerCase();
  const options = { cause: error };
  if (CERTIFICATE.test(code)) {
    // Node.js' own advice is for its own users.
    const [what] = messageOf(cause).split("; if the root CA");
    const why = `tls: failed to verify certificate: ${what} (${code}); give the registry's CA in hosts.toml, or skip_verify = true`;
    return new Failure("FAILED_PRECONDITION", "CERTIFICATE_INVALID", `${request(verb, url)}: ${why}`, options);
  }
  return new Failure(
    "UNAVAILABLE",
    "REGISTRY_UNAVAILABLE",
    `${request(verb, url)}: ${words(cause, code, url)}`,
    options,
  );
}

/** A URL without what may be secret in it: no user, and of the query only the namespace. */
export function plainUrl(url: URL): string {
  const namespace = url.searchParams.get("ns");
  return `${url.protocol}//${url.host}${url.pathname}${namespace === null ? "" : `?ns=${encodeURIComponent(namespace)}`}`;
}

function request(verb: string, url: URL): string {
  return `failed to do request: ${verb} "${plainUrl(url)}"`;
}

function words(cause: unknown, code: string, url: URL): string {
  if (isNotTls(cause)) return "http: server gave HTTP response to HTTPS client";
  const text = WORDS[code] ?? messageOf(cause);
  if (NAMING.has(code)) return `dial tcp: lookup ${url.hostname}: ${text}`;
  if (!DIALLING.has(code)) return text;
  const { address, port } = cause as { address?: string; port?: number };
  const fallback = url.port === "" ? (url.protocol === "http:" ? 80 : 443) : url.port;
  const host = address ?? url.hostname;
  return `dial tcp ${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port ?? fallback}: ${text}`;
}

/** Node.js tries a name's addresses one by one and wraps what each said; undici wraps again. */
function innermost(error: unknown): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return innermost(error.errors[0]);
  const code = errnoOf(error);
  if (error instanceof Error && error.cause !== undefined && (code === undefined || code === "UND_ERR_SOCKET"))
    return innermost(error.cause);
  return error;
}
