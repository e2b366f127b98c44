import type { Algorithm, Digest } from "#oci";
import type { Compression } from "./sniff.ts";

/** What a worker is asked to do with one file, which may still be growing. */
export type FileJob = DigestJob | InflateJob;

export interface DigestJob {
  readonly kind: "digest";
  readonly path: string;
  readonly algorithm: Algorithm;
}

export interface InflateJob {
  readonly kind: "inflate";
  readonly path: string;
  readonly compression: Exclude<Compression, "none">;
  /** Where the plain bytes go; made by the worker, flushed when it is done. */
  readonly to: string;
  /** Plain bytes beyond which it is a bomb. */
  readonly limit: number;
  /** Plain bytes that the disk has room for. */
  readonly room: number;
}

export interface FileDigest {
  /** In the algorithm asked for. */
  readonly digest: Digest;
  readonly sha256: Digest;
  /** Bytes. */
  readonly size: number;
}

/** How many plain bytes were written, or why they end early: the compressed ones are not whole, or none. */
export type Inflated = { readonly size: number } | { readonly unreadable: string };

/** To the worker: the job; then how far the file has come, as often as one likes; or that nobody wants it any more. */
export type ToWorker =
  | { readonly id: number; readonly job: FileJob }
  | { readonly id: number; readonly available: number; readonly isWhole: boolean }
  | { readonly id: number; readonly cancel: true };

/** From the worker: how far a file that it writes has come, and at the end of each job exactly one of the others. */
export type FromWorker =
  | { readonly id: number; readonly written: number }
  | { readonly id: number; readonly result: FileDigest | Inflated }
  | { readonly id: number; readonly error: WorkerError };

/** A Failure or system error in the shape that survives a message. */
export interface WorkerError {
  readonly code?: string;
  readonly reason?: string;
  readonly message: string;
}
