import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { parseReference, type Descriptor, type Source } from "#oci";
import { makeCertificates } from "../../test/support/certificates.ts";
import { filesIn } from "../../test/support/files.ts";
import { startFakeRegistry, type FakeRegistry } from "../../test/support/fake-registry.ts";
import { createRegistry, noCredentials, type Proxies } from "./index.ts";

const { ca, leaf } = makeCertificates();

/** Fetches one blob through a hosts.toml whose `server` is this registry. */
async function fetchFrom(t: TestContext, server: FakeRegistry, lines: string, proxies?: Proxies): Promise<string> {
  const dir = await filesIn(t, {
    "quay.io/hosts.toml": `server = "${server.url}"\n${lines}`,
    "quay.io/ca.pem": ca,
    "quay.io/leaf.pem": leaf.cert,
    "quay.io/leaf.key": leaf.key,
  });
  const options = { credentials: noCredentials, userAgent: "orlop/test", patience: { attempts: 2, base: 1, cap: 1 } };
  await using registry = createRegistry({
    hosts: { certsDir: dir },
    ...options,
    ...(proxies === undefined ? {} : { proxies }),
  });
  const source: Source = registry.source(parseReference("quay.io/x/y:v1"));
  const blob: Descriptor = server.putBlob("over TLS");
  return Buffer.from(await source.fetch(blob)).toString();
}

test("a certificate of an unknown authority is refused, and the message says what helps", async (t) => {
  await using server = await startFakeRegistry({ tls: leaf });
  await assert.rejects(fetchFrom(t, server, ""), {
    code: "FAILED_PRECONDITION",
    reason: "CERTIFICATE_INVALID",
    message: /tls: failed to verify certificate: (?!.*Node)[^;]*; give the registry.*hosts\.toml/,
  });
  assert.deepEqual(server.log, []);
});

test("ca names the authority, skip_verify does without one", async (t) => {
  await using server = await startFakeRegistry({ tls: leaf });
  assert.equal(await fetchFrom(t, server, 'ca = "ca.pem"'), "over TLS");
  assert.equal(await fetchFrom(t, server, "skip_verify = true"), "over TLS");
});

test("a client certificate is shown to who asks for it", async (t) => {
  await using server = await startFakeRegistry({ tls: { ...leaf, ca } });
  assert.equal(await fetchFrom(t, server, 'ca = "ca.pem"\nclient = [["leaf.pem", "leaf.key"]]'), "over TLS");
  await assert.rejects(fetchFrom(t, server, 'ca = "ca.pem"'), { code: "UNAVAILABLE" });
});

test("a redirect to another host is verified there, whatever was said of the first", async (t) => {
  await using server = await startFakeRegistry({ tls: leaf });
  await using bucket = await startFakeRegistry({ tls: leaf });
  const blob = bucket.putBlob("over TLS");
  server.intercepts.push((_, response) => {
    response.writeHead(307, { location: `${bucket.url}/v2/b/blobs/${blob.digest}` }).end();
    return true;
  });
  await assert.rejects(fetchFrom(t, server, "skip_verify = true"), { reason: "CERTIFICATE_INVALID" });
  assert.equal(await fetchFrom(t, server, 'ca = "ca.pem"'), "over TLS");
});

test("a token server on another host is verified, before it sees a password", async (t) => {
  await using server = await startFakeRegistry({ tls: leaf });
  await using tokens = await startFakeRegistry({ tls: leaf });
  server.intercepts.push((_, response) => {
    const realm = tokens.url.replace("127.0.0.1", "localhost");
    response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}/token"` }).end();
    return true;
  });
  await assert.rejects(fetchFrom(t, server, "skip_verify = true"), { reason: "CERTIFICATE_INVALID" });
  assert.deepEqual(tokens.log, []);
});

test("a redirect from TLS to none is refused", async (t) => {
  await using server = await startFakeRegistry({ tls: leaf });
  server.intercepts.push((_, response) => {
    response.writeHead(307, { location: "http://bucket.example/blob?signature=secret" }).end();
    return true;
  });
  await assert.rejects(fetchFrom(t, server, 'ca = "ca.pem"'), (error: Error & { reason?: string }) => {
    assert.equal(error.reason, "INSECURE_REDIRECT");
    return !error.message.includes("secret");
  });
});

test("a proxy is asked for a tunnel, and sees no password of the registry", async (t) => {
  const password = { username: "orlop", password: "secret" };
  await using server = await startFakeRegistry({ tls: leaf, basic: password });
  const asked: string[] = [];
  const proxy = createServer().listen(0, "127.0.0.1");
  proxy.on("connect", (request, socket) => {
    asked.push(`${request.url} ${request.headers["proxy-authorization"] ?? ""}`);
    const [, port] = server.host.split(":");
    const upstream = connect(Number(port), "127.0.0.1", () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
    upstream.pipe(socket).pipe(upstream);
    for (const end of [upstream, socket]) end.on("error", () => upstream.destroy());
  });
  await once(proxy, "listening");
  const address = proxy.address();
  const port = typeof address === "object" ? address?.port : 0;
  try {
    const dir = await filesIn(t, { "quay.io/hosts.toml": 'server = "https://registry.example"\nskip_verify = true' });
    await using registry = createRegistry({
      hosts: { certsDir: dir },
      credentials: noCredentials,
      userAgent: "orlop/test",
      proxies: { https: `http://user:pass@127.0.0.1:${port}` },
    });
    const blob = server.putBlob("through the proxy");
    const source = registry.source(parseReference("quay.io/x/y:v1"), [password]);
    assert.equal(Buffer.from(await source.fetch(blob)).toString(), "through the proxy");
    const credentials = `Basic ${Buffer.from("user:pass").toString("base64")}`;
    assert.deepEqual(new Set(asked), new Set([`registry.example:443 ${credentials}`]));
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});

test("a proxy passes plain requests on, and is the one that hosts.toml names", async (t) => {
  await using proxy = await startFakeRegistry();
  const dir = await filesIn(t, {
    "quay.io/hosts.toml": `server = "http://registry.example:5000"\nproxy = "${proxy.url}"`,
  });
  await using registry = createRegistry({
    hosts: { certsDir: dir },
    credentials: noCredentials,
    userAgent: "orlop/test",
  });
  const blob = proxy.putBlob("through the proxy");
  const source = registry.source(parseReference("quay.io/x/y:v1"));
  assert.equal(Buffer.from(await source.fetch(blob)).toString(), "through the proxy");
  assert.deepEqual(proxy.log, [`GET http://registry.example:5000/v2/x/y/blobs/${blob.digest}?ns=quay.io`]);
});
