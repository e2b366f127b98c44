// The house plan. A room may import the rooms listed beside it, and nothing else.
// Rooms come in order: each may name only rooms above it, so no cycle can be written down.
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

const ROOMS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  oci: ["base"],
  k8s: ["base"],
  tar: ["base"],
  tree: ["base", "oci", "tar"],
  erofs: ["base", "oci", "tar", "tree"],
  artifact: ["base", "oci"],
  kernel: ["base"],
  wire: ["base", "k8s"],
  registry: ["base", "oci"],
  layout: ["base", "oci", "tar"],
  store: ["base", "oci", "kernel"],
  snapshot: ["base", "oci", "tar", "tree", "erofs", "artifact", "store", "kernel"],
  engine: ["base", "oci", "tar", "tree", "artifact", "registry", "layout", "store", "snapshot", "kernel"],
  cli: ["base", "oci", "engine"],
  cri: ["base", "oci", "wire", "engine"],
  apiserver: ["base", "oci", "k8s", "wire"],
  scheduler: ["base", "k8s", "wire"],
  kubelet: ["base", "oci", "k8s", "wire", "kernel"],
  daemon: [
    "base",
    "oci",
    "erofs",
    "kernel",
    "wire",
    "registry",
    "layout",
    "store",
    "snapshot",
    "engine",
    "cli",
    "cri",
    "apiserver",
    "scheduler",
    "kubelet",
  ],
};
// Each npm dependency lives in one room.
const NPM: Readonly<Record<string, string>> = {
  "@bufbuild/protobuf": "wire",
  "@bufbuild/protobuf/codegenv2": "wire",
  "@bufbuild/protobuf/wire": "wire",
  "@grpc/grpc-js": "wire",
  ws: "wire",
  koffi: "kernel",
  undici: "registry",
  "smol-toml": "registry",
  yaml: "k8s",
  commander: "cli",
  "cli-progress": "cli",
  pino: "daemon",
  "@peculiar/x509": "wire",
  "reflect-metadata": "wire",
  "prom-client": "wire",
};
// Types only, from a development dependency: nothing of it runs.
const TYPES: Readonly<Record<string, string>> = { "kubernetes-types": "k8s" };
const PURE = new Set(["oci", "k8s", "tar", "tree", "erofs", "artifact"]);
const OUTSIDE = /^node:(?!assert|buffer|crypto|events|path|stream|util|zlib)/;
const IMPORT = /\b(?:import|export)\b[^'"`;]*?\bfrom\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']/g;

const src = join(import.meta.dirname, "../src");
const files = globSync("*/**/*.ts", { cwd: src }).filter((file) => !/\.(test|contract)\.ts$/.test(file));
const roomOf = (path: string): string => path.split("/")[0] ?? "";
const names = Object.keys(ROOMS);

test("rooms are listed lowest first, and every room is on the plan", () => {
  for (const [i, room] of names.entries())
    for (const below of ROOMS[room] ?? []) assert.ok(names.slice(0, i).includes(below), `${room} → ${below}`);
  assert.deepEqual([...new Set(files.map(roomOf))].sort(), [...names].sort());
});

for (const room of names) {
  test(`${room} → ${ROOMS[room]?.join(", ") || "nothing"}`, () => {
    for (const file of files.filter((f) => roomOf(f) === room)) {
      for (const match of readFileSync(join(src, file), "utf8").matchAll(IMPORT)) {
        const spec = match[1] ?? match[2] ?? "";
        const arrow = `src/${file} → ${spec}`;
        if (spec.startsWith("#")) assert.ok(ROOMS[room]?.includes(spec.slice(1)), arrow);
        else if (spec.startsWith("."))
          assert.equal(roomOf(normalize(join(dirname(file), spec))), room, `${arrow} (enter a room by its #name)`);
        else if (!spec.startsWith("node:"))
          assert.equal(NPM[spec] ?? TYPES[spec.split("/")[0] ?? ""], room, `${arrow} (a dependency lives in one room)`);
        else if (PURE.has(room)) assert.doesNotMatch(spec, OUTSIDE, `${arrow} (a pure room touches nothing outside)`);
      }
    }
  });
}
