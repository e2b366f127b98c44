// Runs on a worker thread: builds trees, and makes of them what is asked for.
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { Failure, errnoOf, messageOf } from "#base";
import { encodeErofs } from "#erofs";
import type { Digest } from "#oci";
import { lookup, walk, type FileTree, type Node } from "#tree";
import { buildTree, tailsOf } from "./build-tree.ts";
import { materialize } from "./materialize.ts";
import type { FromTreeWorker, TreeAnswer, TreeJob, TreeRow } from "./tree-job.ts";

parentPort?.on("message", ({ id, job }: { readonly id: number; readonly job: TreeJob }) => {
  let reply: FromTreeWorker;
  try {
    reply = { id, answer: answer(job) };
  } catch (error) {
    const code = error instanceof Failure ? error.code : errnoOf(error);
    const reason = error instanceof Failure ? { reason: error.reason } : {};
    reply = { id, error: { ...(code === undefined ? {} : { code }), ...reason, message: messageOf(error) } };
  }
  parentPort?.postMessage(reply);
});

function answer(job: TreeJob): TreeAnswer {
  const tree = buildTree(job.parts, job.blobs);
  if (job.kind === "list") return { rows: [...walk(tree)].map(([path, node]) => rowOf(path, node)) };
  if (job.kind === "lookup") return { path: lookup(tree, job.path).path.join("/") };
  if (job.kind === "encode") encode(tree, job);
  else materialize(tree, job.blobs, job.to);
  return {};
}

function encode(tree: FileTree, job: Extract<TreeJob, { kind: "encode" }>): void {
  const blobSizes = new Map<Digest, number>(job.parts.map(({ stored, size }) => [stored, size]));
  const { image } = encodeErofs(tree, { blobSizes, blobTails: tailsOf(blobSizes, job.blobs) });
  const fd = openSync(job.to, "w", 0o444);
  try {
    for (let at = 0; at < image.length;) at += writeSync(fd, image, at, image.length - at, at);
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function rowOf(path: string, node: Node): TreeRow {
  const { kind, uid, gid } = node;
  const row = { path, kind, mode: node.mode.toString(8).padStart(4, "0"), uid, gid };
  if (node.kind === "symlink") return { ...row, size: 0, target: node.target };
  return { ...row, size: node.kind === "file" ? node.size : 0 };
}
