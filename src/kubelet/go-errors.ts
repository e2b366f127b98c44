import { errnoOf, messageOf } from "#base";

/** `host:port`, with an IPv6 address in brackets. */
export const addressOf = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

const ERRNOS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by peer",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  ETIMEDOUT: "connection timed out",
};

/** Why a connection was not made, in the words of Go's net package: those that Kubernetes' users know and search for. */
export function dialError(error: unknown, host: string, port: number): string {
  const errno = errnoOf(error) ?? "";
  if (errno === "ENOTFOUND" || errno === "EAI_AGAIN") return `dial tcp: lookup ${host}: no such host`;
  const why = ERRNOS[errno];
  return why === undefined ? messageOf(error) : `dial tcp ${addressOf(host, port)}: connect: ${why}`;
}
