// Archives that other unpackers followed out of their directory, by advisory. Ours has no outside, so what can go wrong is subtler:
// a name that the tree would hold and a mounter or a reader then follows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isFailure } from "#base";
import { digestOf } from "#oci";
import { readTar } from "#tar";
import { applyArchive, applyLayer, createTree, finish, lookup, walk, type TreeBuilder } from "#tree";
import { tarOf } from "../support/packagings.ts";
import { over } from "../support/tree-view.ts";

interface Escape {
  /** In the notation of `tarOf`. */
  readonly members: readonly string[];
  /** What an image layer becomes; absent where it is refused too. Archives are refused, always. */
  readonly layer?: readonly string[];
}

const ESCAPES: Readonly<Record<string, Escape>> = {
  "CVE-2021-29136 (umoci): the root is a symlink": { members: [". -> /", "etc/passwd"] },
  "CVE-2014-6407 (Docker): a hard link to a file outside": { members: ["a => ../../etc/passwd"] },
  "CVE-2014-6407 (Docker): a symlink to the outside, and a file below it": {
    members: ["link -> ../../..", "link/etc/passwd"],
    layer: ["etc", "etc/passwd", "link"],
  },
  "CVE-2019-1000008 (Helm): a chart with a file above it": { members: ["chart/Chart.yaml", "chart/../../evil"] },
  "GHSA-8xwf-rjm4-xvhv (oras-go): a symlink in the directory of the artifact, and a file through it": {
    members: ["data/", "data/link -> /tmp", "data/link/evil"],
    layer: ["data", "data/link", "tmp", "tmp/evil"],
  },
  "GHSA-r628-mhmh-qjhw (node-tar): a directory that becomes a symlink": {
    members: ["d/", "d -> /tmp", "d/evil"],
    layer: ["d", "tmp", "tmp/evil"],
  },
  "a hard link to a symlink to the outside, and a file below it": {
    members: ["link -> /etc", "hard => link", "hard/evil"],
    layer: ["etc", "etc/evil", "hard", "link"],
  },
  "symlinks that meet above the root": {
    members: ["a -> b/..", "b -> ../..", "a/evil"],
    layer: ["a", "b", "evil"],
  },
};

function names(merge: (tree: TreeBuilder) => void): readonly string[] | undefined {
  const tree = createTree();
  try {
    merge(tree);
  } catch (error) {
    assert.ok(isFailure(error, "UNSAFE_PATH", "INVALID_LAYER"), String(error));
    return undefined;
  }
  return [...walk(finish(tree))].slice(1).map(([path]) => path);
}

for (const [advisory, { members, layer }] of Object.entries(ESCAPES))
  test(advisory, () => {
    const archive = tarOf(...members);
    const blob = digestOf(archive);
    assert.equal(
      names((tree) => applyArchive(tree, readTar(over(archive)), blob)),
      undefined,
    );
    assert.deepEqual(
      names((tree) => applyLayer(tree, readTar(over(archive)), blob)),
      layer,
    );
  });

test("CVE-2021-25741 (kubelet): a subPath through a symlink to the outside", () => {
  const archive = tarOf(
    "volume/",
    "volume/link -> /",
    "volume/up -> ../../..",
    "volume/round -> ../volume/file",
    "volume/file",
  );
  const tree = createTree();
  applyLayer(tree, readTar(over(archive)), digestOf(archive));
  for (const path of ["volume/link", "volume/link/etc", "volume/up", "volume/up/etc/passwd", "volume/../volume"])
    assert.throws(
      () => lookup(finish(tree), path),
      (error) => isFailure(error, "UNSAFE_PATH"),
    );
  assert.deepEqual(lookup(finish(tree), "volume/round").path, ["volume", "file"]);
});
