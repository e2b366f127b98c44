import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { digestOf } from "#oci";
import type { TarEntry } from "#tar";
import { applyLayer, createTree, finish, walk } from "#tree";

const BLOB = digestOf("a blob");

interface Step {
  readonly at: readonly string[];
  readonly what: "file" | "directory" | "link" | "whiteout" | "opaque";
  readonly target: readonly string[];
  /** Tells the step's attributes from those of every other. */
  readonly uid: number;
}

interface Row {
  readonly kind: string;
  readonly uid: number;
  /** The same for two names of one file. */
  readonly id: object;
}

const inside = (path: string, directory: string): boolean => directory === "" || path.startsWith(`${directory}/`);

/** image-spec, layer.md, as slowly and plainly as it can be written: a flat table of names, whiteouts first, then the rest. */
function naive(layers: readonly (readonly Step[])[]): Map<string, Row> {
  let rows = new Map<string, Row>();
  const parent = (path: string): void => {
    if (!path.includes("/")) return;
    const above = path.slice(0, path.lastIndexOf("/"));
    parent(above);
    const row = rows.get(above);
    if (row === undefined) rows.set(above, { kind: "directory", uid: 0, id: {} });
    else if (row.kind !== "directory") throw new Error("refused");
  };
  const without = (gone: (path: string) => boolean): void => {
    rows = new Map([...rows].filter(([path]) => !gone(path)));
  };
  for (const layer of layers) {
    const steps = layer.map((step) => ({ ...step, path: step.at.join("/"), to: step.target.join("/") }));
    for (const { what, path } of steps) {
      if (what === "whiteout") without((other) => other === path || inside(other, path));
      if (what === "opaque") without((other) => inside(other, path));
    }
    for (const { what, path, to, uid } of steps) {
      if (what === "opaque" || what === "whiteout") continue;
      parent(path);
      const existing = rows.get(path);
      const linked = rows.get(to);
      if (what === "link" && linked?.kind !== "file") throw new Error("refused");
      if (what !== "directory" || existing?.kind !== "directory") without((other) => inside(other, path));
      if (what === "link") rows.set(path, linked as Row);
      else rows.set(path, { kind: what, uid, id: what === "directory" && existing ? existing.id : {} });
    }
  }
  return rows;
}

function entryOf({ at, what, target, uid }: Step): TarEntry {
  const [name, ...above] = at.toReversed();
  const path = [
    ...(what === "opaque" ? at : above.reverse()),
    what === "opaque" ? ".wh..wh..opq" : what === "whiteout" ? `.wh.${name}` : (name ?? ""),
  ].join("/");
  const type = what === "directory" ? "directory" : what === "link" ? "hardlink" : "file";
  const linkname = what === "link" ? target.join("/") : "";
  const mtime = { seconds: 0, nanoseconds: 0 };
  const device = { devmajor: 0, devminor: 0 };
  return { path, type, mode: 0o644, uid, gid: 0, mtime, size: 0, extents: [], linkname, ...device, xattrs: new Map() };
}

const path = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 });
const step: fc.Arbitrary<Step> = fc.record({
  at: path,
  what: fc.constantFrom("file", "file", "directory", "directory", "link", "whiteout", "opaque"),
  target: path,
  uid: fc.integer({ min: 1, max: 1000 }),
});
const stack = fc.array(fc.array(step, { maxLength: 8 }), { minLength: 1, maxLength: 5 });

test("stacks of layers merge as image-spec says, told by a model that is too simple to be wrong", () => {
  let compared = 0;
  fc.assert(
    fc.property(stack, (layers) => {
      let expected: Map<string, Row> | undefined;
      try {
        expected = naive(layers);
      } catch {
        expected = undefined;
      }
      const tree = createTree();
      try {
        for (const layer of layers) applyLayer(tree, layer.map(entryOf), BLOB);
      } catch (error) {
        assert.ok(isFailure(error, "UNSAFE_PATH", "INVALID_LAYER"), String(error));
        assert.equal(expected, undefined, error.message);
        return;
      }
      // A link to what its own layer hides later is made by those who read in order, as every unpacker does.
      if (expected === undefined) return;
      compared++;
      const actual = [...walk(finish(tree))].slice(1).map(([path, node]) => [path, node.kind, node.uid] as const);
      const wanted = [...expected].map(([path, row]) => [path, row.kind, row.uid] as const);
      const text = (rows: readonly (readonly unknown[])[]): string =>
        rows
          .map((row) => row.join(" "))
          .sort()
          .join("\n");
      assert.equal(text(actual), text(wanted));
      const firstOf = new Map<object, string>();
      for (const [path, node] of walk(finish(tree))) {
        if (path === "" || node.kind === "directory") continue;
        const id: object = expected.get(path)?.id ?? {};
        const other = firstOf.get(id) ?? firstOf.get(node);
        assert.equal(firstOf.get(id), firstOf.get(node), `${path} and ${other} are linked in one of the two only`);
        firstOf.set(id, path).set(node, path);
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(compared > 500, `only ${compared} stacks were fit to be compared`);
});
