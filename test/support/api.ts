import { startApiServer, type ApiServer, type ApiServerOptions } from "#apiserver";

/** An API server over plain HTTP, and requests to it as its administrator, or as whom a token stands for. */
export interface TestApi extends AsyncDisposable {
  readonly server: ApiServer;
  readonly request: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Answer>;
  readonly as: (token: string) => Pick<TestApi, "request">;
  /** The lines of a watch as they come. It ends when the loop over it ends. */
  readonly watch: (path: string) => AsyncGenerator<WatchLine>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, where it is JSON. */
  readonly json: Json;
}

export interface Json {
  readonly [key: string]: unknown;
  readonly kind?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
    readonly continue?: string;
    readonly remainingItemCount?: number;
    readonly managedFields?: readonly {
      readonly manager: string;
      readonly operation: string;
      readonly fieldsV1: object;
    }[];
  };
  readonly items?: readonly Json[];
}

export interface WatchLine {
  readonly type: string;
  readonly object: Json;
}

export const ADMIN = "admin-token";

export async function startTestApi(dataDir: string, options: Partial<ApiServerOptions> = {}): Promise<TestApi> {
  const bearers = new Map(options.bearers ?? []);
  bearers.set(ADMIN, { name: "admin", groups: ["system:masters"] });
  const server = await startApiServer({ ...options, dataDir, bearers });
  const requester =
    (token: string): TestApi["request"] =>
    async (method, path, body, headers = {}) => {
      const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const response = await fetch(server.url + path, {
        method,
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}`, ...headers },
        ...(text === undefined ? {} : { body: text }),
      });
      const answer = await response.text();
      const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
      const json = (isJson && !path.includes("watch=") ? JSON.parse(answer) : {}) as Json;
      return { status: response.status, headers: response.headers, text: answer, json };
    };
  return {
    server,
    request: requester(ADMIN),
    as: (token) => ({ request: requester(token) }),
    async *watch(path) {
      const ended = new AbortController();
      const response = await fetch(server.url + path, {
        headers: { Authorization: `Bearer ${ADMIN}` },
        signal: ended.signal,
      });
      let rest = "";
      try {
        for await (const chunk of response.body ?? []) {
          rest += Buffer.from(chunk as Uint8Array).toString("utf8");
          const lines = rest.split("\n");
          rest = lines.pop() ?? "";
          for (const line of lines) yield JSON.parse(line) as WatchLine;
        }
      } finally {
        ended.abort();
      }
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A Pod with an image volume. */
export function testPod(name: string, more: object = {}, labels?: Record<string, string>): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    spec: {
      containers: [{ name: "c", image: "busybox:1", volumeMounts: [{ name: "v", mountPath: "/volume" }] }],
      volumes: [{ name: "v", image: { reference: "quay.io/crio/artifact:v1" } }],
      ...more,
    },
  };
}
