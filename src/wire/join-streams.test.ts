import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { joinStreams } from "./join-streams.ts";

/** A client and a server whose connections meet in the middle. */
async function line(
  t: TestContext,
  signal?: AbortSignal,
): Promise<{ client: Socket; server: Socket; done: Promise<void> }> {
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
  return { client, server, done: joinStreams(near, far, signal) };
}

test("each direction ends for itself", async (t) => {
  const { client, server, done } = await line(t);
  client.end("question");
  assert.equal(String(await buffer(server)), "question");
  server.end("answer");
  assert.equal(String(await buffer(client)), "answer");
  await done;
});

test("a side that sends much, ends and closes is heard to the end by a slow other side", async (t) => {
  const { client, server, done } = await line(t);
  client.pause();
  server.write(Buffer.alloc(20 << 20));
  server.destroySoon();
  assert.equal((await buffer(client)).length, 20 << 20);
  client.end();
  await done;
});

test("a side that breaks, or an abort, closes both", async (t) => {
  const broken = await line(t);
  const closed = once(broken.server, "close");
  broken.server.resume().once("end", () => broken.server.end());
  broken.client.resetAndDestroy();
  await Promise.all([broken.done, closed]);
  const left = new AbortController();
  const aborted = await line(t, left.signal);
  const both = [aborted.client, aborted.server].map((socket) => {
    socket.resume().once("end", () => socket.end());
    return once(socket, "close");
  });
  left.abort();
  await Promise.all([aborted.done, ...both]);
});
