// SIGKILL under a load of writes: what was acknowledged is there, whole, and versions and watches go on from it.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { ADMIN, startTestApi } from "../support/api.ts";

const OBJECTS = 1000;
const AT_ONCE = 8;
const MAPS = "/api/v1/namespaces/default/configmaps";

/** The server in a process of its own, which can be killed. */
async function start(dir: string): Promise<{ child: ChildProcess; url: string }> {
  const script = `
    import { startApiServer } from "#apiserver";
    const bearers = new Map([[${JSON.stringify(ADMIN)}, { name: "admin", groups: ["system:masters"] }]]);
    const server = await startApiServer({ dataDir: ${JSON.stringify(dir)}, bearers });
    console.log(server.url);
  `;
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script],
    {
      cwd: join(import.meta.dirname, "../.."),
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const [url] = (await once(createInterface(child.stdout), "line")) as [string];
  return { child, url };
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

test(`a killed server loses none of ${OBJECTS} acknowledged writes and keeps no half one`, async () => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-durable-"));
  try {
    const acknowledged = new Map<string, number>();
    let version = 0;
    let kills = 0;
    const load = { next: 0 };
    while (load.next < OBJECTS) {
      const { child, url } = await start(dir);
      try {
        // Each life ends in the middle of writes: after so many acknowledgements, with others under way.
        const until = acknowledged.size + 130 + kills * 17;
        const worker = async (): Promise<void> => {
          while (load.next < OBJECTS && acknowledged.size < until) {
            const name = `map-${load.next++}`;
            const body = {
              apiVersion: "v1",
              kind: "ConfigMap",
              metadata: { name },
              data: { name, filler: name.repeat(200) },
            };
            const response = await fetch(url + MAPS, {
              method: "POST",
              headers: { "Content-Type": "application/json", Authorization: `Bearer ${ADMIN}` },
              body: JSON.stringify(body),
            });
            assert.equal(response.status, 201);
            const made = (await response.json()) as { metadata: { resourceVersion: string } };
            acknowledged.set(name, Number(made.metadata.resourceVersion));
            version = Math.max(version, Number(made.metadata.resourceVersion));
            if (acknowledged.size >= until) child.kill("SIGKILL");
          }
        };
        // What is cut off was not acknowledged, and may be there or not.
        const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
        for (const result of ended)
          if (result.status === "rejected" && !(result.reason instanceof TypeError)) throw result.reason;
      } finally {
        if (child.exitCode === null && child.signalCode === null) await kill(child);
      }
      kills++;
    }
    assert.ok(kills >= 4, `${kills} kills`);
    await using api = await startTestApi(dir);
    const { json } = await api.request("GET", MAPS);
    const stored = new Map((json.items ?? []).map((item) => [item.metadata.name, item]));
    for (const [name, at] of acknowledged) {
      const item = stored.get(name);
      assert.ok(item !== undefined, `${name} was acknowledged and is gone`);
      assert.equal(Number(item.metadata.resourceVersion), at);
    }
    for (const [name, item] of stored)
      assert.deepEqual(item["data"], { name, filler: name.repeat(200) }, "a half write");
    assert.ok(Number(json.metadata.resourceVersion) >= version);
    const versions = [...stored.values()].map((item) => item.metadata.resourceVersion);
    assert.equal(new Set(versions).size, versions.length, "no version is given twice");
    // A watcher that saw the first half before the kills sees the rest after them, once and in order.
    const half = [...acknowledged.values()].sort((a, b) => a - b)[Math.floor(acknowledged.size / 2)] ?? 0;
    const expected = [...stored.values()]
      .map((item) => Number(item.metadata.resourceVersion))
      .filter((at) => at > half)
      .sort((a, b) => a - b);
    const seen: number[] = [];
    for await (const line of api.watch(`${MAPS}?watch=1&resourceVersion=${half}`)) {
      seen.push(Number(line.object.metadata.resourceVersion));
      if (seen.length === expected.length) break;
    }
    assert.deepEqual(seen, expected);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("200 watchers see every change once and in order", async () => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-watchers-"));
  try {
    await using api = await startTestApi(dir);
    const WATCHERS = 200;
    const WRITES = 60;
    const { resourceVersion } = (await api.request("GET", MAPS)).json.metadata;
    const merge = { "Content-Type": "application/merge-patch+json" };
    const watchers = Array.from({ length: WATCHERS }, async () => {
      const seen: string[] = [];
      for await (const { type, object } of api.watch(`${MAPS}?watch=1&resourceVersion=${resourceVersion}`)) {
        seen.push(`${type} ${object.metadata.name} ${object.metadata.resourceVersion}`);
        if (object.metadata.name === "last") return seen;
      }
      return seen;
    });
    for (let i = 0; i < WRITES; i++) {
      const name = `m${i % 10}`;
      const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { i: String(i) } };
      if (i < 10) await api.request("POST", MAPS, map);
      else if (i < WRITES - 10) await api.request("PATCH", `${MAPS}/${name}`, { data: { i: String(i) } }, merge);
      else await api.request("DELETE", `${MAPS}/${name}`);
    }
    await api.request("POST", MAPS, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "last" } });
    const [first, ...others] = await Promise.all(watchers);
    assert.equal(first?.length, WRITES + 1);
    const versions = first.map((line) => Number(line.split(" ")[2]));
    assert.deepEqual(
      versions,
      [...new Set(versions)].sort((a, b) => a - b),
    );
    assert.deepEqual(
      first.slice(0, 10).map((line) => line.split(" ")[0]),
      Array.from({ length: 10 }, () => "ADDED"),
    );
    for (const other of others) assert.deepEqual(other, first);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
