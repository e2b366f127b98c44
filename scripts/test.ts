// Every test there is, in order of cost: what can be known without running, single rooms, flows, the whole system.
// Runs all of them even when one fails, says at the end which did, and refuses to pass over anything in CI.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules/.bin", name);
const tests = (...patterns: string[]): string[] =>
  patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();

interface Stage {
  readonly name: string;
  readonly command: readonly string[];
}

const runner = [
  process.execPath,
  "--disable-warning=ExperimentalWarning",
  "--test",
  "--test-reporter=spec",
  "--test-timeout=600000",
];
const stages: readonly Stage[] = [
  { name: "types", command: [bin("tsc"), "-p", "tsconfig.json"] },
  { name: "lint", command: [bin("oxlint"), "--type-aware"] },
  { name: "format", command: [bin("prettier"), "--check", "--log-level", "warn", "."] },
  { name: "dead code", command: [bin("knip")] },
  {
    name: "unit",
    command: [
      ...runner,
      ...tests("src/**/*.test.ts", "test/*.test.ts", "test/golden/**/*.test.ts", "test/regress/**/*.test.ts"),
    ],
  },
  // Flows and systems share the machine's ports, mounts and CPU: one file at a time.
  { name: "flows", command: [...runner, "--test-concurrency=1", ...tests("test/flows/**/*.test.ts")] },
  { name: "system", command: [...runner, "--test-concurrency=1", ...tests("test/system/**/*.test.ts")] },
];

if (process.getuid?.() !== 0) {
  process.stderr.write("test: run this as root: the tests mount filesystems and start containers\n");
  process.exit(1);
}

/** Runs a command with its output on screen as it comes, and returns the output too. */
async function run(command: readonly string[]): Promise<{ code: number | null; output: string }> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (bytes: Buffer) => {
    output += bytes.toString();
    process.stdout.write(bytes);
  });
  child.stderr.pipe(process.stderr, { end: false });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

const results: { name: string; ok: boolean; seconds: number }[] = [];
let passed = 0;
let failures = 0;
let skipped = 0;
for (const { name, command } of stages) {
  process.stdout.write(`\n== ${name}\n`);
  const started = Date.now();
  const { code, output } = await run(command);
  const count = (word: string): number => Number(new RegExp(`^ℹ ${word} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
  passed += count("pass");
  failures += count("fail") + count("cancelled");
  skipped += count("skipped") + count("todo");
  results.push({ name, ok: code === 0, seconds: (Date.now() - started) / 1000 });
}

process.stdout.write("\n");
for (const { name, ok, seconds } of results)
  process.stdout.write(`${ok ? "ok  " : "FAIL"}  ${name.padEnd(10)} ${seconds.toFixed(1)} s\n`);
const broken = results.filter((result) => !result.ok);
// What is skipped is not tested: a machine that runs this is expected to run everything.
if (skipped > 0) process.stdout.write(`${skipped} tests were skipped; none may be\n`);
process.stdout.write(`\n${passed} passed, ${Math.max(failures, broken.length)} failed, ${skipped} skipped\n`);
process.exitCode = broken.length > 0 || skipped > 0 || passed === 0 ? 1 : 0;
