// Pulls from a docker-registry on loopback, side by side with curl, containerd and podman; each from a cold cache, each with a
// final sync. `ORLOP_BENCH_SCALE=0.1` makes the fixtures smaller; 1 is what the targets are for. `ORLOP_BENCH_ONLY=layers,files` measures
// some of raw, plain, trees, layers, files and far.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createEngine } from "#engine";
import { linuxKernel } from "#kernel";
import { hostPlatform, parseReference } from "#oci";
import { createRegistry, noCredentials } from "#registry";
import { startRegistry } from "../test/support/docker-registry.ts";
import { barChart, type Bar } from "./chart.ts";
import { startDistantRegistry } from "./distant.ts";
import { fixtures, type Fixture } from "./pull-fixtures.ts";
import { median, row, type Bench, type Row } from "./report.ts";

const RUNS = 3;
const ROOT = join(import.meta.dirname, "..");
/** What is released: compiled, so that no time goes into reading types away. */
const BUILT = mkdtempSync(join(tmpdir(), "orlop-bench-built-"));
const ORLOP = join(BUILT, "bin/orlop");

/** What one pull cost. */
interface Cost {
  /** Wall time to the end of the final sync, and CPU time of the program. */
  readonly seconds: number;
  readonly cpu: number;
  /** Bytes that the program gave the disk to write and did not take back before they were written, per byte stored. */
  readonly written: number;
  /** Most memory of the program, in MiB. */
  readonly memory: number;
}

interface Contender {
  readonly name: string;
  /** What must be there. */
  readonly program: string;
  /** The command, or nothing where it cannot pull such an object. */
  command(fixture: Fixture, dir: string): readonly string[] | undefined;
  /** A process that does the work for the command. */
  readonly server?: (dir: string) => Promise<ChildProcess>;
}

const CONTENDERS: readonly Contender[] = [
  {
    name: "orlop",
    program: process.execPath,
    command: ({ reference }, dir) => [
      ORLOP,
      "pull",
      "--data-dir",
      join(dir, "data"),
      "--run-dir",
      join(dir, "run"),
      reference,
    ],
  },
  {
    name: "curl -o",
    program: "curl",
    command: (fixture, dir) => curl(fixture, (url) => `curl -sf -o ${dir}/out ${url}`),
  },
  {
    name: "curl | tee | sha256sum",
    program: "curl",
    command: (fixture, dir) => curl(fixture, (url) => `curl -sf ${url} | tee ${dir}/out | sha256sum`),
  },
  {
    name: "containerd",
    program: "containerd",
    server: startContainerd,
    command: ({ reference, isImage }, dir) => [
      "ctr",
      "-a",
      join(dir, "sock"),
      ...(isImage ? ["images", "pull"] : ["content", "fetch"]),
      "--plain-http",
      reference,
    ],
  },
  {
    name: "podman",
    program: "podman",
    command: ({ reference, isImage }, dir) =>
      isImage
        ? [
            "podman",
            "--root",
            join(dir, "root"),
            "--runroot",
            join(dir, "runroot"),
            "--storage-driver",
            "overlay",
            "pull",
            "--tls-verify=false",
            "-q",
            reference,
          ]
        : undefined,
  },
];

export const bench: Bench = async (say, keep) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-bench-pull-"));
  const scale = Number(process.env["ORLOP_BENCH_SCALE"] ?? 1);
  const only = process.env["ORLOP_BENCH_ONLY"]?.split(",");
  const bars: Bar[] = [];
  const tell = (rows: readonly Row[]): void => {
    keep(rows);
    const times = rows.filter(({ unit }) => unit === "s");
    bars.push(...times.map(({ what, who, median }) => ({ group: what, name: who, value: median })));
  };
  const present = CONTENDERS.filter(({ program }) => existsSync(program) || has(program));
  try {
    build();
    await using docker = await startRegistry();
    await using registry = createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/bench" });
    const places = { dataDir: join(dir, "data"), runDir: join(dir, "run") };
    const platform = hostPlatform(process.arch);
    await using engine = await createEngine({ ...places, kernel: linuxKernel(), registry, platform });
    const destination = (repository: string) => registry.destination(parseReference(`${docker.host}/${repository}:v1`));
    for await (const fixture of fixtures({ engine, destination, host: docker.host, dir, scale }, only)) {
      say(fixture.name);
      const costs = new Map<string, Cost[]>();
      for (let run = 0; run < RUNS; run++)
        for (const contender of present) {
          const cost = await measure(contender, fixture, join(dir, "contender"));
          if (cost !== undefined) costs.set(contender.name, [...(costs.get(contender.name) ?? []), cost]);
        }
      for (const [who, runs] of costs) tell(rowsOf(fixture.name, who, runs, say));
      tell(await timeToMount(engine, fixture, dir, say));
    }
    if (only?.includes("far") ?? true)
      tell(await fromFarAway(join(dir, "contender"), Math.ceil(512 * scale) * 1024 * 1024, say));
  } finally {
    for (const path of [dir, BUILT]) rmSync(path, { recursive: true, force: true });
  }
  const chart = barChart("Seconds to pull, from a cold cache to the final sync", bars);
  writeFileSync(join(import.meta.dirname, "results/pull.svg"), chart);
};

function rowsOf(what: string, who: string, costs: readonly Cost[], say: (line: string) => void): Row[] {
  const of = (key: keyof Cost) => costs.map((cost) => Math.round(cost[key] * 1000) / 1000);
  const ours = who === "orlop";
  say(
    `  ${who.padEnd(24)}${median(of("seconds")).toFixed(2).padStart(8)} s` +
      `${median(of("cpu")).toFixed(2).padStart(8)} s CPU${median(of("written")).toFixed(2).padStart(7)} B/B` +
      `${median(of("memory")).toFixed(0).padStart(6)} MiB`,
  );
  return [
    row(what, who, "s", of("seconds")),
    row(what, who, "s CPU", of("cpu")),
    row(what, who, "bytes written per byte stored", of("written"), ...(ours ? ["≤ 1.02"] : [])),
    row(what, who, "MiB", of("memory"), ...(ours ? ["≤ 200"] : [])),
  ];
}

/** One pull from nothing, with everything it left behind removed. */
async function measure(contender: Contender, fixture: Fixture, dir: string): Promise<Cost | undefined> {
  const [program, ...args] = contender.command(fixture, dir) ?? [];
  if (program === undefined) return undefined;
  mkdirSync(dir, { recursive: true });
  const server = await contender.server?.(dir);
  try {
    spawnSync("sync");
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    const begun = performance.now();
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    const peak = watch(child, server);
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    const { written, ...usage } = peak();
    spawnSync("sync");
    const seconds = (performance.now() - begun) / 1000;
    if (code !== 0) throw new Error(`${contender.name} could not pull ${fixture.reference}: ${said.trim()}`);
    return { seconds, ...usage, written: written / fixture.stored };
  } finally {
    if (server !== undefined) await ended(server);
    spawnSync("sh", ["-c", `grep -o ' ${dir}[^ ]*' /proc/self/mounts | sort -r | xargs -r umount -l`]);
    rmSync(dir, { recursive: true, force: true });
  }
}

/** From everything fetched to mounted: with the snapshot to be made, and with the snapshot there. */
async function timeToMount(
  engine: Awaited<ReturnType<typeof createEngine>>,
  { name, reference }: Fixture,
  dir: string,
  say: (line: string) => void,
): Promise<Row[]> {
  const { digest } = await engine.pull({ reference });
  const target = join(dir, "target");
  const snapshot = join(dir, "data/v1/snapshots", `${digest.slice(7)}.erofs`);
  const first: number[] = [];
  const second: number[] = [];
  const further: number[] = [];
  const mount = async (owner: string, at: string): Promise<number> => {
    mkdirSync(at);
    const begun = performance.now();
    await engine.publish({ owner, digest, target: at });
    return performance.now() - begun;
  };
  for (let i = 0; i < 5; i++) {
    rmSync(snapshot, { force: true });
    first.push(await mount("bench", target));
    further.push(await mount("bench", `${target}-2`));
    await engine.unpublish("bench");
    rmSync(target, { recursive: true });
    second.push(await mount("bench", target));
    await engine.unpublish("bench");
    for (const path of [target, `${target}-2`]) rmSync(path, { recursive: true });
  }
  await engine.remove(reference);
  say(
    `  mounted after ${median(first).toFixed(1)} ms, ${median(second).toFixed(1)} ms with the snapshot there, again after ${median(further).toFixed(1)} ms`,
  );
  return [
    row(`${name}: from bytes present to mounted`, "orlop", "ms", first, "≤ 100 ms for 30,000 files"),
    row(`${name}: mounted, snapshot present`, "orlop", "ms", second, "≤ 10 ms"),
    row(`${name}: one more mount`, "orlop", "ms", further, "≤ 10 ms"),
  ];
}

/** Many connections against one, where it is the connection that is slow. */
async function fromFarAway(dir: string, size: number, say: (line: string) => void): Promise<Row[]> {
  await using far = await startDistantRegistry(size);
  const fixture = { name: "", reference: far.reference, stored: size, isImage: false };
  const one: Contender = {
    name: "curl, one connection",
    program: "curl",
    command: (_, into) => ["curl", "-sf", "-o", join(into, "out"), far.blobUrl],
  };
  const what = `${Math.round(size / 2 ** 20)} MiB raw blob from 50 ms away, 20 MB/s for each connection`;
  say(what);
  const rows: Row[] = [];
  for (const contender of [...CONTENDERS.filter(({ name }) => name === "orlop"), one]) {
    const runs: number[] = [];
    for (let run = 0; run < RUNS; run++) runs.push((await measure(contender, fixture, dir))?.seconds ?? NaN);
    say(`  ${contender.name.padEnd(24)}${median(runs).toFixed(2).padStart(8)} s`);
    const goal = contender === one ? undefined : "≤ 0.2 × one connection";
    rows.push(row(what, contender.name, "s", runs, goal));
  }
  return rows;
}

interface Usage {
  readonly cpu: number;
  readonly memory: number;
  readonly written: number;
}

/** CPU time, most memory and writing of a process, its children and its server: looked at often, told at the end. */
function watch(child: ChildProcess, server: ChildProcess | undefined): () => Usage {
  const seen = new Map<number, Usage>();
  const before = server?.pid === undefined ? undefined : usageOf(server.pid);
  const look = () => {
    for (const root of [child.pid, server?.pid])
      for (const pid of root === undefined ? [] : family(root)) {
        const usage = usageOf(pid);
        if (usage !== undefined) seen.set(pid, usage);
      }
  };
  look();
  const timer = setInterval(look, 20);
  return () => {
    clearInterval(timer);
    if (server?.pid !== undefined) look();
    const sum = (key: keyof Usage) => [...seen.values()].reduce((total, usage) => total + usage[key], 0);
    return {
      cpu: sum("cpu") - (before?.cpu ?? 0),
      written: sum("written") - (before?.written ?? 0),
      memory: sum("memory"),
    };
  };
}

function family(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`)
    .split(" ")
    .filter((word) => word !== "")
    .map(Number);
  return [pid, ...children.flatMap(family)];
}

function usageOf(pid: number): Usage | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const number = (file: string, key: string) =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(read(`/proc/${pid}/${file}`))?.[1] ?? 0);
  const memory = number("status", "VmHWM") / 1024;
  if (fields.length < 13 || memory === 0) return undefined;
  // Clock ticks are hundredths of a second on every Linux that Node runs on.
  const cpu = (Number(fields[11]) + Number(fields[12])) / 100;
  return { cpu, memory, written: number("io", "write_bytes") - number("io", "cancelled_write_bytes") };
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function curl({ reference, blob }: Fixture, command: (url: string) => string): readonly string[] | undefined {
  const { registry, repository } = parseReference(reference);
  if (blob === undefined) return undefined;
  return ["sh", "-c", command(`http://${registry}/v2/${repository}/blobs/${blob}`)];
}

/** A containerd of its own, which nobody else uses. */
async function startContainerd(dir: string): Promise<ChildProcess> {
  const config = join(dir, "config.toml");
  writeFileSync(
    config,
    `version = 2\nroot = "${dir}/root"\nstate = "${dir}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n` +
      `[grpc]\n  address = "${dir}/sock"\n`,
  );
  const child = spawn("containerd", ["-c", config], { stdio: "ignore" });
  while (!existsSync(join(dir, "sock"))) await sleep(20);
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await exited;
}

/** The program as it is released, in a directory of its own: other runs may be building, too. */
function build(): void {
  const dist = join(BUILT, "dist");
  const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
  const { stdout } = spawnSync(
    process.execPath,
    [compiler, "-p", join(ROOT, "tsconfig.build.json"), "--outDir", dist],
    { encoding: "utf8" },
  );
  if (!existsSync(join(dist, "main.js"))) throw new Error(`the program could not be compiled: ${stdout}`);
  for (const file of globSync("**/*.{json,gz}", { cwd: join(ROOT, "src") })) {
    mkdirSync(dirname(join(dist, file)), { recursive: true });
    cpSync(join(ROOT, "src", file), join(dist, file));
  }
  writeFileSync(join(dist, "package.json"), JSON.stringify({ type: "module", imports: { "#*": "./*/index.js" } }));
  for (const name of ["package.json", "bin"]) cpSync(join(ROOT, name), join(BUILT, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(BUILT, "node_modules"));
}

function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}
