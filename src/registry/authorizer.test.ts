import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { test } from "node:test";
import { parseReference, type Credentials, type Descriptor } from "#oci";
import { describe, pieces } from "../../test/support/content.ts";
import { fail, startFakeRegistry, type FakeRegistry } from "../../test/support/fake-registry.ts";
import { mergeScopes } from "./authorizer.ts";
import { createRegistry, noCredentials, type Registry } from "./index.ts";
import type { WireResponse } from "./wire-response.ts";

function client(): Registry {
  const patience = { attempts: 3, base: 1, cap: 2 };
  return createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test", patience });
}

interface TokenRequest {
  readonly method: string;
  readonly parameters: URLSearchParams;
  readonly authorization: string | undefined;
}

interface Guarded extends AsyncDisposable {
  readonly server: FakeRegistry;
  readonly tokenRequests: TokenRequest[];
  /** The tokens that the registry takes. */
  readonly valid: Set<string>;
  readonly blob: Descriptor;
}

/** A registry that wants tokens, and the server that gives them: `issue` says which token a request gets, or none. */
async function guarded(issue: (request: TokenRequest) => object | undefined): Promise<Guarded> {
  const tokenRequests: TokenRequest[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = "", headers } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const form = method === "POST" ? Buffer.concat(chunks).toString() : (request.url ?? "").split("?")[1];
    const asked = { method, parameters: new URLSearchParams(form), authorization: headers.authorization };
    tokenRequests.push(asked);
    const token = issue(asked);
    if (token === undefined) return fail(response, 401, "UNAUTHORIZED");
    response.end(JSON.stringify(token));
  };
  const tokens = createServer((request, response) => void answer(request, response)).listen(0, "127.0.0.1");
  await once(tokens, "listening");
  const address = tokens.address();
  const realm = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/token`;
  const server = await startFakeRegistry();
  const valid = new Set<string>();
  server.intercepts.push((request, response) => {
    if (valid.has(request.headers.authorization?.replace(/^Bearer /, "") ?? "")) return false;
    const challenge = `Bearer realm="${realm}",service="fake",scope="repository:x/y:pull"`;
    fail(response, 401, "UNAUTHORIZED", { "www-authenticate": challenge });
    return true;
  });
  return {
    server,
    tokenRequests,
    valid,
    blob: server.putBlob("content"),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      const closed = once(tokens, "close");
      tokens.close();
      tokens.closeAllConnections();
      await closed;
    },
  };
}

function sourceOf(registry: Registry, room: Guarded, credentials: readonly Credentials[] = []) {
  return registry.source(parseReference(`${room.server.host}/x/y:v1`), credentials);
}

test("nobody gets a token too, once for all requests", async () => {
  await using room = await guarded(() => ({ token: "anonymous", expires_in: 300 }));
  room.valid.add("anonymous");
  await using registry = client();
  const source = sourceOf(registry, room);
  await Promise.all(Array.from({ length: 20 }, () => source.fetch(room.blob)));
  assert.equal(room.tokenRequests.length, 1);
  const { parameters, authorization } = room.tokenRequests[0] ?? assert.fail();
  assert.deepEqual(
    [parameters.get("service"), parameters.getAll("scope"), authorization],
    ["fake", ["repository:x/y:pull"], undefined],
  );
});

test("a token that the registry does not take any more is got anew, in the middle of a pull", async () => {
  let count = 0;
  await using room = await guarded(() => ({ access_token: `token-${++count}`, expires_in: 300 }));
  room.valid.add("token-1");
  await using registry = client();
  const source = sourceOf(registry, room, [{ username: "orlop", password: "secret" }]);
  await source.fetch(room.blob);
  room.valid.clear();
  room.valid.add("token-2");
  await source.fetch(room.blob);
  const basic = `Basic ${Buffer.from("orlop:secret").toString("base64")}`;
  assert.deepEqual(
    room.tokenRequests.map(({ authorization }) => authorization),
    [basic, basic],
  );
});

test("a token that has run out is not used again", async (t) => {
  t.mock.timers.enable({ apis: ["Date"] });
  let count = 0;
  await using room = await guarded(() => ({ token: `token-${++count}`, expires_in: 60 }));
  room.valid.add("token-1").add("token-2");
  await using registry = client();
  const source = sourceOf(registry, room);
  await source.fetch(room.blob);
  t.mock.timers.tick(60_000);
  await source.fetch(room.blob);
  assert.equal(room.tokenRequests.length, 2);
  assert.equal(room.server.requests.length, 3, "one refusal, then two with tokens");
});

test("an identity token is exchanged by POST", async () => {
  await using room = await guarded(({ method }) => (method === "POST" ? { access_token: "exchanged" } : undefined));
  room.valid.add("exchanged");
  await using registry = client();
  await sourceOf(registry, room, [{ identityToken: "refresh-me" }]).fetch(room.blob);
  assert.deepEqual(Object.fromEntries(room.tokenRequests[0]?.parameters ?? []), {
    grant_type: "refresh_token",
    client_id: "orlop",
    service: "fake",
    scope: "repository:x/y:pull",
    refresh_token: "refresh-me",
  });
});

test("a registry token is used as it is", async () => {
  await using room = await guarded(() => assert.fail("nobody asks for a token"));
  room.valid.add("ready-made");
  await using registry = client();
  await sourceOf(registry, room, [{ registryToken: "ready-made" }]).fetch(room.blob);
});

test("credentials are tried in order, then nobody is; what is refused is told without the password", async () => {
  const passwords = ["first-password", "second-password"];
  const tried = (room: Guarded): readonly (string | undefined)[] =>
    room.tokenRequests.map(({ authorization }) =>
      authorization === undefined ? undefined : Buffer.from(authorization.slice(6), "base64").toString().split(":")[1],
    );
  await using room = await guarded(({ authorization }) =>
    authorization === undefined ? { token: "anonymous" } : undefined,
  );
  await using registry = client();
  const credentials = passwords.map((password) => ({ username: "orlop", password }));
  await assert.rejects(sourceOf(registry, room, credentials).fetch(room.blob), (error: Error) => {
    assert.match(error.message, /pull access denied, repository does not exist or may require authorization/);
    assert.match(error.message, /the credentials for it were refused\)$/);
    return !passwords.some((password) => error.message.includes(password));
  });
  assert.deepEqual(tried(room), [...passwords, undefined]);
});

test("a registry that says the secret back is not quoted with it", async () => {
  await using room = await guarded(() => ({ token: "secret-token" }));
  await using registry = client();
  room.server.intercepts.unshift((request, response) => {
    const { authorization } = request.headers;
    if (authorization === undefined) return false;
    response.writeHead(403, { "content-type": "application/json" });
    response.end(
      JSON.stringify({ errors: [{ code: "DENIED", message: `no:\n${authorization} ${"x".repeat(1000)}` }] }),
    );
    return true;
  });
  await assert.rejects(sourceOf(registry, room).fetch(room.blob), (error: Error) => {
    assert.match(error.message, /DENIED: no: /);
    assert.doesNotMatch(error.message, /secret-token|\n/);
    return error.message.length < 600;
  });
});

test("a push asks for the right to push", async () => {
  await using room = await guarded(() => ({ token: "pusher" }));
  room.valid.add("pusher");
  await using registry = client();
  const bytes = Buffer.from("new");
  const to = registry.destination(parseReference(`${room.server.host}/x/y:v1`), [], { mountFrom: ["a/b"] });
  await to.pushBlob(describe(bytes), pieces(bytes));
  assert.deepEqual(room.server.blobs.get(describe(bytes).digest), bytes);
  assert.deepEqual(room.tokenRequests[0]?.parameters.getAll("scope"), [
    "repository:x/y:pull,push",
    "repository:a/b:pull",
  ]);
});

test("a password is not sent to a token server without TLS when the registry has TLS", async () => {
  const challenge = { scheme: "bearer", parameters: { realm: "http://tokens.example/token" } };
  const { fetchToken } = await import("./token.ts");
  const send = (): never => assert.fail("nothing is sent");
  const options = { userAgent: "orlop/test", isPlain: false };
  const password = { username: "orlop", password: "secret" };
  await assert.rejects(fetchToken(challenge, [], password, send, options), { reason: "INSECURE_REALM" });
});

test("scopes of one repository are one", () => {
  const scopes = ["repository:a:pull", "repository:b/c:pull", "repository:a:push,pull", "", "odd"];
  assert.deepEqual(mergeScopes(scopes), ["repository:a:pull,push", "repository:b/c:pull"]);
});

test("a token server that breaks off in the middle of its answer is unavailable, and named", async () => {
  const { fetchToken } = await import("./token.ts");
  const broken = (async function* () {
    yield Buffer.from('{"tok');
    await Promise.reject(Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" }));
  })();
  const body = Object.assign(broken, { dump: () => Promise.resolve(), destroy: () => undefined });
  const challenge = { scheme: "bearer", parameters: { realm: "https://auth.example/token" } };
  const send = (): Promise<WireResponse> => Promise.resolve({ statusCode: 200, headers: {}, body });
  await assert.rejects(fetchToken(challenge, [], undefined, send, { userAgent: "x", isPlain: false }), {
    code: "UNAVAILABLE",
    message: /auth\.example/,
  });
});
