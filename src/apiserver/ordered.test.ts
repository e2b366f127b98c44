import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Ordered } from "./ordered.ts";
import type { Stored } from "./storage.ts";

// "-" sorts before the "/" that ends a namespace, and "0" right after it.
const namespace = fc.constantFrom("a", "a-b", "a0", "b");
const name = fc.constantFrom("a", "b", "b-c", "b0", "c");

test("whatever comes and goes, the objects are in the order of namespace/name", () => {
  const step = fc.record({ namespace, name, gone: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ordered = new Ordered();
      const before = ordered.copy();
      const model = new Map<string, Stored>();
      for (const [i, { namespace: space, name: of, gone }] of steps.entries()) {
        const stored = { resource: "pods", namespace: space, name: of, version: i, object: {}, json: "{}" } as Stored;
        if (gone) ordered.delete(space, of);
        else ordered.set(stored);
        if (gone) model.delete(`${space}/${of}`);
        else model.set(`${space}/${of}`, stored);
        assert.equal(ordered.get(space, of), model.get(`${space}/${of}`));
      }
      const all = [...model].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, stored]) => stored);
      assert.deepEqual(ordered.list(""), all);
      for (const space of ["a", "a-b", "a0", "b", "none"])
        assert.deepEqual(
          ordered.list(space),
          all.filter((stored) => stored.namespace === space),
        );
      assert.deepEqual(before.list(""), [], "a copy stays as it was");
    }),
  );
});
