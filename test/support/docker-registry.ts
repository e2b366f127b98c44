import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface DockerRegistry extends AsyncDisposable {
  /** `http://127.0.0.1:40123` */
  readonly url: string;
  /** `127.0.0.1:40123` */
  readonly host: string;
  /** Its files; `dir/data` is its storage. */
  readonly dir: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface DockerRegistryOptions {
  /** `basic`: user `orlop`, password `secret`. A token server: its realm, service, issuer and certificates (PEM). */
  readonly auth?: "basic" | TokenAuth;
  /** Serve TLS with these PEM texts; with `clientCa`, only to who shows a certificate of it. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** A free one where absent. */
  readonly port?: number;
}

export interface TokenAuth {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  readonly certificates: string;
}

/** `orlop:secret`, bcrypt with the least cost. */
const HTPASSWD = "orlop:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/** Starts Debian's docker-registry on loopback with its storage in a directory of its own, and waits until it answers. */
export async function startRegistry(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  const dir = await mkdtemp(join(tmpdir(), "orlop-docker-registry-"));
  const port = options.port ?? (await freePort());
  await writeFile(join(dir, "htpasswd"), HTPASSWD);
  await writeFile(join(dir, "config.yml"), JSON.stringify(await configuration(options, dir, port), undefined, 2));
  // It ends with the test, even when that is killed.
  // It speaks into a file: a pipe that a test is too busy to empty would stop it.
  await using log = await open(join(dir, "log"), "a");
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "docker-registry", "serve", join(dir, "config.yml")], {
    stdio: ["ignore", "ignore", log.fd],
    env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
  });
  const stop = async (): Promise<void> => {
    await end(child);
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await listening(child, join(dir, "log"));
  } catch (error) {
    await stop();
    throw error;
  }
  const host = `127.0.0.1:${port}`;
  const url = `${options.tls === undefined ? "http" : "https"}://${host}`;
  return { url, host, dir, pid: child.pid ?? 0, stop, [Symbol.asyncDispose]: stop };
}

async function configuration({ auth, tls }: DockerRegistryOptions, dir: string, port: number): Promise<object> {
  const http: Record<string, unknown> = { addr: `127.0.0.1:${port}`, secret: "orlop" };
  if (tls !== undefined) {
    await writeFile(join(dir, "cert.pem"), tls.cert);
    await writeFile(join(dir, "key.pem"), tls.key);
    http["tls"] = { certificate: join(dir, "cert.pem"), key: join(dir, "key.pem") };
    if (tls.clientCa !== undefined) {
      await writeFile(join(dir, "client-ca.pem"), tls.clientCa);
      http["tls"] = { ...(http["tls"] as object), clientcas: [join(dir, "client-ca.pem")] };
    }
  }
  const users: Record<string, unknown> = {};
  if (auth === "basic") users["htpasswd"] = { realm: "orlop", path: join(dir, "htpasswd") };
  else if (auth !== undefined) {
    await writeFile(join(dir, "token.pem"), auth.certificates);
    const { realm, service, issuer } = auth;
    users["token"] = { realm, service, issuer, rootcertbundle: join(dir, "token.pem") };
  }
  return {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(dir, "data") }, delete: { enabled: true } },
    http,
    ...(auth === undefined ? {} : { auth: users }),
  };
}

/** It says so in its log; when it ends before, what it said is the error. */
async function listening(child: ChildProcess, log: string): Promise<void> {
  let failure: Error | undefined;
  child.once("error", (error) => (failure = new Error(`docker-registry cannot be started: ${error.message}`)));
  for (;;) {
    const said = await readFile(log, "utf8");
    if (/listening on /.test(said)) return;
    if (failure !== undefined) throw failure;
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`docker-registry ended with ${child.exitCode}: ${said.trim().slice(-2000)}`);
    await sleep(10);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** A port of loopback that nobody had a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
