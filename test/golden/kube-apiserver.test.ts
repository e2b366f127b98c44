// Replays what a kube-apiserver 1.36.2 was asked and answered (kube-apiserver.json) against ours, in the order recorded.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startApiServer, type ApiServer, type ApiServerOptions } from "#apiserver";

interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly auth?: string;
}

interface Case {
  readonly order: number;
  readonly group: string;
  readonly name: string;
  readonly setup?: readonly Call[];
  readonly cleanup?: readonly Call[];
  readonly serverFlags?: readonly string[];
  readonly request: Call;
  readonly response: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: unknown };
}

/** Cases that do not pass yet. The list only shrinks: one that passes must go. */
const FAILING: readonly string[] = [];

const cases = JSON.parse(await readFile(join(import.meta.dirname, "kube-apiserver.json"), "utf8")) as Case[];
const directory = await mkdtemp(join(tmpdir(), "orlop-golden-"));
const servers = new Map<string, Promise<ApiServer>>();
const ADMIN = "the-test's-own-token";

after(async () => {
  for (const server of servers.values()) await (await server)[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** One fresh server for each set of flags. */
function serverFor(flags: readonly string[] = []): Promise<ApiServer> {
  const key = flags.join(" ");
  let server = servers.get(key);
  if (server === undefined) servers.set(key, (server = start(flags, servers.size)));
  return server;
}

async function start(flags: readonly string[], number: number): Promise<ApiServer> {
  const flag = (name: string): string | undefined =>
    flags.find((f) => f.startsWith(`--${name}=`))?.slice(name.length + 3);
  const given = {
    featureGates: flag("feature-gates"),
    admissionPlugins: flag("enable-admission-plugins"),
    emulatedVersion: flag("emulated-version"),
  };
  const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const server = await startApiServer({
    dataDir: join(directory, String(number)),
    bearers: new Map([[ADMIN, { name: "admin", groups: ["system:masters"] }]]),
    ...(options as Partial<ApiServerOptions>),
  });
  // When this was recorded, the namespace `team` of an earlier run was still being deleted.
  const team = { apiVersion: "v1", kind: "Namespace", metadata: { name: "team", finalizers: ["orlop.test/kept"] } };
  await call(server, { method: "POST", path: "/api/v1/namespaces", body: team });
  await call(server, { method: "DELETE", path: "/api/v1/namespaces/team" });
  return server;
}

async function call(server: ApiServer, { method, path, headers = {}, body, auth }: Call): Promise<Response> {
  const sent: Record<string, string> = { "Content-Type": "application/json", ...headers };
  if (auth !== "none") sent["Authorization"] = `Bearer ${auth ?? ADMIN}`;
  const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  return fetch(server.url + path, { method, headers: sent, ...(text === undefined ? {} : { body: text }) });
}

const VOLATILE = new Set([
  "uid",
  "resourceVersion",
  "creationTimestamp",
  "deletionTimestamp",
  "expirationTimestamp",
  "token",
  "serverAddress",
]);
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

/** Every recorded field must be there, with that value; fields that are not recorded must not, but managedFields. */
function compare(actual: unknown, expected: unknown, path: string, generated: boolean): void {
  if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual), `${path}: not a list`);
    assert.equal(actual.length, expected.length, `${path}: length`);
    for (const [i, item] of expected.entries()) compare(actual[i], item, `${path}[${i}]`, generated);
  } else if (typeof expected === "object" && expected !== null) {
    assert.ok(typeof actual === "object" && actual !== null, `${path}: not an object but ${JSON.stringify(actual)}`);
    const given = { ...actual } as Record<string, unknown>;
    if (path.endsWith("metadata")) delete given["managedFields"];
    const wanted = expected as Record<string, unknown>;
    assert.deepEqual(Object.keys(given).sort(), Object.keys(wanted).sort(), `${path}: fields`);
    for (const [key, value] of Object.entries(wanted)) {
      const at = path === "" ? key : `${path}.${key}`;
      if (VOLATILE.has(key)) assert.equal(typeof given[key], typeof value, at);
      else if (key === "name" && path === "metadata" && generated) assert.match(String(given[key]), /^gen-[a-z0-9]{5}$/);
      else compare(given[key], value, at, generated);
    }
  } else if (typeof expected === "string" && TIME.test(expected)) assert.match(String(actual), TIME, path);
  else assert.equal(actual, expected, path);
}

interface Shape {
  readonly kind?: string;
  readonly items?: readonly { metadata: { name: string } }[];
  readonly columnDefinitions?: readonly { name: string }[];
  readonly message?: string;
  readonly metadata?: { generateName?: string };
}

function check(actual: unknown, expected: unknown): void {
  if (expected === "(any)" || expected === "(stream)") return;
  if (typeof expected === "string") return assert.equal(actual, expected);
  const is = actual as Shape;
  const wanted = expected as Shape;
  if (wanted.kind === "Table") {
    assert.equal(is.kind, "Table");
    const names = (shape: Shape): string[] => (shape.columnDefinitions ?? []).map((column) => column.name);
    return assert.deepEqual(names(is), names(wanted));
  }
  if (wanted.items !== undefined) {
    assert.equal(is.kind, wanted.kind);
    const names = (shape: Shape): string[] => (shape.items ?? []).map((item) => item.metadata.name);
    assert.deepEqual(names(is), names(wanted));
    return compare(is.items, wanted.items, "items", false);
  }
  const goType = /Go struct field \w+\.(\S+)/.exec(wanted.message ?? "");
  if (goType !== null) {
    const field = goType[1]?.split(".").at(-1) ?? "";
    assert.ok(is.message?.includes(field), `${is.message} names no ${field}`);
    return compare({ ...is, message: "" }, { ...wanted, message: "" }, "", false);
  }
  compare(actual, expected, "", wanted.metadata?.generateName !== undefined);
}

const ordered = cases.toSorted((a, b) => a.order - b.order);
for (const recorded of ordered) {
  const title = `${recorded.group}: ${recorded.name}`;
  test(title, async () => {
    const server = await serverFor(recorded.serverFlags);
    for (const step of recorded.setup ?? []) await (await call(server, step)).arrayBuffer();
    const response = await call(server, recorded.request);
    const text = await response.text();
    const run = (): void => {
      const { status, headers, body } = recorded.response;
      assert.equal(response.status, status, text);
      for (const [name, value] of Object.entries(headers)) assert.equal(response.headers.get(name), value, name);
      const json = response.headers.get("Content-Type")?.startsWith("application/json") === true;
      check(json && body !== "(stream)" ? (JSON.parse(text) as unknown) : text, body);
    };
    if (FAILING.includes(title)) assert.throws(run, `${title} passes now: take it off the list`);
    else run();
    for (const step of recorded.cleanup ?? []) await (await call(server, step)).arrayBuffer();
  });
}
