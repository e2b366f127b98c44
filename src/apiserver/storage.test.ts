// Whatever is written, forgotten and opened again: each version that is still known reads as it was when it was new.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Storage } from "./storage.ts";

const RESOURCES = ["pods", "nodes"];

type Step =
  | { readonly do: "put"; readonly resource: string; readonly name: string; readonly size: number }
  | { readonly do: "delete"; readonly resource: string; readonly name: string }
  | { readonly do: "open again" };

const resource = fc.constantFrom(...RESOURCES);
const name = fc.constantFrom("a", "b", "c", "d");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("put" as const), resource, name, size: fc.nat(40) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("delete" as const), resource, name }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("open again" as const) }) },
);

test("lists and changes of the past are those of the time, as far as it is kept", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-storage-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  let runs = 0;
  let forgotten = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 60, size: "max" }),
      fc.constantFrom(500, 3000, 1e6),
      (steps, bytes) => {
        const path = join(dir, `${runs++}.db`);
        const keep = { time: 60_000, bytes };
        let storage = new Storage(path, keep);
        try {
          /** What each resource held at each version, and what became of it there. */
          const known = new Map<number, Map<string, string[]>>();
          const events: { version: number; resource: string; said: string }[] = [];
          const note = (): void => {
            const all = RESOURCES.map((one) => [one, storage.list(one).map(({ json }) => json)] as const);
            known.set(storage.version, new Map(all));
          };
          note();
          for (const one of steps) {
            if (one.do === "open again") {
              storage.close();
              storage = new Storage(path, keep);
              continue;
            }
            const before = storage.get(one.resource, "ns", one.name);
            const place = { resource: one.resource, namespace: "ns", name: one.name };
            const object = {
              metadata: { name: one.name, annotations: { filler: "x".repeat("size" in one ? one.size : 0) } },
            };
            if (one.do === "delete" && before === undefined) continue;
            const [stored] = storage.write(one.do === "put" ? { ...place, object } : { ...place, deleted: object });
            const type = one.do === "delete" ? "DELETED" : before === undefined ? "ADDED" : "MODIFIED";
            events.push({
              version: storage.version,
              resource: one.resource,
              said: `${type} ${stored?.json} before ${before?.json}`,
            });
            note();
          }
          forgotten += storage.oldest;
          for (const [version, held] of known)
            for (const one of RESOURCES) {
              const list = storage.listAt(one, "", version)?.map(({ json }) => json);
              const since = storage
                .since(one, version)
                ?.map(({ type, stored, before }) => `${type} ${stored.json} before ${before?.json}`);
              if (version < storage.oldest) {
                assert.deepEqual([list, since], [undefined, undefined]);
                continue;
              }
              assert.deepEqual(list, held.get(one));
              const later = events.filter((event) => event.resource === one && event.version > version);
              assert.deepEqual(
                since,
                later.map(({ said }) => said),
              );
            }
        } finally {
          storage.close();
        }
      },
    ),
    { numRuns: 30 },
  );
  assert.ok(forgotten > 0, "some of it was forgotten");
});

test("the version stands after the uid, where kube-apiserver writes it", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "orlop-storage-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const storage = new Storage(join(dir, "order.db"));
  t.after(() => storage.close());
  const place = { resource: "pods", namespace: "ns", name: "a" };
  const metadata = { name: "a", namespace: "ns", uid: "u", generation: 1 };
  const [first] = storage.write({ ...place, object: { metadata } });
  assert.equal(
    first?.json,
    '{"metadata":{"name":"a","namespace":"ns","uid":"u","resourceVersion":"1","generation":1}}',
  );
  const [second] = storage.write({ ...place, object: first.object });
  assert.equal(second?.json, first.json.replace('"1"', '"2"'));
});
