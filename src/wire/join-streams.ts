import type { Duplex } from "node:stream";

/** How long a server may take to close after its client has gone, in milliseconds. */
const GOODBYE = 5000;

/**
 * Joins the connection of a client, `near`, and the one to its server: what comes in on one goes out on the other, each end
 * is passed on, and each waits for the other. A connection that breaks takes the other along, but not before what it had
 * sent has arrived. Resolves when both are closed, and never rejects: a broken connection is how these end. Aborting closes
 * both.
 */
export async function joinStreams(near: Duplex, far: Duplex, signal?: AbortSignal): Promise<void> {
  for (const stream of [near, far]) {
    outliveDeafPeer(stream);
    stream.on("error", () => stream.destroy());
  }
  const abort = (): void => {
    near.destroy();
    far.destroy();
  };
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  near.pipe(far);
  far.pipe(near);
  const served = async (): Promise<void> => {
    await closed(far);
    finish(near, far);
  };
  const left = async (): Promise<void> => {
    await closed(near);
    finish(far, near);
    const late = setTimeout(() => far.destroy(), GOODBYE).unref();
    far.once("close", () => clearTimeout(late));
  };
  await Promise.all([served(), left()]);
  signal?.removeEventListener("abort", abort);
}

function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve();
    else stream.once("close", resolve);
  });
}

/**
 * Ends a stream whose other side is gone, and throws away what still comes: were it closed with something unread, or before
 * the last of what it sends has arrived, the kernel would throw that away.
 */
function finish(stream: Duplex, gone: Duplex): void {
  stream.unpipe(gone);
  stream.end();
  stream.resume();
}

/** What cannot be written any more goes nowhere. A peer that has closed may have sent more than has been read. */
function outliveDeafPeer(stream: Duplex): void {
  const write = stream._write.bind(stream);
  const writeAll = stream._writev?.bind(stream);
  stream._write = (chunk, encoding, done) => write(chunk, encoding, () => done());
  if (writeAll !== undefined) stream._writev = (chunks, done) => writeAll(chunks, () => done());
}
