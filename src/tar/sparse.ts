import type { TarExtent } from "./entry.ts";
import { BLOCK, numeric, type Header } from "./header.ts";
import { beyond, broken, type TarLimits } from "./limits.ts";
import { parseNatural, type PaxRecords } from "./pax.ts";
import type { Window } from "./window.ts";

/** A sparse file: where its pieces go (offset, length, offset, length …), how big it looks, and where its bytes begin. */
export interface SparseMap {
  readonly map: readonly number[];
  readonly realSize: number;
  /** Offset in the tar of the first piece's bytes. */
  readonly data: number;
  /** Offset in the tar behind the last one, before padding. */
  readonly end: number;
}

/** Header field `S`, GNU's old format: 4 pieces in the header, 21 in each block that follows. `tar.h`, struct sparse. */
export function readOldGnu(window: Window, header: Header, size: number, limits: TarLimits): SparseMap {
  const map: number[] = [];
  const { offset } = header;
  const realSize = numeric(header.buffer, header.at + 483, 12, "realsize", offset);
  addPieces(map, header.buffer, header.at + 386, 4, offset);
  let more = header.byte(482) !== 0;
  let next = offset + BLOCK;
  while (more) {
    if (next - offset > limits.header) throw beyond(`a sparse map is longer than ${limits.header} bytes`, offset);
    const block = window.view(next, BLOCK);
    if (block.length < BLOCK) throw broken("it ends inside a sparse map", next);
    addPieces(map, block, 0, 21, next);
    more = block[504] !== 0;
    next += BLOCK;
  }
  return { map, realSize, data: next, end: next + size };
}

function addPieces(map: number[], buffer: Buffer, from: number, count: number, offset: number): void {
  for (let at = from; at < from + count * 24; at += 24) {
    if (buffer[at] === 0) return;
    map.push(numeric(buffer, at, 12, "sparse offset", offset), numeric(buffer, at + 12, 12, "sparse length", offset));
  }
}

/** GNU's PAX formats 0.0, 0.1 and 1.0, told apart by their records. Undefined for a file that is not sparse. */
export function readPaxSparse(
  window: Window,
  records: PaxRecords,
  offset: number,
  size: number,
  limits: TarLimits,
): SparseMap | undefined {
  const { values, sparse } = records;
  const realSize = values.get("GNU.sparse.realsize") ?? values.get("GNU.sparse.size");
  if (realSize === undefined) return undefined;
  const natural = parseNatural(realSize, "GNU.sparse.size", offset);
  if (values.get("GNU.sparse.major")?.toString("latin1") === "1") {
    const { map, data } = readMapBeforeData(window, offset, size, limits);
    return { map, realSize: natural, data, end: offset + size };
  }
  const text = values.get("GNU.sparse.map")?.toString("latin1");
  const map = text === undefined ? sparse : text === "" ? [] : text.split(",").map((n) => decimal(n, offset));
  return { map, realSize: natural, data: offset, end: offset + size };
}

/** Format 1.0: the number of pieces, then offset and length of each, a line each, padded to a block. */
function readMapBeforeData(
  window: Window,
  offset: number,
  size: number,
  limits: TarLimits,
): { map: number[]; data: number } {
  const numbers: number[] = [];
  let line = "";
  for (let at = offset; at < offset + size; at += BLOCK) {
    if (at - offset > limits.header) throw beyond(`a sparse map is longer than ${limits.header} bytes`, offset);
    for (const byte of window.view(at, BLOCK)) {
      if (byte !== 0x0a) {
        if (line.length > 16) throw broken("a sparse map has a number that is too long", at);
        line += String.fromCharCode(byte);
        continue;
      }
      numbers.push(decimal(line, at));
      line = "";
      if (numbers.length === 1 + 2 * (numbers[0] ?? 0)) return { map: numbers.slice(1), data: at + BLOCK };
    }
  }
  throw broken("it ends inside a sparse map", offset + size);
}

function decimal(text: string, offset: number): number {
  return parseNatural(Buffer.from(text, "latin1"), "a sparse map", offset);
}

/** The pieces as extents. @throws Failure INVALID_TAR where they overlap, go backwards or need more bytes than there are. */
export function extentsOf({ map, realSize, data, end }: SparseMap): readonly TarExtent[] {
  const extents: TarExtent[] = [];
  let offset = data;
  let last = 0;
  if (map.length % 2 !== 0) throw broken("a sparse map misses a length", data);
  for (let i = 0; i < map.length; i += 2) {
    const at = map[i] ?? 0;
    const length = map[i + 1] ?? 0;
    if (at < last || length < 0 || at + length > realSize) throw broken("a sparse map does not fit its file", data);
    if (length > 0) extents.push({ at, offset, length });
    offset += length;
    last = at + length;
  }
  if (offset > end) throw broken("a sparse file has fewer bytes than its map says", data);
  return extents;
}
