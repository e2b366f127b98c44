import type { Algorithm, Digest } from "#oci";
import type { FileDigest, Inflated, InflateJob } from "./digest-job.ts";
import type { DigestPool, RunningJob } from "./digest-pool.ts";

/** What is to be known of a blob, and made of it, while it arrives. */
export interface BlobReading {
  readonly path: string;
  /** Bytes it will have in the end. */
  readonly size: number;
  readonly algorithm: Algorithm;
  /** How its plain bytes are to be stored, where it is compressed. */
  readonly inflate?: Omit<InflateJob, "kind" | "path">;
}

export interface ReadBlob {
  /** Of the blob as it is, in the algorithm asked for. */
  readonly digest: Digest;
  /** Of the bytes to be stored (the plain ones of a compressed blob), always sha256. */
  readonly stored: Digest;
  readonly storedSize: number;
  /** Why the compressed bytes could not be inflated; `stored` says nothing then. */
  readonly unreadable?: string;
}

export interface RunningRead {
  /** Says how many bytes are there from 0 on. */
  advance(available: number): void;
  cancel(): void;
  /** Settles when nobody reads or writes any more. @throws Failure TOO_LARGE, NO_SPACE, CANCELLED; errors of the disk */
  readonly result: Promise<ReadBlob>;
}

/**
 * Reads a blob behind its writer: its digest, the plain bytes of a compressed one and their digest, each on a thread of its own
 * as far as there are threads. Hashing follows what was written, so that nothing waits for it but the end.
 */
export function readBlob(pool: DigestPool, { path, size, algorithm, inflate }: BlobReading): RunningRead {
  const whole = pool.digest({ path, algorithm });
  if (inflate === undefined)
    return {
      advance: (available) => whole.advance(available, available === size),
      cancel: () => whole.cancel(),
      result: whole.result.then(({ digest, sha256 }) => ({ digest, stored: sha256, storedSize: size })),
    };
  // In this order two threads are shared out best: inflating takes longer than both digests.
  const inflation = pool.inflate({ path, ...inflate }, (written) => plain.advance(written, false));
  const plain = pool.digest({ path: inflate.to, algorithm: "sha256" });
  const cancel = (): void => {
    for (const job of [whole, inflation, plain]) job.cancel();
  };
  return {
    advance: (available) => {
      for (const job of [whole, inflation]) job.advance(available, available === size);
    },
    cancel,
    result: allOf(whole, inflation, plain).catch(async (error: unknown) => {
      cancel();
      await Promise.allSettled([whole.result, inflation.result, plain.result]);
      throw error;
    }),
  };
}

async function allOf(
  whole: RunningJob<FileDigest>,
  inflation: RunningJob<Inflated>,
  plain: RunningJob<FileDigest>,
): Promise<ReadBlob> {
  const ended = inflation.result.then((inflated) => {
    if ("size" in inflated) plain.advance(inflated.size, true);
    else plain.cancel();
    return inflated;
  });
  // Bytes that cannot be inflated are hashed to the end all the same: were they the right ones?
  const [{ digest, sha256 }, inflated] = await Promise.all([whole.result, ended]);
  if ("unreadable" in inflated) return { digest, stored: sha256, storedSize: 0, unreadable: inflated.unreadable };
  const { sha256: stored } = await plain.result;
  return { digest, stored, storedSize: inflated.size };
}
