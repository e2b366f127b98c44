import assert from "node:assert/strict";
import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { isFailure } from "#base";
import { MEDIA, digestOf, parseReference } from "#oci";
import { makeCertificates } from "../../test/support/certificates.ts";
import { collect } from "../../test/support/content.ts";
import { createRegistry, noCredentials } from "./index.ts";

test(
  "a client that is closed lets go of a server that does not answer its TLS greeting",
  { timeout: 20_000 },
  async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    try {
      const registry = createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test" });
      const abort = new AbortController();
      const asked = registry
        .source(parseReference(`127.0.0.1:${port}/x:v1`))
        .resolve(parseReference(`127.0.0.1:${port}/x:v1`), { signal: abort.signal });
      const [socket] = (await once(server, "connection")) as [Socket];
      socket.resume();
      abort.abort(new Error("enough"));
      await assert.rejects(asked, /enough/);
      const closed = once(socket, "close");
      await registry[Symbol.asyncDispose]();
      await closed;
    } finally {
      server.close();
    }
  },
);

test("a client that is closed ends what waits for an answer or a connection, and opens no more", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const host = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  let opened = 0;
  server.on("connection", (socket: Socket) => {
    opened++;
    socket.resume().on("error", () => undefined);
  });
  try {
    const options = { hosts: {}, credentials: noCredentials, userAgent: "orlop/test", connections: 1 };
    const registry = createRegistry(options);
    const source = registry.source(parseReference(`${host}/x:v1`));
    const blob = { mediaType: MEDIA.layer, digest: digestOf("blob"), size: 100 };
    const asked = [0, 1, 2].map(() => source.open(blob, { start: 0, end: 100 }));
    const ends = asked.map((one) => assert.rejects(one, (error) => isFailure(error, "CANCELLED")));
    await once(server, "connection");
    await registry[Symbol.asyncDispose]();
    await Promise.all(ends);
    await assert.rejects(source.open(blob, { start: 0, end: 100 }), (error) => isFailure(error, "CANCELLED"));
    assert.equal(opened, 1);
  } finally {
    server.close();
  }
});

test("a registry that would rather speak HTTP/2 is spoken to in HTTP/1.1, and everything comes whole", async () => {
  const bytes = Buffer.alloc(300_000, "blob");
  const versions = new Set<string>();
  const server = createSecureServer({ ...makeCertificates().leaf, allowHTTP1: true }, (request, response) => {
    versions.add(`${request.method} ${request.httpVersion}`);
    response.writeHead(200, { "content-length": String(bytes.length), "docker-content-digest": digestOf(bytes) });
    response.end(request.method === "HEAD" ? "" : bytes);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const reference = parseReference(`127.0.0.1:${typeof address === "object" ? address?.port : 0}/x:v1`);
  const registry = createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test" });
  try {
    const source = registry.source(reference);
    const blob = { mediaType: MEDIA.layer, digest: digestOf(bytes), size: bytes.length };
    assert.equal((await source.resolve(reference)).digest, blob.digest);
    const fetched = await Promise.all(Array.from({ length: 40 }, () => source.fetch(blob)));
    for (const one of fetched) assert.ok(bytes.equals(one));
    const opened = Array.from({ length: 40 }, () => source.open(blob, { start: 0, end: blob.size }));
    for (const { body } of await Promise.all(opened.slice(0, 10))) assert.ok(bytes.equals(await collect(body)));
    for (const one of opened.slice(10)) assert.ok(bytes.equals(await collect((await one).body)));
    assert.deepEqual([...versions].sort(), ["GET 1.1", "HEAD 1.1"]);
  } finally {
    await registry[Symbol.asyncDispose]();
    server.close();
  }
});

const SILENT: Readonly<Record<string, string>> = {
  "does not answer the request for a tunnel": "",
  "opens a tunnel to a server that says nothing": "HTTP/1.1 200 OK\r\n\r\n",
  "begins an answer and does not end it": "HTTP/1.1 200 O",
};
for (const [what, answer] of Object.entries(SILENT))
  test(`a client that is closed lets go of a proxy that ${what}`, { timeout: 20_000 }, async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const proxy = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
    const reference = parseReference("registry.example/x:v1");
    try {
      const proxies = { http: proxy, https: proxy };
      const registry = createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test", proxies });
      const abort = new AbortController();
      const asked = registry.source(reference).resolve(reference, { signal: abort.signal });
      const [socket] = (await once(server, "connection")) as [Socket];
      await once(socket, "data");
      socket.write(answer);
      // Of the tunnel the greeting comes next.
      if (answer.endsWith("\r\n\r\n")) await once(socket, "data");
      else socket.resume();
      abort.abort(new Error("enough"));
      await assert.rejects(asked, /enough/);
      // A reset is an end, too.
      socket.on("error", () => undefined);
      const closed = new Promise((resolve) => socket.resume().once("close", resolve));
      await registry[Symbol.asyncDispose]();
      await closed;
    } finally {
      server.close();
    }
  });
