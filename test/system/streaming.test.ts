// exec, attach, port-forward, cp and logs through the whole line: kubectl, our API server and kubelet, containerd, runc.
// Each with WebSocket (kubectl 1.32), with SPDY (the same kubectl, told so), and with Debian's kubectl 1.20 (SPDY only).
import assert from "node:assert/strict";
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { loadKubeconfig } from "#wire";
import { debianKubectl } from "../support/kubectl.ts";
import {
  createWorld,
  freePort,
  leftovers,
  pushObjects,
  startUp,
  until,
  WORKLOAD,
  type Up,
  type World,
} from "../support/orlop.ts";

const MB = 1 << 20;
const CLIENTS: readonly (readonly [string, () => string, Readonly<Record<string, string>>])[] = [
  ["kubectl over WebSocket", () => "kubectl", {}],
  [
    "kubectl over SPDY",
    () => "kubectl",
    { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false", KUBECTL_PORT_FORWARD_WEBSOCKETS: "false" },
  ],
  ["Debian's kubectl 1.20", debianKubectl, {}],
];
const POD = `
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: echo
      image: ${WORKLOAD}
      command: [sh, -c, 'while read line; do echo "heard $line"; [ "$line" = bye ] && exit 0; done']
      stdin: true
    - name: web
      image: ${WORKLOAD}
      command: [sh, -c, 'mkdir /www; echo from the pod > /www/index.html; exec httpd -f -p 8080 -h /www']
`;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;
interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

let world: World;
let up: Up;
const children = new Set<Child>();

before(async () => {
  world = await createWorld();
  pushObjects(world);
  up = await startUp(world);
  const applied = up.kubectl("apply", "-f", world.file("talker.yaml", POD));
  assert.equal(applied.code, 0, applied.err);
  const ready = up.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s");
  assert.equal(ready.code, 0, ready.err);
});
after(async () => {
  // Streams that are open, and one that its client does not read, do not hold up the end.
  const open = [
    ["exec", "talker", "-c", "web", "--", "yes"],
    ["exec", "-i", "talker", "-c", "web", "--", "cat"],
    ["logs", "-f", "talker", "-c", "web"],
    ["port-forward", "pod/talker", ":8080"],
  ].map((args) => spawn("kubectl", ["--kubeconfig", up.kubeconfig, ...args], { stdio: ["pipe", "pipe", "pipe"] }));
  for (const child of open) children.add(child);
  const [reckless] = open;
  assert.ok(reckless);
  await once(reckless.stdout, "readable");
  const stopped = up.stop();
  const late = AbortSignal.timeout(20_000);
  await Promise.race([stopped, once(late, "abort").then(() => assert.fail("orlop up did not end"))]);
  for (const child of children) child.kill("SIGKILL");
  const left = leftovers(world);
  await world[Symbol.asyncDispose]();
  assert.deepEqual(left, []);
});

test("the channels of older WebSocket clients, as base64 and for ports", async () => {
  const { server, ca = "", cert = "", key = "" } = await loadKubeconfig(readFileSync(up.kubeconfig, "utf8"));
  const open = async (path: string, protocol: string): Promise<WebSocket> => {
    const ws = new WebSocket(`${server}/api/v1/namespaces/default/pods/talker/${path}`, [protocol], { ca, cert, key });
    await once(ws, "open");
    return ws;
  };
  const command = await open("exec?container=web&command=echo&command=hello&stdout=1", "v4.base64.channel.k8s.io");
  const said: string[] = [];
  command.on("message", (data: Buffer) => said.push(data.toString()));
  await once(command, "close");
  const channel = (id: string): string =>
    said.flatMap((one) => (one.startsWith(id) ? [Buffer.from(one.slice(1), "base64").toString()] : [])).join("");
  assert.equal(channel("1"), "hello\n");
  assert.match(channel("3"), /"status":"Success"/);
  const forward = await open("portforward?ports=8080", "v4.channel.k8s.io");
  const ports: number[] = [];
  let page = "";
  const done = new Promise<void>((resolve) => {
    forward.on("message", (data: Buffer) => {
      // Each of the two channels of a port begins with its number.
      if (ports.length < 2) ports.push(data.readUInt16LE(1));
      else page += data.subarray(1).toString();
      if (/from the pod/.test(page)) resolve();
    });
  });
  await until("both channels", () => ports.length === 2 || undefined);
  forward.send(Buffer.concat([Buffer.of(0), Buffer.from("GET / HTTP/1.0\r\n\r\n")]));
  await done;
  forward.close();
  assert.deepEqual(ports, [8080, 8080]);
});

for (const [name, program, env] of CLIENTS)
  suite(name, () => {
    const start = (...args: readonly string[]): Child => {
      const child = spawn(program(), ["--kubeconfig", up.kubeconfig, ...args], {
        env: { ...process.env, ...env },
        stdio: ["pipe", "pipe", "pipe"],
      });
      children.add(child);
      child.once("close", () => children.delete(child));
      return child;
    };
    const end = async (child: Child, input?: string | Buffer): Promise<Ended> => {
      const [out, err] = [text(child.stdout), text(child.stderr)];
      child.stdin.on("error", () => {});
      child.stdin.end(input);
      const [code] = (await once(child, "close")) as [number | null];
      return { code, out: await out, err: await err };
    };
    const run = (...args: readonly string[]): Promise<Ended> => end(start(...args));
    const sh = (script: string, ...options: readonly string[]): string[] => [
      "exec",
      ...options,
      "talker",
      "--container=web",
      "--",
      "sh",
      "-c",
      script,
    ];

    test("both outputs, the exit code, and what the API server refuses", async () => {
      const result = await run(...sh("echo out; echo err >&2; exit 3"));
      assert.deepEqual([result.code, result.out], [3, "out\n"]);
      assert.match(result.err, /^err\ncommand terminated with exit code 3\n$/);
      assert.match(
        (await run("exec", "talker", "-c", "web", "--", "nothing-like-it")).err,
        /nothing-like-it.*not found/s,
      );
      assert.match(
        (await run("exec", "talker", "-c", "wrong", "--", "ls")).err,
        /container wrong is not valid|wrong.*not found/,
      );
      assert.match((await run("exec", "nobody", "--", "ls")).err, /pods "nobody" not found/);
    });

    test("input ends where the client's does", async () => {
      const input = randomBytes(3 * MB);
      const result = await end(start(...sh("md5sum", "-i")), input);
      assert.equal(result.out, `${createHash("md5").update(input).digest("hex")}  -\n`);
    });

    test("200 MB come out whole", async () => {
      const file = join(world.dir, "output");
      const words = [program(), "--kubeconfig", up.kubeconfig, ...sh(`head -c ${200 * MB} /dev/zero`)];
      const child = spawn("sh", ["-c", 'exec "$@" > "$0"', file, ...words], { env: { ...process.env, ...env } });
      const [code] = (await once(child, "close")) as [number | null];
      assert.deepEqual([code, statSync(file).size], [0, 200 * MB]);
    });

    // Longer than kubectl is quiet: its pings still come when the container's side has closed.
    test("200 MB come out whole through a slow reader", async () => {
      const child = start(...sh(`head -c ${200 * MB} /dev/zero`));
      child.stdin.end();
      const closed = once(child, "close");
      let size = 0;
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
        if (Math.floor(size / MB) !== Math.floor((size + chunk.length) / MB)) await sleep(30);
        size += chunk.length;
      }
      assert.deepEqual([size, (await closed)[0]], [200 * MB, 0]);
    });

    test("a terminal has the client's size, and follows it", async () => {
      const command = [program(), "--kubeconfig", up.kubeconfig, ...sh("while sleep 0.1; do stty size; done", "-it")];
      const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
      const child = spawn(
        "script",
        ["-qefc", `stty rows 33 cols 101; (sleep 1; stty rows 44 cols 99 </dev/tty) & ${quoted}`, "/dev/null"],
        {
          env: { ...process.env, ...env },
          stdio: ["pipe", "pipe", "pipe"],
        },
      );
      children.add(child);
      child.once("close", () => children.delete(child));
      let seen = "";
      child.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
      await until("the first size", () => /33 101/.test(seen) || undefined);
      await until("the second size", () => /44 99/.test(seen) || undefined).catch(() => assert.fail(seen));
      child.stdin.write("\x03");
      await once(child, "close");
    });

    test("attach hears what is said, and leaves the container running", async () => {
      const child = start("attach", "-i", "talker", "-c", "echo");
      let seen = "";
      child.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
      child.stdin.write("hello\n");
      await until("the echo", () => seen.includes("heard hello") || undefined);
      child.kill("SIGKILL");
      assert.match((await run("get", "pod", "talker")).out, /2\/2 +Running/);
    });

    test("cp takes a directory there and back", async () => {
      const directory = join(world.dir, `cp-${name.replace(/\W/g, "")}`);
      mkdirSync(join(directory, "there/deep"), { recursive: true });
      const bytes = randomBytes(5 * MB);
      writeFileSync(join(directory, "there/deep/random"), bytes);
      const target = `talker:/tmp/${name.replace(/\W/g, "")}`;
      const there = await run("cp", join(directory, "there"), target, "-c", "web");
      assert.equal(there.code, 0, there.err);
      const back = await run("cp", target, join(directory, "back"), "-c", "web");
      assert.equal(back.code, 0, back.err);
      assert.ok(readFileSync(join(directory, "back/deep/random")).equals(bytes));
    });

    test("port-forward carries HTTP, also several requests at once, and says when nobody listens", async () => {
      const port = await freePort();
      const child = start("port-forward", "pod/talker", `${port}:8080`, `:81`);
      let said = "";
      child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      await until("forwarding", () => /-> 81/.test(said) || undefined).catch(() => assert.fail(said));
      const page = async (at: number): Promise<string> => {
        const request = get({ host: "127.0.0.1", port: at, agent: false });
        const [response] = (await once(request, "response")) as [Readable];
        return text(response);
      };
      assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map(() => page(port))), Array(5).fill("from the pod\n"));
      const dead = Number(/127\.0\.0\.1:(\d+) -> 81/.exec(said)?.[1]);
      await assert.rejects(page(dead));
      await until(
        "the error",
        () => /error forwarding port 81|lost connection|an error occurred/.test(said) || undefined,
      );
      child.kill("SIGINT");
      await once(child, "close");
    });

    test("logs follow, and end with the client", async () => {
      await run(...sh("echo first > /proc/1/fd/1"));
      const child = start("logs", "-f", "--tail=1", "talker", "-c", "web");
      let seen = "";
      child.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
      await until("the first line", () => seen.includes("first") || undefined);
      await run(...sh("echo second > /proc/1/fd/1"));
      await until("the second line", () => seen.includes("second") || undefined);
      child.kill("SIGINT");
      await once(child, "close");
    });
  });
