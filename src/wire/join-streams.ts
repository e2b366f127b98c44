import type { Duplex } from "node:stream";

/**
 * Joins two connections: what comes in on one goes out on the other, each end is passed on, and each waits for the other.
 * A connection that breaks takes the other along, but not before what it had sent is out. Resolves when both are
 * closed, and never rejects: a broken connection is how these end. Aborting closes both.
 */
export async function joinStreams(near: Duplex, far: Duplex, signal?: AbortSignal): Promise<void> {
  const closed = Promise.all([one(near, far), one(far, near)]);
  const abort = (): void => {
    near.destroy();
    far.destroy();
  };
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  near.pipe(far);
  far.pipe(near);
  await closed;
  signal?.removeEventListener("abort", abort);
}

/** Resolves when `stream` is closed, and sees to it that `other` closes then too. */
function one(stream: Duplex, other: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const gone = (): void => {
      if (other.writableFinished || !stream.readableEnded) other.destroy();
      else other.once("finish", () => other.destroy());
      resolve();
    };
    stream.on("error", () => stream.destroy());
    if (stream.closed) gone();
    else stream.once("close", gone);
  });
}
