import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silent } from "#base";
import { parseReference } from "#oci";
import { openCredentialPlugins } from "./credential-plugins.ts";

const API = "credentialprovider.kubelet.k8s.io/v1";

interface Place extends AsyncDisposable {
  readonly directory: string;
  /** A plugin that gives these answers, and notes what it is asked for. */
  plugin(answer: object): Promise<void>;
  asked(): Promise<string[]>;
  open(provider?: object, now?: () => number): ReturnType<typeof openCredentialPlugins>;
}

async function place(): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), "orlop-plugins-"));
  const log = join(directory, "asked");
  const provider = {
    name: "one",
    apiVersion: API,
    matchImages: ["*.example.com:5000/team"],
    defaultCacheDuration: "1m",
  };
  return {
    directory,
    async plugin(answer) {
      const response = { apiVersion: API, kind: "CredentialProviderResponse", cacheKeyType: "Image", ...answer };
      const script = `#!/bin/sh\ncat >> ${log}; echo >> ${log}\ncat <<'END'\n${JSON.stringify(response)}\nEND\n`;
      await writeFile(join(directory, "one"), script);
      await chmod(join(directory, "one"), 0o755);
    },
    asked: async () =>
      (await readFile(log, "utf8"))
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { image: string }).image),
    async open(more = {}, now = () => 0) {
      const configFile = join(directory, "config.yaml");
      await writeFile(configFile, JSON.stringify({ providers: [{ ...provider, ...more }] }));
      return await openCredentialPlugins({ configFile, binDir: directory, log: silent, now });
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

const login = { "*.example.com:5000": { username: "u", password: "p" } };

test("a plugin is asked for repositories that fit its globs, ports and paths, and is not told the tag", async () => {
  await using at = await place();
  await at.plugin({ auth: login });
  const ask = await at.open();
  for (const reference of ["a.example.com:5000/other/x", "a.example.com/team/x", "a.b.example.com:5000/team/x"])
    assert.deepEqual(await ask(parseReference(reference)), []);
  const [key] = await ask(parseReference("a.example.com:5000/team/x:v1"));
  assert.equal(key?.auth.username, "u");
  assert.deepEqual(await at.asked(), ["a.example.com:5000/team/x"]);
});

test("an answer is kept for as long, and for as many images, as it says", async () => {
  let clock = 0;
  const ask = async (at: Place, ask: Awaited<ReturnType<typeof openCredentialPlugins>>) => {
    for (const name of ["a.example.com:5000/team/x:1", "a.example.com:5000/team/x:2", "a.example.com:5000/team/y"])
      await ask(parseReference(name));
    await ask(parseReference("b.example.com:5000/team/x"));
    return (await at.asked()).length;
  };
  for (const [answer, times] of [
    [{ cacheKeyType: "Image" }, 3],
    [{ cacheKeyType: "Registry" }, 2],
    [{ cacheKeyType: "Global" }, 1],
    [{ cacheKeyType: "Global", cacheDuration: "0s" }, 4],
  ] as const) {
    await using at = await place();
    await at.plugin({ auth: login, ...answer });
    assert.equal(await ask(at, await at.open({}, () => clock)), times, JSON.stringify(answer));
  }
  await using at = await place();
  await at.plugin({ auth: login, cacheKeyType: "Global", cacheDuration: "1h30m" });
  const plugins = await at.open({}, () => clock);
  await ask(at, plugins);
  clock = 90 * 60_000;
  assert.equal(await ask(at, plugins), 1);
  clock++;
  assert.equal(await ask(at, plugins), 2);
});

test("pulls of one repository at one time ask once", async () => {
  await using at = await place();
  await at.plugin({ auth: login, cacheDuration: "0s" });
  const ask = await at.open();
  const found = await Promise.all([1, 2, 3].map((tag) => ask(parseReference(`a.example.com:5000/team/x:${tag}`))));
  assert.deepEqual(
    found.map((keys) => keys.length),
    [1, 1, 1],
  );
  assert.equal((await at.asked()).length, 1);
});

test("an answer that does not say what it is for is none", async () => {
  await using at = await place();
  await at.plugin({ auth: login, cacheKeyType: "Everything" });
  assert.deepEqual(await (await at.open())(parseReference("a.example.com:5000/team/x")), []);
});

test("a configuration that upstream refuses is refused when the node starts, by its field", async () => {
  await using at = await place();
  await at.plugin({});
  for (const [provider, field] of [
    [{ name: "../one" }, "providers.name"],
    [{ name: "absent" }, "did not exist"],
    [{ apiVersion: "v1" }, "providers.apiVersion"],
    [{ matchImages: [] }, "providers.matchImages"],
    [{ defaultCacheDuration: undefined }, "providers.defaultCacheDuration"],
    [{ tokenAttributes: { serviceAccountTokenAudience: "x" } }, "providers.tokenAttributes"],
  ] as const)
    await assert.rejects(at.open(provider), (error: Error) => error.message.includes(field));
});
