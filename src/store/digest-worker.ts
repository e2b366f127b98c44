// Runs on a worker thread: hashes and inflates files behind their writer.
import { createHash } from "node:crypto";
import { parentPort } from "node:worker_threads";
import { Failure, errnoOf, messageOf } from "#base";
import { finish } from "#oci";
import type { DigestJob, FileDigest, FileJob, FromWorker, ToWorker } from "./digest-job.ts";
import { GrowingFile } from "./growing-file.ts";
import { inflateFile } from "./inflate-file.ts";

const files = new Map<number, GrowingFile>();

parentPort?.on("message", (message: ToWorker) => {
  const file = files.get(message.id);
  if ("available" in message) file?.advance(message.available, message.isWhole);
  else if ("cancel" in message) file?.cancel();
  else void start(message.id, message.job);
});

async function start(id: number, job: FileJob): Promise<void> {
  const file = new GrowingFile(job.path);
  files.set(id, file);
  const tell = (message: FromWorker): void => parentPort?.postMessage(message);
  try {
    const result =
      job.kind === "digest"
        ? await digestFile(job, file)
        : await inflateFile(job, file, (written) => tell({ id, written }));
    tell({ id, result });
  } catch (error) {
    const code = error instanceof Failure ? error.code : errnoOf(error);
    const reason = error instanceof Failure ? { reason: error.reason } : {};
    tell({ id, error: { ...(code === undefined ? {} : { code }), ...reason, message: messageOf(error) } });
  }
  files.delete(id);
}

async function digestFile({ algorithm }: DigestJob, file: GrowingFile): Promise<FileDigest> {
  const hash = createHash(algorithm);
  const second = algorithm === "sha256" ? undefined : createHash("sha256");
  let size = 0;
  for await (const chunk of file.chunks()) {
    hash.update(chunk);
    second?.update(chunk);
    size += chunk.length;
  }
  const digest = finish(hash, algorithm);
  return { digest, sha256: second === undefined ? digest : finish(second), size };
}
