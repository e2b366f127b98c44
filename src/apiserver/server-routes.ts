import type { ServerResponse } from "node:http";
import type { ApiMetrics } from "./metrics.ts";
import { sendJson, sendPlain } from "./respond.ts";
import type { ApiRequest, Route } from "./router.ts";

const PROBES = ["/healthz", "/livez", "/readyz"];

/** What the server says of itself: its version, that it lives, and its metrics. */
export function serverRoutes(version: object, metrics: ApiMetrics): Route[] {
  const probe = (path: string): Route => ({
    methods: ["GET"],
    path,
    handle: ({ query }, response) => {
      const isLong = query.has("verbose") && PROBES.includes(path);
      sendPlain(response, 200, isLong ? `[+]ping ok\n${path.slice(1)} check passed\n` : "ok");
    },
  });
  const tell = async (_request: ApiRequest, response: ServerResponse): Promise<void> => {
    response.writeHead(200, { "Content-Type": metrics.contentType });
    response.end(await metrics.text());
  };
  return [
    { methods: ["GET"], path: "/version", handle: (request, response) => sendJson(request, response, 200, version) },
    { methods: ["GET"], path: "/metrics", handle: tell },
    ...PROBES.flatMap((path) => [probe(path), probe(`${path}/ping`)]),
  ];
}
