import { Failure, type CallOptions } from "#base";
import type { Descriptor } from "#oci";
import type { EndpointClient } from "./endpoint-client.ts";
import { locationOf, refused } from "./upload-answer.ts";

/** One chunk is held in memory, so that it can be sent again. Bytes. */
const CHUNK = 16 * 1024 * 1024;
const ATTEMPTS = 5;

/**
 * PATCH by PATCH, then an empty PUT. distribution-spec, "Pushing a blob in chunks". After a failure the registry is asked how
 * far it came, and gets the rest of the chunk.
 *
 * False where the registry does not take chunks: nothing was taken in, and the session may be used for one PUT.
 */
export async function uploadInChunks(
  client: EndpointClient,
  location: URL,
  blob: Descriptor,
  bytes: () => AsyncIterable<Uint8Array>,
  call: CallOptions | undefined,
): Promise<boolean> {
  let at = 0;
  let to = location;
  for await (const chunk of chunksOf(bytes())) {
    const next = await sendChunk(client, to, chunk, at, call?.signal);
    if (next === undefined && at === 0) return false;
    if (next === undefined)
      throw new Failure(
        "UNAVAILABLE",
        "UPLOAD_BROKEN",
        `${client.endpoint.host} gave up the upload of ${blob.digest} after ${at} bytes`,
      );
    to = next;
    at += chunk.byteLength;
    call?.onProgress?.({ digest: blob.digest, received: at, total: blob.size });
  }
  if (at !== blob.size)
    throw new Failure("INTERNAL", "SIZE_MISMATCH", `${blob.digest} was to have ${blob.size} bytes; ${at} came`);
  const url = new URL(to);
  url.searchParams.set("digest", blob.digest);
  const answer = await client.send({
    method: "PUT",
    path: url,
    headers: { "content-length": "0" },
    signal: call?.signal,
  });
  if (answer.response.statusCode !== 201 && answer.response.statusCode !== 204)
    throw await refused("PUT", answer, client);
  await answer.response.body.dump();
  return true;
}

/** The next location; undefined where the registry will not have chunks. */
async function sendChunk(
  client: EndpointClient,
  location: URL,
  chunk: Uint8Array,
  at: number,
  signal: AbortSignal | undefined,
): Promise<URL | undefined> {
  let to = location;
  let done = 0;
  for (let attempt = 1; ; attempt++) {
    const rest = chunk.subarray(done);
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(rest.byteLength),
      "content-range": `${at + done}-${at + chunk.byteLength - 1}`,
    };
    try {
      const answer = await client.once({ method: "PATCH", path: to, headers, body: () => rest, signal });
      const { statusCode } = answer.response;
      if (statusCode === 202 || statusCode === 204) {
        await answer.response.body.dump();
        return locationOf(answer);
      }
      if (statusCode < 500 && statusCode !== 416 && statusCode !== 429 && statusCode !== 408) {
        if (statusCode === 401 || statusCode === 403 || statusCode === 413)
          throw await refused("PATCH", answer, client);
        await answer.response.body.dump();
        return undefined;
      }
      if (attempt >= ATTEMPTS) throw await refused("PATCH", answer, client);
      await answer.response.body.dump();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Failure) || error.code !== "UNAVAILABLE" || attempt >= ATTEMPTS) throw error;
    }
    const state = await progressOf(client, to, signal);
    if (state.taken < at || state.taken > at + chunk.byteLength)
      throw new Failure(
        "UNAVAILABLE",
        "UPLOAD_BROKEN",
        `${client.endpoint.host} has ${state.taken} bytes of an upload where ${at} were sent`,
      );
    done = state.taken - at;
    to = state.location;
    if (done === chunk.byteLength) return to;
  }
}

async function progressOf(
  client: EndpointClient,
  location: URL,
  signal: AbortSignal | undefined,
): Promise<{ readonly taken: number; readonly location: URL }> {
  const answer = await client.send({ method: "GET", path: location, signal });
  if (answer.response.statusCode !== 204 && answer.response.statusCode !== 202)
    throw await refused("GET", answer, client);
  await answer.response.body.dump();
  const range = answer.response.headers["range"];
  const last = /^(?:bytes=)?0-(\d+)$/.exec(typeof range === "string" ? range.trim() : "")?.[1];
  // `0-0` is what registries say both of one byte and of none; a chunk is never one byte in the middle.
  const taken = last === undefined || last === "0" ? 0 : Number(last) + 1;
  const next = answer.response.headers["location"] === undefined ? location : locationOf(answer);
  return { taken, location: next };
}

async function* chunksOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const piece of bytes) {
    let rest = piece;
    while (length + rest.byteLength >= CHUNK) {
      const taken = rest.subarray(0, CHUNK - length);
      yield Buffer.concat([...parts, taken]);
      rest = rest.subarray(taken.byteLength);
      parts = [];
      length = 0;
    }
    if (rest.byteLength > 0) {
      // A copy: the giver may use its buffer again.
      parts.push(Buffer.from(rest));
      length += rest.byteLength;
    }
  }
  if (length > 0) yield Buffer.concat(parts);
}
