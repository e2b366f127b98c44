import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { joinStreams } from "./join-streams.ts";

/** A client and a server whose connections meet in the middle. */
async function line(t: TestContext): Promise<{ client: Socket; near: Socket; server: Socket; far: Socket }> {
  const ends = async (): Promise<[Socket, Socket]> => {
    const listener = createServer({ allowHalfOpen: true });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    const outer = connect({ port: (listener.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
    const [inner] = (await once(listener, "connection")) as [Socket];
    listener.close();
    t.after(() => outer.destroy());
    return [outer, inner];
  };
  const [client, near] = await ends();
  const [server, far] = await ends();
  for (const socket of [client, server]) socket.on("error", () => {});
  return { client, near, server, far };
}

async function joined(
  t: TestContext,
  signal?: AbortSignal,
): Promise<{ client: Socket; server: Socket; done: Promise<void> }> {
  const { client, near, server, far } = await line(t);
  return { client, server, done: joinStreams(near, far, signal) };
}

test("each direction ends for itself", async (t) => {
  const { client, server, done } = await joined(t);
  client.end("question");
  assert.equal(String(await buffer(server)), "question");
  server.end("answer");
  assert.equal(String(await buffer(client)), "answer");
  await done;
});

test("a side that sends much, ends and closes is heard to the end by a slow other side", async (t) => {
  const { client, server, done } = await joined(t);
  client.pause();
  server.write(Buffer.alloc(20 << 20));
  server.destroySoon();
  assert.equal((await buffer(client)).length, 20 << 20);
  client.end();
  await done;
});

test("a slow client that keeps talking hears to its end a server that does not listen any more", async (t) => {
  const SIZE = 24 << 20;
  const { client, near } = await line(t);
  let left = SIZE;
  const far = new Duplex({
    read() {
      const length = Math.min(left, 64 << 10);
      left -= length;
      this.push(length === 0 ? null : Buffer.alloc(length));
    },
    write: (_chunk, _encoding, done) => done(new Error("write EPIPE")),
  });
  const done = joinStreams(near, far);
  let size = 0;
  for await (const chunk of client as AsyncIterable<Buffer>) {
    size += chunk.length;
    client.write("still here");
    await new Promise(setImmediate);
  }
  assert.equal(size, SIZE);
  client.end();
  await done;
});

test("a side that breaks, or an abort, closes both", async (t) => {
  const broken = await joined(t);
  const closed = once(broken.server, "close");
  broken.server.resume().once("end", () => broken.server.end());
  broken.client.resetAndDestroy();
  await Promise.all([broken.done, closed]);
  const left = new AbortController();
  const aborted = await joined(t, left.signal);
  const both = [aborted.client, aborted.server].map((socket) => {
    socket.resume().once("end", () => socket.end());
    return once(socket, "close");
  });
  left.abort();
  await Promise.all([aborted.done, ...both]);
});
