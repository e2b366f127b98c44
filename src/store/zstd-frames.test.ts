import assert from "node:assert/strict";
import { test } from "node:test";
import { createZstdDecompress, constants, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { ZstdFrames } from "./zstd-frames.ts";

function skippable(length: number): Buffer {
  const frame = Buffer.alloc(8 + length, 0x28);
  frame.writeUInt32LE(0x184d2a50 + (length % 16), 0);
  frame.writeUInt32LE(length, 4);
  return frame;
}

async function inflate(compressed: Buffer, cuts: readonly number[]): Promise<Buffer> {
  const stream = createZstdDecompress();
  const frames = new ZstdFrames();
  const out: Buffer[] = [];
  const read = (async () => {
    for await (const chunk of stream as AsyncIterable<Buffer>) out.push(chunk);
  })();
  let at = 0;
  for (const cut of [...cuts, compressed.length]) {
    for (const piece of frames.split(compressed.subarray(at, Math.max(at, cut)))) stream.write(piece);
    at = Math.max(at, cut);
  }
  stream.end();
  await read;
  return Buffer.concat(out);
}

test("several frames, skippable ones between them, come out whole however the bytes were cut", async () => {
  const frame = fc
    .record({ text: fc.string({ maxLength: 400 }), times: fc.integer({ min: 1, max: 2000 }), checksum: fc.boolean() })
    .map(({ text, times, checksum }) => {
      const plain = Buffer.from(text.repeat(times));
      const params = { [constants.ZSTD_c_checksumFlag]: checksum ? 1 : 0 };
      return { plain, packed: zstdCompressSync(plain, { params }) };
    });
  const skip = fc.nat(300).map((length) => ({ plain: Buffer.of(), packed: skippable(length) }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(frame, skip), { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(5000), { maxLength: 8 }),
      async (parts, cuts) => {
        const packed = Buffer.concat(parts.map((part) => part.packed));
        const sorted = cuts.filter((cut) => cut < packed.length).sort((a, b) => a - b);
        const plain = Buffer.concat(parts.map((part) => part.plain));
        assert.ok((await inflate(packed, sorted)).equals(plain));
      },
    ),
    { numRuns: 60 },
  );
});
