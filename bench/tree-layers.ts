// Layers like an image's: packages in directories, links, whiteouts, files that later layers replace. The same on every machine.
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { TAR_END, tarHeader, tarPadding, type TarHeader } from "#tar";

const FILES_PER_DIRECTORY = 20;
/** One in so many entries of a layer is of each of these kinds. */
const EVERY = { symlink: 20, hardlink: 100, replaced: 50, whiteout: 200 } as const;

/** Writes `entries` tar entries in all, over `layers` tars named 0, 1 … in `directory`. */
export function writeLayers(directory: string, layers: number, entries: number): void {
  mkdirSync(directory, { recursive: true });
  let written = 0;
  for (let layer = 0; layer < layers; layer++) {
    const out = openSync(join(directory, String(layer)), "w");
    let pieces: Uint8Array[] = [];
    const until = Math.round((entries * (layer + 1)) / layers);
    for (; written < until; written++) {
      pieces.push(...member(written, layer));
      if (pieces.length < 1000) continue;
      writeSync(out, Buffer.concat(pieces));
      pieces = [];
    }
    writeSync(out, Buffer.concat([...pieces, TAR_END]));
    closeSync(out);
  }
}

function member(index: number, layer: number): readonly Uint8Array[] {
  const plain: TarHeader = {
    path: pathOf(index),
    type: "file",
    mode: 0o644,
    uid: index % 7 === 0 ? 1000 : 0,
    gid: 0,
    mtime: { seconds: 1_700_000_000 + (index % 5 === 0 ? index : layer), nanoseconds: 0 },
    size: 0,
    linkname: "",
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
  };
  if (index % FILES_PER_DIRECTORY === 0)
    return [tarHeader({ ...plain, path: `${directoryOf(index)}/`, type: "directory", mode: 0o755 })];
  if (index % EVERY.symlink === 1) return [tarHeader({ ...plain, type: "symlink", linkname: "../../bin/tool" })];
  if (index % EVERY.hardlink === 5) return [tarHeader({ ...plain, type: "hardlink", linkname: pathOf(index - 2) })];
  if (layer > 0 && index % EVERY.whiteout === 9)
    return [tarHeader({ ...plain, path: pathOf(index >> 1).replace(/\/([^/]+)$/, "/.wh.$1") })];
  const path = layer > 0 && index % EVERY.replaced === 11 ? pathOf(index >> 1) : plain.path;
  const size = (index * 37) % 1400;
  return [tarHeader({ ...plain, path, size }), new Uint8Array(size), tarPadding(size)];
}

function directoryOf(index: number): string {
  const directory = Math.floor(index / FILES_PER_DIRECTORY);
  return `usr/lib/group${directory % 40}/package-${directory}`;
}

function pathOf(index: number): string {
  return `${directoryOf(index)}/some-module-file-${index}.js`;
}
