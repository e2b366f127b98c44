import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ANNOTATIONS } from "./cri.ts";
import type { ContainerView } from "./pod-view.ts";
import { terminationMessage } from "./termination-message.ts";

/** What a container says that ended so, with this file and this log. */
async function said(
  ended: { readonly file?: string; readonly log?: string; readonly policy?: string; readonly exitCode?: number } & {
    readonly message?: string;
  },
): Promise<string> {
  const { file, log, policy = "FallbackToLogsOnError", exitCode = 1, message = "" } = ended;
  const directory = await mkdtemp(join(tmpdir(), "orlop-words-"));
  try {
    const [path, logPath] = [join(directory, "words"), join(directory, "0.log")];
    if (file !== undefined) await writeFile(path, file);
    if (log !== undefined) await writeFile(logPath, log);
    const annotations = {
      [ANNOTATIONS.terminationMessageFile]: path,
      [ANNOTATIONS.terminationMessagePolicy]: policy,
    };
    const status = { annotations, exitCode, logPath, message, reason: exitCode === 0 ? "Completed" : "Error" };
    return await terminationMessage({ status } as unknown as ContainerView);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const line = (text: string, tag = "F"): string => `2026-11-23T10:00:00.000000000Z stderr ${tag} ${text}\n`;

test("the last words are the end of the termination file", async () => {
  assert.equal(await said({ file: "it was me" }), "it was me");
  assert.equal(await said({ file: `${"a".repeat(4096)}the end` }), `${"a".repeat(4089)}the end`);
  assert.equal(await said({ file: "late", log: line("log"), exitCode: 0 }), "late");
});

test("by policy the end of the log stands in where a container failed and wrote nothing", async () => {
  const log = line("one") + line("tw", "P") + line("o");
  assert.equal(await said({ file: "", log }), "one\ntwo\n");
  assert.equal(await said({ log }), "one\ntwo\n");
  assert.equal(await said({ log, exitCode: 0 }), "");
  assert.equal(await said({ log, policy: "File" }), "");
});

test("of a log the last 80 lines count, and of these the last 2048 bytes", async () => {
  const many = Array.from({ length: 200 }, (_, i) => line(`${i}`)).join("");
  assert.equal(await said({ log: many }), Array.from({ length: 80 }, (_, i) => `${i + 120}\n`).join(""));
  assert.equal(await said({ log: line("x".repeat(16_000)) }), `${"x".repeat(2047)}\n`);
  assert.equal(Buffer.byteLength(await said({ log: line("é".repeat(3000)) })) <= 2050, true);
});

test("what the runtime says of the end stands before the container's own words", async () => {
  const message = "context deadline exceeded";
  assert.equal(await said({ message, file: "bye" }), "context deadline exceeded: bye");
  assert.equal(await said({ message }), message);
});
