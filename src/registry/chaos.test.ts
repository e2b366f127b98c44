import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { digestOf, parseReference, type Descriptor, type Source } from "#oci";
import { startFakeRegistry } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials } from "./index.ts";

/** What becomes of one connection: after how many bytes of the answers it ends, how, and in what pieces they come. */
interface Fate {
  readonly after: number;
  readonly end: "reset" | "close" | "never";
  readonly piece: number;
}

const BYTES = randomBytes(1_500_000);
const fate: fc.Arbitrary<Fate> = fc.record({
  after: fc.oneof(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: BYTES.length })),
  end: fc.constantFrom("reset", "close", "never"),
  piece: fc.constantFrom(1, 100, 5000, 1_000_000),
});

/** Between client and registry: each connection meets the next fate; when they are used up, all goes well. */
async function chaosProxy(to: string, fates: Fate[]): Promise<{ readonly host: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const [, port] = to.split(":");
    const upstream = connect(Number(port), "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => (client.destroy(), upstream.destroy()));
    }
    client.pipe(upstream);
    const { after, end, piece } = fates.shift() ?? { after: 0, end: "never", piece: 1_000_000 };
    let passed = 0;
    upstream.on("data", (bytes) => {
      // One byte at a time is only worth it for the head.
      for (let at = 0; at < bytes.length;) {
        const next = bytes.subarray(at, at + (passed < 1000 ? piece : 1_000_000));
        at += next.length;
        const rest = end === "never" ? next.length : Math.min(next.length, after - passed);
        passed += next.length;
        if (rest > 0) client.write(next.subarray(0, rest));
        if (rest === next.length) continue;
        if (end === "reset") client.resetAndDestroy();
        else client.end();
        return;
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Reads on from where it broke off, as a pull does. */
async function readWhole(source: Source, blob: Descriptor): Promise<Buffer> {
  const whole = Buffer.alloc(blob.size);
  for (let have = 0, attempts = 0; have < blob.size;) {
    try {
      const { start, body, release } = await source.open(blob, { start: have, end: blob.size });
      have = start;
      for await (const piece of body) {
        whole.set(piece, have);
        have += piece.length;
        release?.(piece);
      }
    } catch (error) {
      assert.ok(isFailure(error) && error.code === "UNAVAILABLE", String(error));
      assert.ok(++attempts < 50, "too many failures");
    }
  }
  return whole;
}

test("whatever becomes of its connections, a blob arrives as it is", async () => {
  await using server = await startFakeRegistry();
  const blob = server.putBlob(BYTES);
  await fc.assert(
    fc.asyncProperty(fc.array(fate, { maxLength: 8 }), async (fates) => {
      await using proxy = await chaosProxy(server.host, [...fates]);
      await using registry = createRegistry({
        hosts: {},
        credentials: noCredentials,
        userAgent: "orlop/test",
        patience: { attempts: 3, base: 1, cap: 2 },
      });
      const whole = await readWhole(registry.source(parseReference(`${proxy.host}/x/y`)), blob);
      assert.equal(digestOf(whole), blob.digest);
    }),
    { numRuns: 25 },
  );
});
