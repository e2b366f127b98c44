// Whom the server takes a token for, as it says itself.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ADMIN, startTestApi, testPod, type TestApi } from "../../test/support/api.ts";

const PODS = "/api/v1/namespaces/default/pods";
const ISSUER = "https://kubernetes.default.svc";

interface Status {
  readonly authenticated?: boolean;
  readonly user?: { readonly username: string; readonly groups: readonly string[] };
  readonly audiences?: readonly string[];
  readonly error?: string;
}

async function open(t: { after(run: () => Promise<void>): void }): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-access-"));
  const at = await startTestApi(dir);
  t.after(async () => {
    await at[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  return at;
}

async function review(at: TestApi, token: string, audiences?: readonly string[]): Promise<Status> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences } };
  const { json } = await at.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body);
  return json["status"] as Status;
}

async function tokenOf(at: TestApi, spec: object): Promise<string> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
  const { json, text } = await at.request("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", body);
  assert.ok(json["status"] !== undefined, text);
  return (json["status"] as { token: string }).token;
}

test("a review of a token keeps to the audiences asked for", async (t) => {
  const at = await open(t);
  const own = await tokenOf(at, {});
  const vault = await tokenOf(at, { audiences: ["vault", "other"] });
  const good = await review(at, own);
  assert.deepEqual(
    [good.authenticated, good.user?.username, good.audiences],
    [true, "system:serviceaccount:default:default", [ISSUER]],
  );
  const asked = await review(at, vault, ["vault", "strange"]);
  assert.deepEqual([asked.authenticated, asked.audiences], [true, ["vault"]]);
  assert.deepEqual(await review(at, vault), {
    error: `[invalid bearer token, token audiences ["vault" "other"] is invalid for the target audiences ["${ISSUER}"]]`,
    user: {},
  });
  assert.equal((await at.as(vault).request("GET", PODS)).status, 401, "a token for others opens nothing here");
  assert.equal((await at.as(own).request("GET", PODS)).status, 403);
  assert.deepEqual((await review(at, ADMIN)).user?.groups, ["system:masters", "system:authenticated"]);
  assert.equal((await review(at, ADMIN, ["vault"])).error, "invalid bearer token");
  assert.equal((await review(at, "nonsense")).error, "invalid bearer token");
  const none = await at.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenReview",
    spec: {},
  });
  assert.deepEqual([none.status, none.json.message], [400, "token is required for TokenReview in authentication"]);
});

test("a token that is bound to a Pod ends with it, and with nothing of its name", async (t) => {
  const at = await open(t);
  const made = (await at.request("POST", PODS, testPod("p"))).json.metadata;
  const boundObjectRef = { kind: "Pod", apiVersion: "v1", name: "p" };
  const token = await tokenOf(at, { boundObjectRef });
  assert.equal((await review(at, token)).authenticated, true);
  await at.request("DELETE", `${PODS}/p`);
  assert.equal((await review(at, token)).error, "invalid bearer token");
  await at.request("POST", PODS, testPod("p"));
  assert.equal((await review(at, token)).error, "invalid bearer token");
  const body = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { boundObjectRef: { ...boundObjectRef, uid: made.uid } },
  };
  const stale = await at.request("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", body);
  assert.equal(stale.status, 409);
});

test("the discovery of keys names the address it was asked at", async (t) => {
  const at = await open(t);
  const { json } = await at.request("GET", "/.well-known/openid-configuration");
  assert.deepEqual([json["issuer"], json["jwks_uri"]], [ISSUER, `${at.server.url}/openid/v1/jwks`]);
});
