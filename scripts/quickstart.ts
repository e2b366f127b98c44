// Shows the main job on this machine: a registry on loopback, `orlop push`, `orlop up`, and the Pod of the Kubernetes
// 1.31 announcement with stock kubectl. Prints every command and its real output, and fails if that is not what the
// README promises. Stays up until Ctrl-C; with --once it deletes the Pod and leaves nothing behind.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { once: { type: "boolean", default: false } } });

const root = join(import.meta.dirname, "..");
const work = join(root, ".orlop");
// Socket paths must be short (107 bytes), and two checkouts must not meet.
const runDir = `/run/orlop-${createHash("sha256").update(root).digest("hex").slice(0, 8)}`;
const certsDir = join(work, "certs.d");
const kubeconfig = join(work, "kubeconfig");
const upLog = join(work, "up.log");
const orlop = join(root, "node_modules/.bin/orlop");
const places = ["--data-dir", join(work, "data"), "--run-dir", runDir, "--certs-dir", certsDir];

const ended = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => ended.abort());

class Wrong extends Error {}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function title(text: string): void {
  say(`\n== ${text}`);
}

/** What a person would type. */
function typed(words: readonly string[]): string {
  return words
    .map((word) => (word.startsWith(root) ? relative(process.cwd(), word) || "." : word))
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}

interface Expected {
  /** The exit code; "any" where only the words count. */
  readonly code?: number | "any";
  readonly output?: RegExp | string;
  readonly cwd?: string;
}

/** Runs one command, shows it with all it prints, and compares. */
function show(words: readonly string[], expected: Expected = {}): string {
  say(`$ ${typed(words)}`);
  const [program = "", ...args] = words;
  const result = spawnSync(program, args, {
    cwd: expected.cwd ?? root,
    encoding: "utf8",
    env: { ...process.env, KUBECONFIG: kubeconfig },
    timeout: 180_000,
  });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}`;
  process.stdout.write(output);
  if (result.error !== undefined) throw new Wrong(`${program}: ${result.error.message}`);
  const { code = 0, output: wanted } = expected;
  if (code !== "any" && result.status !== code) throw new Wrong(`it ended with ${result.status}, not ${code}`);
  if (typeof wanted === "string" ? output !== wanted : wanted !== undefined && !wanted.test(output))
    throw new Wrong(`its output is not ${String(wanted)}`);
  return output;
}

/** Starts a server in a process group of its own, so that a Ctrl-C reaches it through us, in order. */
function start(words: readonly string[], log: string): ChildProcess {
  say(`$ ${typed(words)} &`);
  const [program = "", ...args] = words;
  const fd = openSync(log, "a");
  return spawn(program, args, { cwd: root, detached: true, stdio: ["ignore", fd, fd] });
}

async function stop(child: ChildProcess | undefined, name: string): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const timeout = sleep(90_000, "late" as const, { ref: false });
  if ((await Promise.race([gone, timeout])) === "late") {
    child.kill("SIGKILL");
    throw new Wrong(`${name} did not end within 90 s of SIGTERM`);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Wrong("no port is free");
  return address.port;
}

/** Waits until `ready` holds; fails when the process ends first, with the end of what it said. */
async function until(what: string, child: ChildProcess, log: string, ready: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    if (await ready()) return;
    if (ended.signal.aborted) throw new Wrong("interrupted");
    const dead = child.exitCode !== null || child.signalCode !== null;
    if (dead || Date.now() > deadline) {
      const tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-15).join("\n");
      throw new Wrong(`${what} ${dead ? "ended" : "is not ready after 120 s"}; the last it said:\n${tail}`);
    }
    await sleep(50);
  }
}

function file(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** The three objects' files, as directories to be pushed. */
function makeContent(): { workload: string; pause: string; artifact: string } {
  const workload = join(work, "content/workload");
  mkdirSync(join(workload, "bin"), { recursive: true });
  for (const dir of ["etc", "tmp", "proc", "sys", "dev"]) mkdirSync(join(workload, dir), { recursive: true });
  copyFileSync("/bin/busybox", join(workload, "bin/busybox"));
  const applets = spawnSync("/bin/busybox", ["--list"], { encoding: "utf8" }).stdout.split("\n");
  for (const applet of applets)
    if (applet !== "" && applet !== "busybox") symlinkSync("busybox", join(workload, "bin", applet));
  file(join(workload, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\n");
  file(join(workload, "etc/group"), "root:x:0:\n");

  const pause = join(work, "content/pause");
  mkdirSync(pause, { recursive: true });
  const catatonit = ["/usr/bin/catatonit", "/usr/libexec/podman/catatonit"].find((path) => existsSync(path));
  if (catatonit === undefined) throw new Wrong("catatonit is not installed");
  copyFileSync(catatonit, join(pause, "pause"));

  const artifact = join(work, "content/artifact");
  file(join(artifact, "dir/file"), "1\n");
  file(join(artifact, "file"), "2\n");
  return { workload, pause, artifact };
}

/** Everything of ours that the kernel still knows about; empty when all is cleaned up. */
function leftovers(): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(runDir) || line.includes(work))
    .map((line) => `mount ${line.split(" ")[4]}`);
  const processes = spawnSync("ps", ["-eo", "pid,args"], { encoding: "utf8" })
    .stdout.split("\n")
    .filter((line) => (line.includes(runDir) || line.includes(work)) && !line.includes("quickstart"))
    .map((line) => `process ${line.trim()}`);
  const bridge = `orlop-${createHash("sha256").update(runDir).digest("hex").slice(0, 8)}`;
  const links = existsSync(`/sys/class/net/${bridge}`) ? [`network interface ${bridge}`] : [];
  // One that came meanwhile and has no process in it was a Pod's.
  const namespaces = networkNamespaces()
    .filter((name) => !namespacesBefore.has(name))
    .filter((name) => spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" }).stdout.trim() === "")
    .map((name) => `network namespace ${name}`);
  return [...mounts, ...processes, ...links, ...namespaces];
}

function networkNamespaces(): string[] {
  return existsSync("/run/netns") ? readdirSync("/run/netns") : [];
}

const namespacesBefore = new Set(networkNamespaces());

let registry: ChildProcess | undefined;
let up: ChildProcess | undefined;
let failed = false;
try {
  if (process.getuid?.() !== 0) throw new Wrong("run this as root: it mounts filesystems and starts containers");
  rmSync(join(work, "content"), { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  rmSync(upLog, { force: true });
  const began = Date.now();

  title("Build");
  show(["npm", "run", "--silent", "build"]);

  title("A registry on loopback, which stands in for registry.k8s.io and quay.io");
  const port = await freePort();
  const config = join(work, "registry.yml");
  file(
    config,
    [
      "version: 0.1",
      "log: {level: error, accesslog: {disabled: true}}",
      `storage: {filesystem: {rootdirectory: ${JSON.stringify(join(work, "registry"))}}, delete: {enabled: true}}`,
      `http: {addr: "127.0.0.1:${port}"}`,
      "",
    ].join("\n"),
  );
  registry = start(["docker-registry", "serve", config], join(work, "registry.log"));
  await until("docker-registry", registry, join(work, "registry.log"), () =>
    fetch(`http://127.0.0.1:${port}/v2/`).then(
      (response) => response.ok,
      () => false,
    ),
  );
  for (const host of ["registry.k8s.io", "quay.io"]) {
    const hosts = join(certsDir, host, "hosts.toml");
    file(
      hosts,
      `server = "http://127.0.0.1:${port}"\n\n[host."http://127.0.0.1:${port}"]\n  capabilities = ["pull", "resolve", "push"]\n`,
    );
  }
  show(["cat", join(certsDir, "quay.io/hosts.toml")]);

  title("Three objects, pushed with orlop");
  const { workload, pause, artifact } = makeContent();
  const idle = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
  const pushed = /@sha256:[0-9a-f]{64}\n$/;
  show(
    // prettier-ignore
    [orlop, "push", ...places, "--image", "--entrypoint", "/bin/sh", "--cmd=-c", "--cmd", idle, "--env", "PATH=/bin",
      workload, "registry.k8s.io/e2e-test-images/echoserver:2.3"],
    { output: pushed },
  );
  show(
    [orlop, "push", ...places, "--image", "--entrypoint", "/pause", "--cmd=-P", pause, "registry.k8s.io/pause:3.10"],
    { output: pushed },
  );
  show([orlop, "push", ...places, "dir", "file", "quay.io/crio/artifact:v1"], { cwd: artifact, output: pushed });

  title("The node: API server, scheduler, kubelet, CRI endpoint, containerd");
  up = start([orlop, "up", ...places, "--kubeconfig", kubeconfig, "--port", String(await freePort())], upLog);
  const { signal } = ended;
  await until("orlop up", up, upLog, () => Promise.resolve(/Ready/.test(readFileSync(upLog, "utf8"))));
  process.stdout.write(readFileSync(upLog, "utf8"));

  title("The Pod of the Kubernetes 1.31 announcement");
  const script = "ls /volume; cat /volume/file; ls /volume/dir; cat /volume/dir/file";
  show(["cat", "examples/pod.yaml"]);
  show(["kubectl", "apply", "-f", "examples/pod.yaml"]);
  show(["kubectl", "wait", "--for=condition=Ready", "pod/pod", "--timeout=120s"]);
  show(["kubectl", "get", "pod", "pod", "-o", "wide"]);
  show(["kubectl", "exec", "pod", "--", "sh", "-c", script], { output: "dir\nfile\n2\nfile\n1\n" });

  title("One read-only mount that nothing can be run from");
  const line = /^\S+ on \/volume type erofs \((?=.*\bro\b)(?=.*\bnosuid\b)(?=.*\bnodev\b)(?=.*\bnoexec\b).*\)\n$/;
  show(["kubectl", "exec", "pod", "--", "sh", "-c", "mount | grep /volume"], { output: line });
  show(["kubectl", "exec", "pod", "--", "touch", "/volume/x"], { code: 1, output: /Read-only file system/ });
  show(["kubectl", "exec", "pod", "--", "/volume/file"], { code: "any", output: /[Pp]ermission denied/ });

  say(`\nAll of this took ${((Date.now() - began) / 1000).toFixed(1)} s.`);
  if (!values.once) {
    say(
      `\nThe node stays up until Ctrl-C. From another terminal:\n\n  export KUBECONFIG=${kubeconfig}\n  kubectl get pods`,
    );
    if (!signal.aborted) await once(signal, "abort");
  }
  title("Clean up");
  show(["kubectl", "delete", "pod", "pod", "--timeout=60s"]);
} catch (error) {
  failed = true;
  if (!ended.signal.aborted) complain(error);
}
try {
  await stop(up, "orlop up");
  await stop(registry, "docker-registry");
  const left = leftovers();
  if (left.length > 0) throw new Wrong(`these are left behind:\n  ${left.join("\n  ")}`);
  if (!failed) rmSync(work, { recursive: true, force: true });
  rmSync(runDir, { recursive: true, force: true });
  say("Nothing is left behind: no process, mount, network interface or namespace.");
} catch (error) {
  failed = true;
  complain(error);
}
process.exitCode = failed ? 1 : 0;

function complain(error: unknown): void {
  say(`\nquickstart: ${error instanceof Error ? error.message : String(error)}`);
  if (existsSync(upLog)) say(`The node's log is in ${relative(process.cwd(), upLog)}.`);
}
