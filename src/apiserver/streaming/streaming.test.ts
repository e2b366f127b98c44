import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { WebSocket } from "ws";
import { silent } from "#base";
import type { KubeObject } from "#k8s";
import { SpdyConnection, type SpdyStream } from "#wire";
import type { ApiHost } from "../ports.ts";
import { Router, type ApiRequest } from "../router.ts";
import { core, notFound, statusOf } from "../status.ts";
import { streamingRoutes } from "./index.ts";
import { startFakeKubelet, type FakeKubelet, type FakeKubeletPlan } from "./testing/fake-kubelet.ts";

const SUCCESS = JSON.stringify({ metadata: {}, status: "Success" });
const EXEC = "/api/v1/namespaces/default/pods/one/exec";

interface Stage {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  readonly kubelet: FakeKubelet;
}

/** The routes on a plain HTTP server, with two Pods on a node whose kubelet is a fake. */
async function stage(t: TestContext, plan: FakeKubeletPlan, closing?: AbortSignal): Promise<Stage> {
  const directory = await mkdtemp(join(tmpdir(), "orlop-apiserver-streaming-"));
  t.after(() => rm(directory, { recursive: true }));
  const kubelet = await startFakeKubelet(directory, plan);
  t.after(() => kubelet[Symbol.asyncDispose]());
  const pod = (name: string, nodeName: string | undefined, ...containers: string[]): KubeObject =>
    ({
      metadata: { name },
      spec: {
        ...(nodeName === undefined ? {} : { nodeName }),
        containers: containers.map((one) => ({ name: one })),
        initContainers: [{ name: "setup" }],
      },
    }) as KubeObject;
  const node = {
    status: {
      addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
      daemonEndpoints: { kubeletEndpoint: { Port: kubelet.port } },
    },
  };
  const objects: Record<string, KubeObject> = {
    "pods/one": pod("one", "n", "c"),
    "pods/two": pod("two", "n", "a", "b"),
    "pods/new": pod("new", undefined, "c"),
    "nodes/n": node as KubeObject,
  };
  const host: ApiHost = {
    log: silent,
    get: ((resource: string, _namespace: string, name: string) => {
      const found = objects[`${resource}/${name}`];
      if (found === undefined) throw notFound(core(resource), name);
      return found;
    }) as ApiHost["get"],
  };
  const router = new Router();
  const identity = await kubelet.pki.clientCertificate({ commonName: "apiserver" });
  router.add(...streamingRoutes(host, () => ({ ...identity, ca: kubelet.pki.ca })));
  const match = (raw: IncomingMessage): { request: ApiRequest; route: ReturnType<Router["find"]> } => {
    const url = new URL(raw.url ?? "/", "http://x");
    const route = router.find(raw.method ?? "GET", url.pathname);
    const params = typeof route === "string" ? {} : route.params;
    const left = new AbortController();
    raw.socket.once("close", () => left.abort());
    const request = {
      method: raw.method,
      path: url.pathname,
      query: url.searchParams,
      params,
      raw,
      signal: closing === undefined ? left.signal : AbortSignal.any([left.signal, closing]),
    };
    return { request: request as unknown as ApiRequest, route };
  };
  const server = createServer((raw, response) => {
    const { request, route } = match(raw);
    assert.ok(typeof route !== "string");
    (async () => route.route.handle(request, response))().catch((error: unknown) => {
      response.writeHead(statusOf(error).code).end(JSON.stringify(statusOf(error)));
    });
  });
  server.on("upgrade", (raw: IncomingMessage, socket: Duplex, head: Buffer) => {
    const { request, route } = match(raw);
    assert.ok(typeof route !== "string" && route.route.upgrade);
    socket.on("error", () => {});
    (async () => route.route.upgrade?.(request, socket, head))().catch((error: unknown) => {
      const body = JSON.stringify(statusOf(error));
      socket.end(`HTTP/1.1 ${statusOf(error).code} No\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, kubelet };
}

/** What a client of the channel protocols received. */
class Channels {
  readonly ws: WebSocket;
  readonly #received = new Map<number, Buffer[]>();
  readonly closed: Promise<number>;

  constructor(address: string, path: string, protocol: string) {
    this.ws = new WebSocket(`ws://${address}${path}`, [protocol]);
    this.ws.on("message", (data: Buffer) => {
      const list = this.#received.get(data[0] ?? 0) ?? [];
      this.#received.set(data[0] ?? 0, list);
      list.push(data.subarray(1));
    });
    this.closed = new Promise((resolve) => {
      this.ws.on("close", resolve);
    });
  }

  text(id: number): string {
    return Buffer.concat(this.#received.get(id) ?? []).toString();
  }

  size(id: number): number {
    return (this.#received.get(id) ?? []).reduce((sum, one) => sum + one.length, 0);
  }

  send(id: number, bytes: string | Buffer): void {
    this.ws.send(Buffer.concat([Buffer.of(id), Buffer.from(bytes)]));
  }
}

const get = (streams: ReadonlyMap<string, SpdyStream>, name: string): SpdyStream => {
  const stream = streams.get(name);
  assert.ok(stream, `no ${name} stream`);
  return stream;
};

test("v5: input with its end, both outputs and the status arrive, and the kubelet is asked as upstream does", async (t) => {
  const { address, kubelet } = await stage(t, {
    command: async (streams) => {
      get(streams, "stdout").write(`out ${await text(get(streams, "stdin"))}`);
      get(streams, "stderr").write("err");
      get(streams, "error").write(SUCCESS);
    },
  });
  const query = "?command=cat&command=-n&stdin=true&stdout=true&stderr=true";
  const client = new Channels(address, EXEC + query, "v5.channel.k8s.io");
  await once(client.ws, "open");
  client.send(0, "hello");
  client.ws.send(Buffer.of(255, 0));
  assert.equal(await client.closed, 1000);
  assert.deepEqual([client.text(1), client.text(2), client.text(3)], ["out hello", "err", SUCCESS]);
  const [asked] = kubelet.asked;
  assert.equal(asked?.line, "POST /exec/default/one/c?command=cat&command=-n&input=1&output=1&error=1");
  assert.equal(asked?.user, "apiserver");
});

test("v4 with a terminal: sizes reach the kubelet, and there is one output", async (t) => {
  const { address } = await stage(t, {
    command: async (streams) => {
      assert.deepEqual([...streams.keys()].sort(), ["error", "resize", "stdin", "stdout"]);
      const [size] = (await once(get(streams, "resize"), "data")) as [Buffer];
      get(streams, "stdout").write(size);
      get(streams, "error").write(SUCCESS);
    },
  });
  const query = "?command=sh&stdin=1&stdout=1&stderr=1&tty=1";
  const client = new Channels(address, EXEC + query, "v4.channel.k8s.io");
  await once(client.ws, "open");
  assert.equal(client.ws.protocol, "v4.channel.k8s.io");
  client.send(4, '{"Width":80,"Height":24}');
  await client.closed;
  assert.equal(client.text(1), '{"Width":80,"Height":24}');
});

test("an exit code is the kubelet's status, word for word", async (t) => {
  const status = JSON.stringify({
    metadata: {},
    status: "Failure",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "3" }] },
  });
  const { address } = await stage(t, {
    command: async (streams) => {
      get(streams, "error").write(status);
    },
  });
  const client = new Channels(address, `${EXEC}?command=false&stdout=1`, "v5.channel.k8s.io");
  assert.equal(await client.closed, 1000);
  assert.equal(client.text(3), status);
});

test("what the kubelet refuses, and a connection that breaks, are failures on the error channel", async (t) => {
  const refusing = await stage(t, { refuse: 'container not found ("c")' });
  const one = new Channels(refusing.address, `${EXEC}?command=x&stdout=1`, "v5.channel.k8s.io");
  await one.closed;
  assert.match(one.text(3), /"status":"Failure".*unable to upgrade connection: container not found \(\\"c\\"\)/);
  const breaking = await stage(t, { command: async () => {} });
  const two = new Channels(breaking.address, `${EXEC}?command=x&stdout=1`, "v5.channel.k8s.io");
  await two.closed;
  assert.match(two.text(3), /connection to the node was lost","reason":"InternalError"/);
});

test("a client that leaves ends the command's streams", async (t) => {
  const ended = Promise.withResolvers<string>();
  const { address } = await stage(t, {
    command: async (streams) => {
      ended.resolve(await text(get(streams, "stdin")));
    },
  });
  const client = new Channels(address, `${EXEC}?command=cat&stdin=1&stdout=1`, "v5.channel.k8s.io");
  await once(client.ws, "message");
  client.ws.terminate();
  assert.equal(await ended.promise, "");
});

test("a client that does not read stops the command, and gets everything in the end", async (t) => {
  const total = 64 << 20;
  let written = 0;
  const { address } = await stage(t, {
    command: async (streams) => {
      const out = get(streams, "stdout");
      const block = Buffer.alloc(1 << 20, 65);
      while (written < total) {
        written += block.length;
        if (!out.write(block)) await once(out, "drain");
      }
      const done = once(out, "finish");
      out.end();
      await done;
      get(streams, "error").write(SUCCESS);
    },
  });
  const client = new Channels(address, `${EXEC}?command=yes&stdout=1`, "v5.channel.k8s.io");
  await once(client.ws, "open");
  client.ws.pause();
  // Nothing tells that the flow has stopped but that it no longer moves.
  for (let before = -1; before !== written;) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (written === 0) before = -1;
  }
  assert.ok(written < total, "nothing held the command back");
  client.ws.resume();
  assert.equal(await client.closed, 1000);
  assert.equal(client.size(1), total);
});

test("a server that closes ends a command whose client does not read", async (t) => {
  const ended = Promise.withResolvers<void>();
  const closing = new AbortController();
  const { address } = await stage(
    t,
    {
      command: async (streams) => {
        const out = get(streams, "stdout");
        out.on("close", () => ended.resolve());
        while (!out.destroyed)
          if (!out.write(Buffer.alloc(1 << 20))) await Promise.race([once(out, "drain"), ended.promise]);
      },
    },
    closing.signal,
  );
  const client = new Channels(address, `${EXEC}?command=yes&stdout=1`, "v5.channel.k8s.io");
  await once(client.ws, "message");
  client.ws.pause();
  closing.abort();
  await ended.promise;
  client.ws.resume();
  assert.equal(await client.closed, 1006);
});

test("messages that mean nothing change nothing", async (t) => {
  const { address } = await stage(t, {
    command: async (streams) => {
      get(streams, "stdout").write(await text(get(streams, "stdin")));
      get(streams, "error").write(SUCCESS);
    },
  });
  const client = new Channels(address, `${EXEC}?command=cat&stdin=1&stdout=1`, "v5.channel.k8s.io");
  await once(client.ws, "open");
  for (const bytes of [[], [0], [1, 65], [3, 65], [4, 65], [9, 65], [255], [255, 1], [255, 9], [255, 3, 3]])
    client.ws.send(Buffer.from(bytes));
  client.ws.send("\0text");
  client.send(0, "!");
  client.ws.send(Buffer.of(255, 0));
  client.send(0, "too late");
  assert.equal(await client.closed, 1000);
  assert.deepEqual([client.text(1), client.text(3)], ["text!", SUCCESS]);
});

/** Asks for SPDY as kubectl does. */
async function spdy(address: string, path: string, protocol: string): Promise<SpdyConnection | string> {
  const call = httpRequest(`http://${address}${path}`, {
    method: "POST",
    headers: {
      Connection: "Upgrade",
      Upgrade: "SPDY/3.1",
      "X-Stream-Protocol-Version": protocol,
      Authorization: "Bearer secret",
    },
  });
  call.end();
  return new Promise((resolve, reject) => {
    call.on("error", reject);
    call.on("upgrade", (response, socket, head) => {
      assert.equal(response.headers["x-stream-protocol-version"], protocol);
      resolve(new SpdyConnection(socket, { side: "client", head }));
    });
    call.on("response", (response) => {
      text(response).then(
        (body) => resolve(`${response.statusCode} ${body}`),
        (error: unknown) => reject(error as Error),
      );
    });
  });
}

test("SPDY goes through as it is, without the client's credentials", async (t) => {
  const { address, kubelet } = await stage(t, {
    command: async (streams) => {
      get(streams, "stdout").write(`out ${await text(get(streams, "stdin"))}`);
      get(streams, "error").write(SUCCESS);
    },
  });
  const connection = await spdy(address, `${EXEC}?command=cat&stdin=1&stdout=1`, "v4.channel.k8s.io");
  assert.ok(typeof connection !== "string");
  const error = await connection.open({ streamType: "error" });
  const stdin = await connection.open({ streamType: "stdin" });
  const stdout = await connection.open({ streamType: "stdout" });
  stdin.end("hello");
  assert.equal(await text(stdout), "out hello");
  assert.equal(await text(error), SUCCESS);
  assert.equal(kubelet.asked[0]?.headers.authorization, undefined);
  const refusing = await stage(t, { refuse: "no such container" });
  assert.equal(
    await spdy(refusing.address, `${EXEC}?command=x&stdout=1`, "v4.channel.k8s.io"),
    "404 no such container",
  );
});

/**
 * The bytes inside the messages of a WebSocket. The client of ws refuses subprotocols with a slash, as the standard
 * does; kubectl does not.
 */
async function webSocketBytes(address: string, path: string, protocol: string): Promise<Duplex> {
  const call = httpRequest(`http://${address}${path}`, {
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": Buffer.alloc(16).toString("base64"),
      "Sec-WebSocket-Protocol": protocol,
    },
  });
  call.end();
  const [response, socket, head] = (await once(call, "upgrade")) as [IncomingMessage, Duplex, Buffer];
  assert.equal(response.headers["sec-websocket-protocol"], protocol);
  let pending = head;
  const bytes = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      const frame = Buffer.alloc(8);
      frame.writeUInt8(0x82);
      frame.writeUInt8(0x80 | 126, 1);
      frame.writeUInt16BE(chunk.length, 2);
      socket.write(Buffer.concat([frame, chunk]), done);
    },
    destroy(_error, done) {
      socket.destroy();
      done(null);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      if (pending.length < 2) return;
      const short = pending.readUInt8(1);
      if (short === 126 && pending.length < 4) return;
      const start = short === 126 ? 4 : 2;
      const end = start + (short === 126 ? pending.readUInt16BE(2) : short);
      if (pending.length < end) return;
      if (pending.readUInt8(0) === 0x82) bytes.push(pending.subarray(start, end));
      else bytes.push(null);
      pending = pending.subarray(end);
    }
  });
  return bytes;
}

test("port-forward: SPDY inside WebSocket messages, and SPDY alone", async (t) => {
  const forward = (stream: SpdyStream): void => {
    if (stream.headers["streamtype"] === "data") stream.pipe(stream);
    else stream.end();
  };
  const { address, kubelet } = await stage(t, { forward });
  const path = "/api/v1/namespaces/default/pods/one/portforward";
  const tunnelled = new SpdyConnection(await webSocketBytes(address, path, "SPDY/3.1+portforward.k8s.io"), {
    side: "client",
  });
  const alone = await spdy(address, path, "portforward.k8s.io");
  assert.ok(typeof alone !== "string");
  for (const connection of [tunnelled, alone]) {
    const headers = { port: "80", requestid: "0" };
    const failed = await connection.open({ ...headers, streamtype: "error" });
    failed.end();
    const data = await connection.open({ ...headers, streamtype: "data" });
    data.end("ping");
    assert.equal(await text(data), "ping");
    assert.equal(await text(failed), "");
    await connection[Symbol.asyncDispose]();
  }
  assert.deepEqual(
    kubelet.asked.map((one) => one.line),
    Array(2).fill("POST /portForward/default/one"),
  );
});

test("older subprotocols go through to the runtime, which speaks them, without the client's credentials", async (t) => {
  const { address, kubelet } = await stage(t, {
    webSocket: async (channel) => {
      for await (const message of channel.receive())
        await channel.send(Buffer.from(`${channel.protocol} heard ${message.toString()}`));
    },
  });
  const forward = "/api/v1/namespaces/default/pods/one/portforward?ports=80,81";
  const cases: readonly (readonly [path: string, offered: string[], chosen: string])[] = [
    [`${EXEC}?command=x&stdout=1`, ["v4.base64.channel.k8s.io"], "v4.base64.channel.k8s.io"],
    [`${EXEC}?command=x&stdout=1`, ["channel.k8s.io"], "channel.k8s.io"],
    [`${EXEC}?command=x&stdout=1`, [], ""],
    [forward, ["base64url.bearer.authorization.k8s.io.c2VjcmV0", "v4.channel.k8s.io"], "v4.channel.k8s.io"],
  ];
  for (const [path, offered, chosen] of cases) {
    const ws = new WebSocket(`ws://${address}${path}`, offered);
    await once(ws, "open");
    ws.send("hello");
    const [answer] = (await once(ws, "message")) as [Buffer];
    assert.equal(answer.toString(), `${chosen} heard hello`);
    ws.close();
    await once(ws, "close");
  }
  assert.equal(kubelet.asked[0]?.line, "GET /exec/default/one/c?command=x&output=1");
  assert.equal(kubelet.asked.at(-1)?.line, "GET /portForward/default/one?port=80&port=81");
  assert.ok(kubelet.asked.every(({ headers }) => !JSON.stringify(headers).includes("bearer")));
});

test("logs come as the kubelet sends them, and its refusals as a Status", async (t) => {
  const { address, kubelet } = await stage(t, {
    plain: (request, response) => {
      if (request.url?.includes("previous"))
        response.writeHead(400).end('container "c" in pod "one" is waiting to start');
      else response.end("line\n");
    },
  });
  const log = (query: string, pod = "one"): Promise<Response> =>
    fetch(`http://${address}/api/v1/namespaces/default/pods/${pod}/log?${query}`);
  const said = await log("follow=true&tailLines=5&timestamps=true&container=setup&unknown=x");
  assert.equal(said.headers.get("content-type"), "text/plain");
  assert.equal(await said.text(), "line\n");
  assert.equal(kubelet.asked[0]?.line, "GET /containerLogs/default/one/setup?follow=true&timestamps=true&tailLines=5");
  const refused = (await (await log("previous=true")).json()) as { reason: string; message: string; code: number };
  assert.deepEqual(
    [refused.code, refused.reason, refused.message],
    [400, "BadRequest", 'container "c" in pod "one" is waiting to start'],
  );
  assert.equal(await (await log("", "new")).text(), "");
  const invalid = (await (await log("tailLines=-1&sinceSeconds=0")).json()) as { code: number; message: string };
  assert.equal(invalid.code, 422);
  assert.match(invalid.message, /PodLogOptions "one" is invalid: \[.*tailLines: Invalid value: -1: must be greater/);
});

const WRONG: readonly (readonly [string, string, number, RegExp])[] = [
  ["none", "command=x&stdout=1", 404, /pods \\"none\\" not found/],
  [
    "two",
    "command=x&stdout=1",
    400,
    /must be specified for pod two, choose one of: \[a b\] or one of the init containers: \[setup\]/,
  ],
  ["two", "command=x&stdout=1&container=z", 400, /container z is not valid for pod two/],
  ["one", "command=x", 400, /at least 1 of stdin, stdout, stderr/],
  ["one", "stdout=1", 400, /at least one command/],
  ["new", "command=x&stdout=1", 400, /pod new does not have a host assigned/],
];
for (const [pod, query, code, message] of WRONG)
  test(`exec in ${pod} with ${query} is refused with ${code}, upgraded or not`, async (t) => {
    const { address, kubelet } = await stage(t, {});
    const path = `/api/v1/namespaces/default/pods/${pod}/exec?${query}`;
    const plain = await fetch(`http://${address}${path}`, { method: "POST" });
    assert.equal(plain.status, code);
    assert.match(await plain.text(), message);
    const upgraded = await spdy(address, path, "v4.channel.k8s.io");
    assert.ok(typeof upgraded === "string");
    assert.match(upgraded, message);
    assert.equal(kubelet.asked.length, 0);
  });

test("an unknown subprotocol, a kubelet that is not there, and a name with slashes end as they should", async (t) => {
  const { address, kubelet } = await stage(t, {});
  const ws = new WebSocket(`ws://${address}${EXEC}?command=x&stdout=1`, ["v9.channel.k8s.io"]);
  const [error] = (await once(ws, "error")) as [Error];
  assert.match(error.message, /400/);
  const sly = await fetch(`http://${address}${EXEC}?command=x&stdout=1&container=..%2F..%2Frun`, { method: "POST" });
  assert.equal(sly.status, 400);
  await kubelet[Symbol.asyncDispose]();
  const refused = await spdy(address, `${EXEC}?command=x&stdout=1`, "v4.channel.k8s.io");
  assert.ok(typeof refused === "string");
  assert.match(refused, /500 .*error dialing backend: dial tcp 127\.0\.0\.1:\d+: connect ECONNREFUSED/);
});
