import { request, type RequestOptions } from "node:https";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { messageOf } from "#base";
import { StatusError } from "../status.ts";
import type { KubeletAddress } from "./location.ts";

/** What the API server shows kubelets, and whom it trusts to be one. PEM; asked anew for each connection. */
export interface KubeletIdentity {
  readonly cert: string;
  readonly key: string;
  /** Who signs kubelets' certificates. Without it they are not checked, as with a kube-apiserver that is given none. */
  readonly ca?: string;
}

export type KubeletAccess = () => KubeletIdentity | Promise<KubeletIdentity>;

/** How a kubelet answered: with a response, or by handing over the connection. */
export type KubeletAnswer =
  | { readonly upgraded: false; readonly response: IncomingMessage }
  | { readonly upgraded: true; readonly response: IncomingMessage; readonly socket: Duplex; readonly head: Buffer };

/** How long a kubelet may take to answer at all. Streams last as long as they like once they are open. */
const CONNECT_TIMEOUT = 30_000;

/**
 * One request to a kubelet, over a connection of its own.
 * @throws StatusError 500 where it cannot be reached, in the words clients know
 */
export async function askKubelet(
  access: KubeletAccess,
  at: KubeletAddress,
  options: {
    readonly method: string;
    readonly path: string;
    readonly headers?: OutgoingHttpHeaders;
    readonly signal: AbortSignal;
  },
): Promise<KubeletAnswer> {
  const { cert, key, ca } = await access();
  const settings: RequestOptions = {
    ...options,
    host: at.host,
    port: at.port,
    cert,
    key,
    agent: false,
    ...(ca === undefined ? { rejectUnauthorized: false } : { ca }),
    ...(isIP(at.host) === 0 ? { servername: at.host } : {}),
  };
  return new Promise((resolve, reject) => {
    const call = request(settings);
    const late = setTimeout(
      () => call.destroy(new Error(`no answer within ${CONNECT_TIMEOUT / 1000} s`)),
      CONNECT_TIMEOUT,
    );
    call.on("response", (response) => {
      clearTimeout(late);
      resolve({ upgraded: false, response });
    });
    call.on("upgrade", (response, socket, head) => {
      clearTimeout(late);
      resolve({ upgraded: true, response, socket, head });
    });
    call.on("error", (error) => {
      clearTimeout(late);
      const where = `${isIP(at.host) === 6 ? `[${at.host}]` : at.host}:${at.port}`;
      reject(
        options.signal.aborted
          ? options.signal.reason
          : new StatusError(500, "InternalError", `error dialing backend: dial tcp ${where}: ${messageOf(error)}`),
      );
    });
    call.end();
  });
}

/** The path of a kubelet's endpoint for these names, each kept to its own segment. */
export function kubeletPath(endpoint: string, names: readonly string[], query: URLSearchParams): string {
  const search = query.toString();
  return `/${[endpoint, ...names.map(encodeURIComponent)].join("/")}${search === "" ? "" : `?${search}`}`;
}

/** The text of a response that is an error. */
export async function errorText(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    parts.push(chunk);
    length += chunk.length;
    if (length > 64 << 10) break;
  }
  return Buffer.concat(parts).toString("utf8").trim();
}
