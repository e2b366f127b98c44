// A registry that is far away: each answer begins 50 ms after its request, and each connection gets 20 MB/s.
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { startFakeRegistry, type FakeRegistry } from "../test/support/fake-registry.ts";

const DELAY = 50;
const RATE = 20_000_000;
const SLICE = 25;

export interface Distant extends AsyncDisposable {
  readonly reference: string;
  readonly blobUrl: string;
  readonly size: number;
}

/** One raw blob of so many bytes as an artifact, in a registry that is far away. */
export async function startDistantRegistry(size: number): Promise<Distant> {
  const registry: FakeRegistry = await startFakeRegistry();
  const bytes = randomBytes(size);
  const layer = registry.putBlob(bytes);
  registry.putManifest("far", "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers: [{ ...layer, annotations: { "org.opencontainers.image.title": "model" } }],
  });
  registry.intercepts.push(async (request, response) => {
    await sleep(DELAY);
    if (request.method !== "GET" || request.url?.endsWith(layer.digest) !== true) return false;
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [start, end] = range === null ? [0, size] : [Number(range[1]), Number(range[2]) + 1];
    const headers = { "content-length": String(end - start), "accept-ranges": "bytes" };
    if (range === null) response.writeHead(200, headers);
    else response.writeHead(206, { ...headers, "content-range": `bytes ${start}-${end - 1}/${size}` });
    await slowly(response, bytes.subarray(start, end));
    return true;
  });
  return {
    reference: `${registry.host}/far:v1`,
    blobUrl: `${registry.url}/v2/far/blobs/${layer.digest}`,
    size,
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

async function slowly(response: ServerResponse, bytes: Buffer): Promise<void> {
  const begun = performance.now();
  for (let at = 0; at < bytes.length && !response.destroyed;) {
    const due = Math.min(bytes.length, Math.floor(((performance.now() - begun + SLICE) * RATE) / 1000));
    if (due > at) response.write(bytes.subarray(at, due));
    at = Math.max(at, due);
    await sleep(SLICE);
  }
  response.end();
}
