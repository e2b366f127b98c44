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
      /** The field selector of a list, a watch or a deletion of many. */
      readonly fieldSelector?: string;
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

/** A route and the names of its variables, in the order of the path. */
interface Entry {
  readonly route: Route;
  readonly names: readonly string[];
}

interface Branch {
  readonly literals: Map<string, Branch>;
  variable?: Branch;
  readonly rest: Entry[];
  readonly entries: Entry[];
}

const branch = (): Branch => ({ literals: new Map(), rest: [], entries: [] });

/** A tree of path templates. Literal segments win over variables; a path with no route for its method is no match. */
export class Router {
  readonly #root = branch();

  add(...routes: readonly Route[]): void {
    for (const route of routes) {
      const names: string[] = [];
      let at = this.#root;
      let rest = false;
      for (const segment of route.path.split("/").slice(1)) {
        const name = /^\{(\w+)(\*?)\}$/.exec(segment);
        if (name !== null) names.push(name[1] ?? "");
        if (name?.[2] === "*") rest = true;
        else if (name !== null) at = at.variable ??= branch();
        else {
          let next = at.literals.get(segment);
          if (next === undefined) at.literals.set(segment, (next = branch()));
          at = next;
        }
      }
      (rest ? at.rest : at.entries).push({ route, names });
    }
  }

  /** The route of a request, or what is missing: the path, or only the method. */
  find(method: string, path: string): Match | "no path" | "no method" {
    const segments = path.split("/").slice(1);
    let known = false;
    const pick = (entries: readonly Entry[], values: readonly string[]): Match | undefined => {
      if (entries.length > 0) known = true;
      const entry = entries.find(
        ({ route: { methods } }) => methods.includes(method) || (method === "HEAD" && methods.includes("GET")),
      );
      if (entry === undefined) return undefined;
      return { route: entry.route, params: Object.fromEntries(entry.names.map((name, i) => [name, values[i] ?? ""])) };
    };
    const walk = (at: Branch, i: number, values: readonly string[]): Match | undefined => {
      const segment = segments[i];
      if (segment === undefined) return pick(at.entries, values);
      const next = at.literals.get(segment);
      const literal = next && walk(next, i + 1, values);
      if (literal !== undefined) return literal;
      if (at.variable !== undefined && segment !== "") {
        const found = walk(at.variable, i + 1, [...values, decode(segment)]);
        if (found !== undefined) return found;
      }
      return pick(at.rest, [...values, segments.slice(i).join("/")]);
    };
    return walk(this.#root, 0, []) ?? (known ? "no method" : "no path");
  }
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
