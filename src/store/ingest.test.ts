import assert from "node:assert/strict";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isFailure } from "#base";
import { digestOf } from "#oci";
import { Ingest } from "./ingest.ts";

const MIB = 1024 * 1024;
const digest = digestOf("some blob");

test("a flush that failed in the background is a failure of the blob, though the next flush succeeds", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-ingest-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  await using ingest = await Ingest.open(dir, digest, 65 * MIB);
  await using any = await open("/dev/null", "r");
  // Linux says once that pages were lost, to the first flush that asks.
  const flush = t.mock.method(Object.getPrototypeOf(any) as { datasync: () => Promise<void> }, "datasync");
  flush.mock.mockImplementationOnce(() => Promise.reject(Object.assign(new Error("EIO: i/o error"), { code: "EIO" })));
  for (let at = 0; at < 65; at += 13) await ingest.write(at * MIB, [Buffer.alloc(13 * MIB)]);
  await assert.rejects(ingest.flush(), (error) => isFailure(error, "DISK_ERROR"));
  assert.equal(flush.mock.callCount(), 1);
});

test("an ingest that cannot begin anew closes what it had, and closes it once", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-ingest-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const before = readdirSync("/proc/self/fd").length;
  const ingest = await Ingest.open(dir, digest, MIB);
  rmSync(dir, { recursive: true });
  await assert.rejects(ingest.restart());
  // Whoever closes a number twice closes what another one has opened meanwhile.
  const others = Array.from({ length: 8 }, () => openSync("/dev/null", "r"));
  await ingest[Symbol.asyncDispose]();
  for (const fd of others) closeSync(fd);
  assert.equal(readdirSync("/proc/self/fd").length, before);
});

test("a journal that cannot be written leaves nothing open", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "orlop-ingest-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const before = readdirSync("/proc/self/fd").length;
  // A directory where the journal goes: the last step of its making fails.
  const ingest = await Ingest.open(dir, digest, MIB);
  await ingest[Symbol.asyncDispose]();
  rmSync(join(dir, "state"));
  mkdirSync(join(dir, "state", "in-the-way"), { recursive: true });
  await assert.rejects(Ingest.open(dir, digest, MIB));
  assert.equal(readdirSync("/proc/self/fd").length, before);
});
