import { Counter, Gauge, Histogram, Registry } from "#wire";
import type { Resource } from "./kinds/resource.ts";
import type { ApiRequest, Match } from "./router.ts";
import type { Storage } from "./storage.ts";

export interface ApiMetrics {
  readonly contentType: string;
  text(): Promise<string>;
  observe(match: Match, request: ApiRequest, code: number, seconds: number): void;
}

/** The server's own figures, under the names kube-apiserver has for them. */
export function createMetrics(storage: Storage, resources: readonly Resource[]): ApiMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labels = ["verb", "group", "resource", "subresource", "code"] as const;
  const requests = new Counter({
    name: "apiserver_request_total",
    help: "Requests by verb, resource and HTTP status.",
    labelNames: labels,
    registers,
  });
  const durations = new Histogram({
    name: "apiserver_request_duration_seconds",
    help: "How long requests took, watches and streams left out.",
    labelNames: ["verb", "group", "resource"],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers,
  });
  const kept = new Set(resources.map((resource) => resource.storedAs));
  const stored = new Gauge({
    name: "apiserver_storage_objects",
    help: "Objects in storage by resource.",
    labelNames: ["resource"],
    registers,
    collect() {
      for (const resource of kept) stored.set({ resource }, storage.list(resource).length);
    },
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    observe(match, request, code, seconds) {
      const access = match.route.access?.(match.params, request.method);
      if (access?.kind !== "resource") return;
      const { group, resource, subresource = "" } = access;
      const watching = /^(1|true)$/i.test(request.query.get("watch") ?? "");
      const verb = access.verb === "list" && watching ? "WATCH" : access.verb.toUpperCase();
      requests.inc({ verb, group, resource, subresource, code: String(code) });
      if (verb !== "WATCH" && subresource === "") durations.observe({ verb, group, resource }, seconds);
    },
  };
}
