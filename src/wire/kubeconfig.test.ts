import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isFailure } from "#base";
import { kubeconfig, loadKubeconfig } from "./kubeconfig.ts";

const PEM = {
  ca: "-----BEGIN CERTIFICATE-----\nca",
  cert: "-----BEGIN CERTIFICATE-----\n1",
  key: "-----BEGIN PRIVATE KEY-----\n1",
};
const ok = kubeconfig({ ...PEM, server: "https://127.0.0.1:6443", name: "orlop" });

test("what is written is read again, and kubectl reads it", async (t) => {
  assert.deepEqual(await loadKubeconfig(ok), { ...PEM, server: "https://127.0.0.1:6443", namespace: "default" });
  const directory = await mkdtemp(join(tmpdir(), "orlop-wire-kubeconfig-"));
  t.after(() => rm(directory, { recursive: true }));
  const file = join(directory, "config");
  await writeFile(file, ok);
  const said = execFileSync("kubectl", [
    "config",
    "view",
    "--kubeconfig",
    file,
    "-o",
    "jsonpath={.clusters[0].cluster.server}",
  ]);
  assert.equal(said.toString(), "https://127.0.0.1:6443");
});

test("files are read beside the kubeconfig, and a token file again each time", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "orlop-wire-kubeconfig-"));
  t.after(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "ca.crt"), PEM.ca);
  await writeFile(join(directory, "token"), "first\n");
  const config = await loadKubeconfig(
    JSON.stringify({
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "k", user: "u", namespace: "n" } }],
      clusters: [
        {
          name: "k",
          cluster: { server: "https://h", "certificate-authority": "ca.crt", "insecure-skip-tls-verify": true },
        },
      ],
      users: [{ name: "u", user: { tokenFile: "token", token: "loses" } }],
    }),
    { directory },
  );
  assert.deepEqual(
    { ...config, token: 0 },
    { server: "https://h", ca: PEM.ca, namespace: "n", insecureSkipTlsVerify: true, token: 0 },
  );
  assert.ok(typeof config.token === "function");
  assert.equal(config.token(), "first");
  await writeFile(join(directory, "token"), "second");
  assert.equal(config.token(), "second");
});

const broken: readonly (readonly [string, string, RegExp])[] = [
  ["no YAML", "{", /the document/],
  ["a list", "[]", /the document is not a mapping/],
  ["no current context", ok.replace(/current-context.*/, ""), /current-context is not set/],
  ["an unknown context", ok.replace(/current-context.*/, "current-context: x"), /contexts has no entry named "x"/],
  ["an unknown cluster", ok.replace(/cluster: "orlop"/, "cluster: x"), /clusters has no entry named "x"/],
  ["no server", ok.replace(/server: .*/, ""), /clusters\[orlop\].cluster.server is not set/],
  ["another scheme", ok.replace("https://", "ftp://"), /cluster.server is not an http/],
  [
    "no PEM",
    ok.replace(/client-key-data: .*/, "client-key-data: aGFsbG8="),
    /users\[orlop\].user.client-key-data is not base64 of PEM/,
  ],
  ["half a pair", ok.replace(/client-key-data: .*/, ""), /user.client-key is missing/],
  [
    "a missing file",
    ok.replace(/client-key-data: .*/, "client-key: /nowhere/x"),
    /user.client-key cannot be read: ENOENT/,
  ],
  ["an exec plugin", ok.replace(/client-key-data: .*/, "exec: {}"), /user.exec is not supported/],
  [
    "a truth that is none",
    ok.replace(/server: /, 'insecure-skip-tls-verify: "yes"\n      server: '),
    /insecure-skip-tls-verify must be/,
  ],
];
for (const [name, text, message] of broken)
  test(`${name}: the message names the field, on one line, without the key`, async () => {
    await assert.rejects(loadKubeconfig(text), (error) => {
      assert.ok(isFailure(error, "INVALID_KUBECONFIG"));
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n|LS0tLS1|aGFsbG8/);
      return true;
    });
  });
