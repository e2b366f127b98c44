import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytesOf, nameOf } from "./names.ts";

test("a UTF-8 name is the usual string", () => {
  assert.equal(nameOf(Buffer.from("grüße/☃/𝄞")), "grüße/☃/𝄞");
});

test("bytes that are no UTF-8 survive the round trip, and differ from one another", () => {
  assert.notEqual(nameOf(Buffer.of(0x66, 0xff)), nameOf(Buffer.of(0x66, 0xfe)));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      assert.deepEqual([...bytesOf(nameOf(bytes))], [...bytes]);
    }),
  );
});
