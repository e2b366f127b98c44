import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RangeSet } from "./range-set.ts";

test("ranges in any order are what a set of bytes would be", () => {
  const range = fc.tuple(fc.nat(60), fc.nat(60)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  fc.assert(
    fc.property(fc.array(range), fc.integer({ min: 0, max: 70 }), (added, size) => {
      const ranges = new RangeSet();
      const bytes = new Set<number>();
      for (const [start, end] of added) {
        ranges.add(start, end);
        for (let i = start; i < end; i++) bytes.add(i);
      }
      assert.equal(ranges.bytes, bytes.size);
      const missing = new Set<number>();
      for (const { start, end } of ranges.missing(size)) for (let i = start; i < end; i++) missing.add(i);
      for (let i = 0; i < size; i++) assert.notEqual(bytes.has(i), missing.has(i), String(i));
      assert.ok([...missing].every((i) => i < size));
      let prefix = 0;
      while (bytes.has(prefix)) prefix++;
      assert.equal(ranges.prefix, prefix);
    }),
  );
});
