import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, request } from "node:https";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { test, type TestContext } from "node:test";
import { isFailure } from "#base";
import { openPki } from "./pki.ts";

async function directory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "orlop-wire-pki-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test("openssl agrees with what the authority issues, and the groups are the organizations", async (t) => {
  const path = await directory(t);
  const pki = await openPki(path);
  const server = await pki.serverCertificate({
    dnsNames: ["localhost", "kubernetes.default.svc"],
    ips: ["127.0.0.1", "::1"],
  });
  const client = await pki.clientCertificate({ commonName: "system:node:a", organizations: ["system:nodes", "x"] });
  for (const [name, { cert }] of Object.entries({ server, client })) {
    await writeFile(join(path, `${name}.crt`), cert);
    const said = execFileSync("openssl", [
      "verify",
      "-x509_strict",
      "-CAfile",
      pki.caFile,
      "-purpose",
      `ssl${name}`,
      join(path, `${name}.crt`),
    ]);
    assert.match(said.toString(), /OK/);
  }
  assert.match(
    new X509Certificate(server.cert).subjectAltName ?? "",
    /DNS:kubernetes.default.svc.*IP Address:127.0.0.1.*IP/,
  );
  assert.deepEqual(new X509Certificate(client.cert).subject.split("\n"), ["O=system:nodes", "O=x", "CN=system:node:a"]);
});

test("a server and a client with these certificates know each other", async (t) => {
  const pki = await openPki(await directory(t));
  const listener = createServer(
    { ...(await pki.serverCertificate({ dnsNames: [], ips: ["127.0.0.1"] })), ca: pki.ca, requestCert: true },
    (req, res) => {
      const socket = req.socket as TLSSocket;
      res.end(JSON.stringify({ authorized: socket.authorized, subject: socket.getPeerCertificate().subject }));
    },
  );
  t.after(() => listener.close());
  await once(listener.listen(0, "127.0.0.1"), "listening");
  const { port } = listener.address() as AddressInfo;
  const me = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"], days: 1 });
  const call = request({ host: "127.0.0.1", port, ca: pki.ca, ...me, agent: false }).end();
  const [response] = (await once(call, "response")) as [NodeJS.ReadableStream];
  let body = "";
  for await (const chunk of response) body += String(chunk);
  assert.deepEqual(JSON.parse(body), { authorized: true, subject: { O: "system:masters", CN: "admin" } });
});

test("what was issued is given again, also by another process' handle, and only its owner reads it", async (t) => {
  const path = await directory(t);
  const [one, two] = await Promise.all([openPki(path), openPki(path)]);
  assert.equal(one.ca, two.ca);
  const first = await one.clientCertificate({ commonName: "a" });
  assert.deepEqual(await two.clientCertificate({ commonName: "a" }), first);
  assert.notEqual((await two.clientCertificate({ commonName: "b" })).cert, first.cert);
  for (const name of await readdir(path))
    if (name !== "ca.crt") assert.equal((await stat(join(path, name))).mode & 0o777, 0o600, name);
  assert.equal(await readFile(one.caFile, "utf8"), one.ca);
});

test("a certificate in the last third of its life is issued anew, and the authority outlives its first one", async (t) => {
  const path = await directory(t);
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const before = await openPki(path);
  const old = await before.clientCertificate({ commonName: "a", days: 9 });
  t.mock.timers.tick(5 * 86_400_000);
  assert.equal((await before.clientCertificate({ commonName: "a", days: 9 })).cert, old.cert);
  t.mock.timers.tick(2 * 86_400_000);
  assert.notEqual((await before.clientCertificate({ commonName: "a", days: 9 })).cert, old.cert);
  t.mock.timers.tick(8 * 365 * 86_400_000);
  const after = await openPki(path);
  assert.notEqual(after.ca, before.ca);
  assert.ok(new X509Certificate(old.cert).verify(new X509Certificate(after.ca).publicKey));
});

test("a damaged authority is refused by name, and a damaged certificate is issued anew", async (t) => {
  const path = await directory(t);
  const pki = await openPki(path);
  const { cert } = await pki.clientCertificate({ commonName: "a" });
  const file = (await readdir(path)).find((name) => name.startsWith("client-"));
  assert.ok(file);
  await writeFile(join(path, file), "half a li");
  assert.notEqual((await pki.clientCertificate({ commonName: "a" })).cert, cert);
  await writeFile(join(path, "ca.pem"), pki.ca);
  await assert.rejects(openPki(path), (error) => isFailure(error, "BAD_PKI") && /ca\.pem/.test(error.message));
});
