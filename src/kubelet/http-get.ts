import http from "node:http";
import https from "node:https";
import { Failure, errnoOf, messageOf } from "#base";
import { addressOf, dialError } from "./go-errors.ts";
import type { AnyContainer } from "./pod.ts";

export interface HttpTarget {
  readonly host?: string;
  readonly port: unknown;
  readonly path?: string;
  readonly scheme?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
}

export interface HttpGetOptions {
  readonly container: AnyContainer;
  readonly podIp: string | undefined;
  readonly timeoutMs: number;
  /** `kube-probe`, `kube-lifecycle`: who asks, where the target's headers do not say. */
  readonly userAgent: string;
}

export interface HttpAnswer {
  readonly code: number;
  /** Up to 10 KiB. */
  readonly body: string;
}

const BODY_BYTES = 10 * 1024;
const REDIRECTS = 10;

/**
 * One GET as probes and hooks make it: certificates are not checked, and a redirect is followed as long as it stays with the
 * host; one that leaves it is the answer. @throws Failure in Go's words
 */
export async function httpGet(target: HttpTarget, options: HttpGetOptions): Promise<HttpAnswer> {
  const host = target.host || options.podIp || "";
  const port = portOf(target.port, options.container);
  const scheme = target.scheme === "HTTPS" ? "https" : "http";
  const path = target.path?.startsWith("/") ? target.path : `/${target.path ?? ""}`;
  const headers: Record<string, string> = { "user-agent": `${options.userAgent}/1.36`, accept: "*/*" };
  for (const { name, value } of target.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  if (headers.accept === "") delete headers.accept;

  let url = new URL(path, `${scheme}://${addressOf(host, port)}`);
  const { hostname } = url;
  const written = `${scheme}://${addressOf(host, port)}${path}`;
  const fail = (why: string): never => {
    throw new Failure("UNAVAILABLE", "HTTP_FAILED", `Get ${JSON.stringify(written)}: ${why}`);
  };
  const deadline = AbortSignal.timeout(options.timeoutMs);
  for (let redirects = 0; ; redirects++) {
    try {
      const { location, ...answer } = await get(url, headers, deadline);
      const next = location === undefined ? undefined : new URL(location, url);
      if (next?.hostname !== hostname) return answer;
      url = next;
    } catch (error) {
      if (deadline.aborted) fail("context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
      if (errnoOf(error) === "ECONNRESET" && messageOf(error) === "socket hang up") fail("EOF");
      fail(dialError(error, host, Number(url.port) || (url.protocol === "https:" ? 443 : 80)));
    }
    if (redirects === REDIRECTS - 1) fail(`stopped after ${REDIRECTS} redirects`);
  }
}

function get(
  url: URL,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<HttpAnswer & { readonly location?: string | undefined }> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(
      url,
      { headers, agent: false, rejectUnauthorized: false, signal },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        const code = response.statusCode ?? 0;
        const isRedirect = [301, 302, 303, 307, 308].includes(code);
        const finish = (): void => {
          const body = Buffer.concat(chunks).subarray(0, BODY_BYTES).toString("utf8");
          resolve({ code, body, location: isRedirect ? response.headers.location : undefined });
        };
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size < BODY_BYTES) return;
          finish();
          request.destroy();
        });
        response.on("end", finish);
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end();
  });
}

/** A port's number, or that of the container's port with this name. @throws Failure NO_PORT */
export function portOf(port: unknown, container: AnyContainer): number {
  const number = Number(port);
  if (Number.isInteger(number)) return number;
  const named = container.ports?.find(({ name }) => name === port);
  if (named) return named.containerPort;
  throw new Failure("NOT_FOUND", "NO_PORT", `couldn't find port: ${String(port)} in container ${container.name}`);
}
