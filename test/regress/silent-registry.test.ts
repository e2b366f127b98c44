// A registry that falls silent once ended the process: a connection that was added late failed before anybody listened.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { isFailure } from "#base";
import { digestOf } from "#oci";
import { startEngine } from "../support/engine.ts";
import { startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";

const PART = 8 * 1024 * 1024;
const BLOB = Buffer.alloc(20 * PART);
const DIGEST = digestOf(BLOB);
/** So many requests for the blob are answered; those that follow hear nothing more. */
const ANSWERED = [0, 4, 11];

type Silence = (request: IncomingMessage, response: ServerResponse) => void;
const SILENCES: Readonly<Record<string, Silence>> = {
  "before the head": () => {},
  "in the head": (_, response) => response.socket?.write("HTTP/1.1 206 Partial Content\r\ncontent-len"),
  "behind the head": (request, response) => void begin(request, response),
  "in the body": (request, response) => response.write(BLOB.subarray(0, begin(request, response) / 3)),
  "in a body without a length": (request, response) => {
    const [start, end] = rangeOf(request);
    response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${BLOB.length}` });
    response.write(BLOB.subarray(0, 100_000));
  },
};

for (const [where, silence] of Object.entries(SILENCES)) {
  test(`a pull from a registry that falls silent ${where} fails, and ends nothing else`, async () => {
    for (const answered of ANSWERED) {
      await using registry = await startSilent(answered, silence);
      await using node = await startEngine({ patience: { attempts: 2, delay: 1, stall: 60 } });
      await assert.rejects(node.engine.pull({ reference: `${registry.host}/x:v1` }), (error) =>
        isFailure(error, "STALLED", "CONNECTION_LOST", "REGISTRY_UNAVAILABLE"),
      );
      // Errors that nobody noticed are reported after this turn.
      await turn();
    }
  });

  test(`SIGTERM ends a pull from a registry that fell silent ${where}`, async () => {
    for (const answered of ANSWERED.slice(1)) {
      const fallen = Promise.withResolvers<void>();
      await using registry = await startSilent(answered, (request, response) => {
        silence(request, response);
        fallen.resolve();
      });
      const dir = mkdtempSync(join(tmpdir(), "orlop-silent-"));
      try {
        const places = ["--data-dir", join(dir, "data"), "--run-dir", join(dir, "run"), "--certs-dir", dir];
        const bin = join(import.meta.dirname, "../../bin/orlop");
        const child = spawn(bin, ["pull", ...places, `${registry.host}/x:v1`], { stdio: ["ignore", "ignore", "pipe"] });
        let said = "";
        child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
        const exited = once(child, "close");
        await fallen.promise;
        child.kill("SIGTERM");
        const [code] = (await exited) as [number | null];
        const kept = "orlop: interrupted: what was fetched stays, and the next pull goes on there\n";
        assert.deepEqual({ code, said }, { code: 130, said: kept });
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }
  });
}

/** A registry with one large blob, which answers so many requests for it and is silent in all others. */
async function startSilent(answered: number, silence: Silence): Promise<FakeRegistry> {
  const registry = await startFakeRegistry();
  registry.blobs.set(DIGEST, BLOB);
  const layer = { mediaType: "application/octet-stream", digest: DIGEST, size: BLOB.length };
  registry.putManifest("x", "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers: [{ ...layer, annotations: { "org.opencontainers.image.title": "model" } }],
  });
  let nth = 0;
  registry.intercepts.push((request, response) => {
    if (request.method !== "GET" || request.url?.endsWith(DIGEST) !== true || nth++ < answered) return false;
    silence(request, response);
    return true;
  });
  return registry;
}

/** Sends the head of what was asked for, and says how many bytes should follow. */
function begin(request: IncomingMessage, response: ServerResponse): number {
  const [start, end] = rangeOf(request);
  const headers = { "content-range": `bytes ${start}-${end - 1}/${BLOB.length}`, "content-length": end - start };
  response.writeHead(206, headers).flushHeaders();
  return end - start;
}

function rangeOf({ headers }: IncomingMessage): readonly [number, number] {
  const [, start = "0", last = BLOB.length - 1] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
  return [Number(start), Number(last) + 1];
}
