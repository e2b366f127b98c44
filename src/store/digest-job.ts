import type { Algorithm, Digest } from "#oci";
import type { Compression } from "./sniff.ts";

/** What a digest worker is asked to do with one file, which may still be growing. */
export interface DigestJob {
  readonly path: string;
  /** Bytes the file will have in the end. */
  readonly size: number;
  readonly algorithm: Algorithm;
  /** Where the plain bytes of a compressed file go; made by the worker, flushed when it is done. */
  readonly inflate?: {
    readonly compression: Exclude<Compression, "none">;
    readonly to: string;
    /** Plain bytes beyond which it is a bomb. */
    readonly limit: number;
    /** Plain bytes that the disk has room for. */
    readonly room: number;
  };
}

export interface DigestResult {
  /** Of the file as it is, in the algorithm asked for. */
  readonly digest: Digest;
  /** Of the bytes to be stored (the plain ones of a compressed file), always sha256. */
  readonly stored: Digest;
  readonly storedSize: number;
  /** Why the compressed bytes could not be inflated; `stored` says nothing then. */
  readonly unreadable?: string;
}

/** To the worker: the job; then how far the file has come, as often as one likes; or that nobody wants it any more. */
export type ToWorker =
  | { readonly id: number; readonly job: DigestJob }
  | { readonly id: number; readonly available: number }
  | { readonly id: number; readonly cancel: true };

/** From the worker: exactly one for each job. */
export type FromWorker =
  { readonly id: number; readonly result: DigestResult } | { readonly id: number; readonly error: WorkerError };

/** A Failure or system error in the shape that survives a message. */
export interface WorkerError {
  readonly code?: string;
  readonly reason?: string;
  readonly message: string;
}
