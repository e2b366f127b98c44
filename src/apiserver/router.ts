import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** Who asks, as authentication found it. Groups always hold `system:authenticated` or `system:unauthenticated`. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** What a request wants to do, in the words of authorization. */
export type Access =
  | { readonly kind: "path"; readonly verb: string; readonly path: string }
  | {
      readonly kind: "resource";
      readonly verb: string;
      readonly group: string;
      readonly resource: string;
      readonly subresource?: string;
      readonly namespace?: string;
      readonly name?: string;
    };

/** One request, authenticated and authorized. */
export interface ApiRequest {
  readonly method: string;
  /** The path without the query, still percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** The values of the template's `{names}`, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly user: User;
  /** Aborted when the client goes away or the server closes. */
  readonly signal: AbortSignal;
  readonly raw: IncomingMessage;
  /** The whole body, at most 3 MiB (413 beyond). */
  body(): Promise<Buffer>;
}

/** Answers a request. A thrown StatusError is answered as its Status, as long as no header has been sent. */
export type Handler = (request: ApiRequest, response: ServerResponse) => Promise<void> | void;

/**
 * Takes over the connection of a request with `Connection: Upgrade` (WebSocket, SPDY/3.1). It writes the 101 itself and
 * owns the socket from then on. Whatever it throws before it wrote is answered as a Status, and the socket is closed.
 */
export type Upgrade = (request: ApiRequest, socket: Duplex, head: Buffer) => Promise<void> | void;

/** One line of the routing table. */
export interface Route {
  readonly methods: readonly string[];
  /** `/api/v1/namespaces/{namespace}/pods/{name}/log`; a last `{rest*}` takes all that follows. */
  readonly path: string;
  /** What must be allowed; by default the path itself, with the method as verb in lower case. */
  readonly access?: (params: Readonly<Record<string, string>>, method: string) => Access;
  readonly handle: Handler;
  /** Called instead of `handle` when the request asks to upgrade. */
  readonly upgrade?: Upgrade;
}

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

interface Branch {
  readonly literals: Map<string, Branch>;
  variable?: { readonly name: string; readonly branch: Branch };
  rest?: { readonly name: string; readonly routes: Route[] };
  readonly routes: Route[];
}

const branch = (): Branch => ({ literals: new Map(), routes: [] });

/** A tree of path templates. Literal segments win over variables; a path with no route for its method is no match. */
export class Router {
  readonly #root = branch();

  add(...routes: readonly Route[]): void {
    for (const route of routes) {
      let at = this.#root;
      let rest = false;
      for (const segment of route.path.split("/").slice(1)) {
        const name = /^\{(\w+)(\*?)\}$/.exec(segment);
        if (name?.[2] === "*") {
          at.rest ??= { name: name[1] ?? "", routes: [] };
          at.rest.routes.push(route);
          rest = true;
        } else if (name === null) {
          let next = at.literals.get(segment);
          if (next === undefined) at.literals.set(segment, (next = branch()));
          at = next;
        } else {
          at.variable ??= { name: name[1] ?? "", branch: branch() };
          at = at.variable.branch;
        }
      }
      if (!rest) at.routes.push(route);
    }
  }

  /** The route of a request, or what is missing: the path, or only the method. */
  find(method: string, path: string): Match | "no path" | "no method" {
    const segments = path.split("/").slice(1);
    let known = false;
    const pick = (routes: readonly Route[], params: Record<string, string>): Match | undefined => {
      if (routes.length > 0) known = true;
      const route = routes.find((r) => r.methods.includes(method) || (method === "HEAD" && r.methods.includes("GET")));
      return route && { route, params };
    };
    const walk = (at: Branch, i: number, params: Record<string, string>): Match | undefined => {
      const segment = segments[i];
      if (segment === undefined) return pick(at.routes, params);
      const next = at.literals.get(segment);
      const literal = next && walk(next, i + 1, params);
      if (literal !== undefined) return literal;
      if (at.variable !== undefined && segment !== "") {
        const found = walk(at.variable.branch, i + 1, { ...params, [at.variable.name]: decode(segment) });
        if (found !== undefined) return found;
      }
      return at.rest && pick(at.rest.routes, { ...params, [at.rest.name]: segments.slice(i).join("/") });
    };
    return walk(this.#root, 0, {}) ?? (known ? "no method" : "no path");
  }
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
