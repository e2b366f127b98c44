import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { Failure, isFailure, type Progress } from "#base";
import { startEngine } from "../support/engine.ts";
import { fail, reply, startFakeRegistry, type FakeRegistry } from "../support/fake-registry.ts";

const BLOB = randomBytes(20 * 1024 * 1024 + 77);
const PATIENCE = { delay: 100, stall: 300 };

/** What one request for the blob asks for, and how to answer it. */
interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly start: number;
  readonly end: number;
  /** Counts the requests for the blob, from 0. */
  readonly nth: number;
}

/** A registry whose only layer is served by `serve`; what it does not answer (false) is answered as it should be. */
async function startFaulty(serve: (asked: Asked) => boolean): Promise<FakeRegistry> {
  const registry = await startFakeRegistry();
  const layer = registry.putBlob(BLOB);
  registry.putManifest("x", "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers: [{ ...layer, annotations: { "org.opencontainers.image.title": "model" } }],
  });
  let nth = 0;
  registry.intercepts.push((request, response) => {
    if (request.method !== "GET" || request.url?.endsWith(layer.digest) !== true) return false;
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [start, end] = range === null ? [0, BLOB.length] : [Number(range[1]), Number(range[2]) + 1];
    return serve({ request, response, start, end, nth: nth++ });
  });
  return registry;
}

function begin({ response, start, end }: Asked, length = end - start): void {
  response.writeHead(206, {
    "content-range": `bytes ${start}-${end - 1}/${BLOB.length}`,
    "content-length": String(length),
  });
}

const SURVIVED: Readonly<Record<string, (asked: Asked) => boolean>> = {
  "resets every connection after 5 MB": (asked) => {
    if (asked.end - asked.start < 5e6) return false;
    begin(asked);
    asked.response.write(BLOB.subarray(asked.start, asked.start + 5e6), () => asked.response.destroy());
    return true;
  },
  "stalls on the first connections": (asked) => {
    if (asked.nth > 1) return false;
    begin(asked);
    asked.response.write(BLOB.subarray(asked.start, asked.start + 1e6));
    return true;
  },
  "ends too early without saying so": (asked) => {
    if (asked.nth > 3) return false;
    asked.response.writeHead(206, { "content-range": `bytes ${asked.start}-${asked.end - 1}/${BLOB.length}` });
    asked.response.end(BLOB.subarray(asked.start, asked.end - 1000));
    return true;
  },
  "ignores ranges": (asked) => {
    reply(asked.response, 200, BLOB);
    return true;
  },
  "ignores ranges and breaks off in the middle, twice": (asked) => {
    if (asked.nth > 5) reply(asked.response, 200, BLOB);
    else {
      asked.response.writeHead(200, { "content-length": String(BLOB.length) });
      asked.response.write(BLOB.subarray(0, 9e6), () => asked.response.destroy());
    }
    return true;
  },
  "resets the first connections and ignores ranges on the others": (asked) => {
    if (asked.nth < 3) asked.response.destroy();
    else reply(asked.response, 200, BLOB);
    return true;
  },
  "sends another range than was asked for, once": (asked) => {
    if (asked.nth !== 1) return false;
    begin({ ...asked, start: asked.start + 512 });
    asked.response.end(BLOB.subarray(asked.start + 512, asked.end));
    return true;
  },
  "answers 416 and 500 now and then": (asked) => {
    if (asked.nth === 0) fail(asked.response, 416, "RANGE_INVALID");
    else if (asked.nth === 2) fail(asked.response, 500, "UNKNOWN");
    else return false;
    return true;
  },
  "has changed the blob between two parts, and is right at the second try": (asked) => {
    if (asked.nth > 2 || asked.start === 0) return false;
    begin(asked);
    asked.response.end(Buffer.alloc(asked.end - asked.start, 1));
    return true;
  },
};

for (const [fault, serve] of Object.entries(SURVIVED)) {
  test(`survived: a registry that ${fault}`, { timeout: 60_000 }, async () => {
    await using registry = await startFaulty(serve);
    await using node = await startEngine({ patience: PATIENCE });
    const { digest } = await node.engine.pull({ reference: `${registry.host}/x:v1` });
    const target = join(node.dir, "volume");
    mkdirSync(target);
    await node.engine.publish({ owner: "test", digest, target });
    assert.ok(readFileSync(join(target, "model")).equals(BLOB));
    assert.deepEqual(readdirSync(join(node.dir, "data/v1/ingests")), []);
    await node.engine.unpublish("test");
  });
}

test("a registry that wants to be left alone for longer than a connection may be silent is waited for", async () => {
  await using registry = await startFaulty(({ response, nth }) => {
    if (nth < 3) fail(response, 429, "TOOMANYREQUESTS", { "retry-after": "1" });
    return nth < 3;
  });
  await using node = await startEngine({ patience: { attempts: 1, delay: 1, stall: 200 } });
  const waits: number[] = [];
  const onProgress = ({ waitsUntil }: Progress) => waitsUntil !== undefined && waits.push(waitsUntil - Date.now());
  await node.engine.pull({ reference: `${registry.host}/x:v1` }, { onProgress });
  assert.equal(waits.length, 3, "it is told that nothing comes for a while");
  for (const wait of waits) assert.ok(wait > 500, String(wait));
});

test("a registry that wants to be left alone for an hour is not waited for, and not asked again", async () => {
  await using registry = await startFaulty(({ response }) => {
    fail(response, 429, "TOOMANYREQUESTS", { "retry-after": "3600" });
    return true;
  });
  await using node = await startEngine({ patience: PATIENCE });
  await assert.rejects(
    node.engine.pull({ reference: `${registry.host}/x:v1` }),
    (error) => isFailure(error, "RETRY_LATER") && /asked again in 3600 s/.test(error.message),
  );
  // One for each of the connections that a pull begins with.
  assert.ok(registry.requests.filter(({ headers }) => headers.range !== undefined).length <= 4);
});

const REFUSED: Readonly<Record<string, { readonly reason: string; readonly serve: (asked: Asked) => boolean }>> = {
  "sends wrong bytes": {
    reason: "DIGEST_MISMATCH",
    serve: (asked) => {
      begin(asked);
      asked.response.end(Buffer.alloc(asked.end - asked.start, 1));
      return true;
    },
  },
  "sends more than the blob has": {
    reason: "SIZE_MISMATCH",
    serve: (asked) => {
      reply(asked.response, 200, Buffer.concat([BLOB, BLOB.subarray(0, 100)]));
      return true;
    },
  },
  "resets every connection at once": {
    reason: "",
    serve: (asked) => {
      asked.response.destroy();
      return true;
    },
  },
  "never sends a byte": {
    reason: "STALLED",
    serve: (asked) => {
      begin(asked);
      asked.response.flushHeaders();
      return true;
    },
  },
};

for (const [fault, { reason, serve }] of Object.entries(REFUSED)) {
  test(`refused: a registry that ${fault}`, { timeout: 60_000 }, async () => {
    await using registry = await startFaulty(serve);
    await using node = await startEngine({ patience: PATIENCE });
    await assert.rejects(node.engine.pull({ reference: `${registry.host}/x:v1` }), (error) => {
      assert.ok(error instanceof Failure, String(error));
      if (reason !== "") assert.equal(error.reason, reason);
      assert.match(error.message, new RegExp(registry.host.replaceAll(".", "\\.")));
      assert.match(error.message, /sha256:[0-9a-f]{64}/);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
    assert.deepEqual(readdirSync(join(node.dir, "data/v1/blobs/sha256")), [], "wrong bytes never become visible");
    assert.deepEqual(await node.engine.list(), []);
    assert.deepEqual(readdirSync(join(node.dir, "data/v1/snapshots")), []);
    // Whatever was left for another attempt goes when it is asked to.
    await node.engine.prune();
    assert.deepEqual(readdirSync(join(node.dir, "data/v1/ingests")), []);
  });
}
