// The API server alone: creates, a list of 2,000 Pods, how long a write takes to reach a watcher, and memory.
// It runs in a process of its own, over TLS, as `orlop up` runs it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { openPki } from "#wire";
import { testPod } from "../test/support/api.ts";
import { median, row, type Bench } from "./report.ts";

const PODS = 2000;
const WRITES = 300;
const AT_ONCE = 8;

export const bench: Bench = async (say, keep) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-bench-api-"));
  const script = `
    import { startApiServer } from "#apiserver";
    import { openPki } from "#wire";
    const pki = await openPki(${JSON.stringify(join(dir, "pki"))});
    const server = await startApiServer({ dataDir: ${JSON.stringify(dir)}, pki });
    console.log(server.port);
  `;
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script],
    {
      cwd: join(import.meta.dirname, ".."),
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE + 2 });
  try {
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const pki = await openPki(join(dir, "pki"));
    const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
    const base: RequestOptions = { host: "127.0.0.1", port: Number(line), agent, ca: pki.ca, ...credential };
    const open = async (method: string, path: string, body?: object): Promise<IncomingMessage> => {
      const sent = httpsRequest({ ...base, method, path, headers: { "Content-Type": "application/json" } });
      sent.end(body === undefined ? undefined : JSON.stringify(body));
      const [response] = (await once(sent, "response")) as [IncomingMessage];
      return response;
    };
    const call = async (method: string, path: string, body?: object): Promise<number> => {
      const response = await open(method, path, body);
      let bytes = 0;
      for await (const chunk of response) bytes += (chunk as Buffer).length;
      if ((response.statusCode ?? 500) >= 300) throw new Error(`${method} ${path}: ${response.statusCode}`);
      return bytes;
    };

    let next = 0;
    const started = performance.now();
    const worker = async (): Promise<void> => {
      for (let i = next++; i < PODS; i = next++)
        await call("POST", "/api/v1/namespaces/default/pods", testPod(`pod-${i}`));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    const creates = PODS / ((performance.now() - started) / 1000);
    say(`${PODS} creates, ${AT_ONCE} at once: ${creates.toFixed(0)}/s (aim: 300)`);

    const lists: number[] = [];
    let size = 0;
    for (let i = 0; i < 7; i++) {
      const from = performance.now();
      size = await call("GET", "/api/v1/pods");
      lists.push(performance.now() - from);
    }
    say(`list of ${PODS} (${(size / 2 ** 20).toFixed(1)} MiB): median ${median(lists).toFixed(1)} ms (aim: 150)`);

    const watch = await open("GET", "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0");
    const seen = new Map<string, (at: number) => void>();
    createInterface(watch).on("line", (text) => {
      const { object } = JSON.parse(text) as { object: { metadata: { name: string } } };
      seen.get(object.metadata.name)?.(performance.now());
    });
    const delays: number[] = [];
    for (let i = 0; i < WRITES; i++) {
      const name = `map-${i}`;
      const arrival = new Promise<number>((resolve) => seen.set(name, resolve));
      const from = performance.now();
      const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { i: String(i) } };
      await Promise.all([call("POST", "/api/v1/namespaces/default/configmaps", body), arrival]);
      delays.push((await arrival) - from);
    }
    watch.destroy();
    say(`from the request to the watcher: median ${median(delays).toFixed(1)} ms (aim: 20 from the write)`);

    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    const memory = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
    say(`memory at its highest: ${memory.toFixed(0)} MiB (aim: 300)`);
    keep([
      row(`creates per second, ${AT_ONCE} at once`, "orlop", "1/s", [creates], "≥ 300"),
      row(`list of ${PODS} Pods`, "orlop", "ms", lists, "≤ 150"),
      row("request to watch event", "orlop", "ms", delays, "≤ 20"),
      row("highest memory", "orlop", "MiB", [memory], "≤ 300"),
    ]);
  } finally {
    agent.destroy();
    child.kill("SIGKILL");
    await once(child, "exit");
    rmSync(dir, { recursive: true, force: true });
  }
};
