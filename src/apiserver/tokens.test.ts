import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, verify, type JsonWebKey } from "node:crypto";
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { isFailure, silent } from "#base";
import type { ApiHost, TokenClaims } from "./ports.ts";
import type { ApiRequest } from "./router.ts";
import { core, notFound } from "./status.ts";
import { openTokens, type SigningTokens } from "./tokens.ts";

const ISSUER = "https://kubernetes.default.svc";
const CLAIMS: TokenClaims = {
  namespace: "default",
  serviceAccount: { name: "robot", uid: "u-1" },
  audiences: [],
  expirationSeconds: 3600,
};
type Metadata = { uid: string; deletionTimestamp?: string };

async function setUp(
  t: TestContext,
): Promise<{ tokens: SigningTokens; directory: string; host: ApiHost; objects: Map<string, Metadata> }> {
  const directory = await mkdtemp(join(tmpdir(), "orlop-apiserver-tokens-"));
  t.after(() => rm(directory, { recursive: true }));
  const objects = new Map<string, Metadata>([
    ["serviceaccounts/default/robot", { uid: "u-1" }],
    ["pods/default/p", { uid: "u-2" }],
  ]);
  const host: ApiHost = {
    log: silent,
    get: ((resource: string, namespace: string, name: string) => {
      const metadata = objects.get(`${resource}/${namespace}/${name}`);
      if (metadata === undefined) throw notFound(core(resource), name);
      return { metadata };
    }) as ApiHost["get"],
  };
  return { tokens: await openTokens({ directory, issuer: ISSUER }), directory, host, objects };
}

const decode = (token: string): Record<string, unknown>[] =>
  token
    .split(".")
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>);

test("a token says what Kubernetes' own says, and names its account", async (t) => {
  const { tokens, host } = await setUp(t);
  const { token, audiences, expiresAt } = await tokens.issue({
    ...CLAIMS,
    boundTo: { kind: "Pod", name: "p", uid: "u-2" },
    node: { name: "n", uid: "u-3" },
  });
  const [header, payload = {}] = decode(token);
  assert.deepEqual(Object.keys(header ?? {}), ["alg", "kid"]);
  assert.deepEqual(Object.keys(payload), ["aud", "exp", "iat", "iss", "jti", "kubernetes.io", "nbf", "sub"]);
  assert.deepEqual(payload["kubernetes.io"], {
    namespace: "default",
    node: { name: "n", uid: "u-3" },
    pod: { name: "p", uid: "u-2" },
    serviceaccount: { name: "robot", uid: "u-1" },
  });
  assert.deepEqual([audiences, payload["aud"], payload["iss"]], [[ISSUER], [ISSUER], ISSUER]);
  assert.equal(Number(payload["exp"]) * 1000, expiresAt.getTime());
  assert.equal(Number(payload["exp"]) - Number(payload["iat"]), 3600);
  const { user } = (await tokens.verify(token, host)) ?? {};
  assert.equal(user?.name, "system:serviceaccount:default:robot");
  assert.deepEqual(user.groups, ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
  assert.deepEqual(user.extra?.["authentication.kubernetes.io/pod-name"], ["p"]);
});

test("the published key checks a token, and a second opening has the same key, for its owner alone", async (t) => {
  const { tokens, directory, host } = await setUp(t);
  const server = createServer((raw, response) => {
    const route = tokens.routes.find((one) => one.path === raw.url);
    assert.ok(route);
    void route.handle({ method: "GET", raw } as ApiRequest, response);
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const get = async <T>(path: string): Promise<T> => (await (await fetch(base + path)).json()) as T;
  const discovery = await get<{ issuer: string; jwks_uri: string }>("/.well-known/openid-configuration");
  assert.deepEqual([discovery.issuer, discovery.jwks_uri], [ISSUER, `${base}/openid/v1/jwks`]);
  const { keys } = await get<{ keys: (JsonWebKey & { kid: string })[] }>(new URL(discovery.jwks_uri).pathname);
  const [jwk] = keys;
  assert.ok(jwk && !("d" in jwk));
  const { token } = await tokens.issue(CLAIMS);
  assert.equal(decode(token)[0]?.["kid"], jwk.kid);
  const [head, body, signature = ""] = token.split(".");
  const key = createPublicKey({ key: jwk, format: "jwk" });
  assert.ok(
    verify(
      "sha256",
      Buffer.from(`${head}.${body}`),
      { key, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url"),
    ),
  );
  const again = await openTokens({ directory, issuer: ISSUER });
  assert.ok(await again.verify(token, host));
  for (const name of await readdir(directory)) assert.equal((await stat(join(directory, name))).mode & 0o777, 0o600);
  await writeFile(join(directory, "service-account.key"), "none");
  await assert.rejects(openTokens({ directory, issuer: ISSUER }), (error) => isFailure(error, "BAD_PKI"));
});

test("the newest key signs, the others check what they signed, and each ends when its file is removed", async (t) => {
  const { tokens, directory, host } = await setUp(t);
  const old = (await tokens.issue(CLAIMS)).token;
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const newest = join(directory, "service-account-2.key");
  await writeFile(newest, rsa.privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
  await utimes(newest, Date.now() / 1000 + 10, Date.now() / 1000 + 10);
  const rotated = await openTokens({ directory, issuer: ISSUER });
  const { token } = await rotated.issue(CLAIMS);
  assert.equal(decode(token)[0]?.["alg"], "RS256");
  for (const one of [old, token]) assert.ok(await rotated.verify(one, host));
  assert.equal(await tokens.verify(token, host), undefined);
  await rm(newest);
  await writeFile(join(directory, "service-account-2.pub"), rsa.publicKey.export({ type: "spki", format: "pem" }));
  const back = await openTokens({ directory, issuer: ISSUER });
  assert.ok(await back.verify(token, host), "a public key checks");
  assert.equal(decode((await back.issue(CLAIMS)).token)[0]?.["alg"], "ES256");
  await rm(join(directory, "service-account.key"));
  const renewed = await openTokens({ directory, issuer: ISSUER });
  assert.equal(await renewed.verify(old, host), undefined);
  assert.ok(await renewed.verify(token, host));
});

test("a token ends with its time, with its account, and with what it is bound to", async (t) => {
  const { tokens, host, objects } = await setUp(t);
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const bound = await tokens.issue({ ...CLAIMS, boundTo: { kind: "Pod", name: "p", uid: "u-2" } });
  const secret = await tokens.issue({ ...CLAIMS, boundTo: { kind: "Secret", name: "s", uid: "u-4" } });
  assert.equal(await tokens.verify(secret.token, host), undefined, "there is no such secret");
  objects.set("secrets/default/s", { uid: "u-4" });
  assert.ok(await tokens.verify(secret.token, host));
  objects.set("secrets/default/s", { uid: "u-5" });
  assert.equal(await tokens.verify(secret.token, host), undefined, "it is another secret");
  const free = await tokens.issue(CLAIMS);
  const good = async (): Promise<boolean[]> => [
    (await tokens.verify(bound.token, host)) !== undefined,
    (await tokens.verify(free.token, host)) !== undefined,
  ];
  assert.deepEqual(await good(), [true, true]);
  objects.set("pods/default/p", { uid: "u-2", deletionTimestamp: new Date().toISOString() });
  assert.deepEqual(await good(), [true, true]);
  t.mock.timers.tick(61_000);
  assert.deepEqual(await good(), [false, true]);
  objects.set("pods/default/p", { uid: "another" });
  assert.deepEqual(await good(), [false, true]);
  objects.delete("pods/default/p");
  assert.deepEqual(await good(), [false, true]);
  t.mock.timers.tick(3540_000);
  assert.deepEqual(await good(), [false, false]);
  const fresh = await tokens.issue(CLAIMS);
  objects.set("serviceaccounts/default/robot", { uid: "another" });
  assert.equal(await tokens.verify(fresh.token, host), undefined);
});

test("tokens of others and changed ones are nobody's", async (t) => {
  const { tokens, host, directory } = await setUp(t);
  const other = await openTokens({ directory: join(directory, "other"), issuer: ISSUER });
  const elsewhere = await openTokens({ directory, issuer: "https://elsewhere" });
  const { token } = await tokens.issue(CLAIMS);
  const [head = "", body = "", signature = ""] = token.split(".");
  const none = Buffer.from('{"alg":"none"}').toString("base64url");
  const bad = [
    (await other.issue(CLAIMS)).token,
    (await elsewhere.issue({ ...CLAIMS, audiences: [ISSUER] })).token,
    `${none}.${body}.`,
    `${none}.${body}.${signature}`,
    `${head}.${Buffer.from("{}").toString("base64url")}.${signature}`,
    `${head}.${body}`,
    "",
    "..",
  ];
  for (const one of bad) assert.equal(await tokens.verify(one, host), undefined);
  await fc.assert(
    fc.asyncProperty(fc.nat(token.length - 1), fc.constantFrom("A", "Q", ".", "é"), async (at, letter) => {
      const changed = token.slice(0, at) + letter + token.slice(at + 1);
      // The last letter of a signature holds bits that mean nothing.
      if (changed !== token && at < token.length - 1) assert.equal(await tokens.verify(changed, host), undefined);
    }),
  );
});
