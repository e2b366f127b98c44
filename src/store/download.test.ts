import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { MEDIA, digestOf, type Source } from "#oci";
import { download, PART } from "./download.ts";
import { Ingest } from "./ingest.ts";
import { PATIENCE } from "./patience.ts";
import { Slots } from "./slots.ts";

const PARTS = 24;
const target = { mediaType: MEDIA.layer, digest: digestOf("never whole"), size: PARTS * PART };

test("a download that is given up while connections are being added ends once, with the reason of its caller", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "orlop-download-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await using ingest = await Ingest.open(directory, target.digest, target.size);
  const abort = new AbortController();
  let opened = 0;
  const piece = Buffer.alloc(1024 * 1024);
  const source: Pick<Source, "name" | "open"> = {
    name: "a source that falls silent",
    async open(_target, range, call) {
      // The first parts come at once, so that connections are added; all later ones hang, and their ends come together.
      if (++opened > 4) {
        if (opened === 10) setImmediate(() => abort.abort(new Error("nobody waits any more")));
        await new Promise((_, reject) =>
          call?.signal?.addEventListener("abort", () => reject(call.signal?.reason as Error)),
        );
      }
      async function* body(): AsyncGenerator<Uint8Array> {
        for (let at = range.start; at < range.end; at += piece.length) yield await Promise.resolve(piece);
      }
      return { start: range.start, body: body() };
    },
  };
  await assert.rejects(
    download({
      source: source as Source,
      target,
      ingest,
      slots: new Slots(16),
      patience: PATIENCE,
      signal: abort.signal,
      onWritten: () => {},
    }),
    { message: "nobody waits any more" },
  );
  // Errors that nobody noticed are reported after this turn.
  await turn();
  assert.ok(opened >= 10, "connections were added");
});
