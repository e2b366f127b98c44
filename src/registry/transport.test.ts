import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { parseReference } from "#oci";
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
