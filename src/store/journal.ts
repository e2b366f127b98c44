import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { RangeSet } from "./range-set.ts";

/**
 * Which bytes of an unfinished blob are in its data file, one line for each thing that became true:
 *
 *     orlop-ingest 1 <digest> <size> <boot id>
 *     w <start> <end>      these bytes were handed to the kernel: they outlive this process, not the machine
 *     s <n>                the bytes of the first n `w` lines are on disk
 *
 * After a reboot only what an `s` line vouches for is believed, so the journal never claims bytes that are not there.
 */
export class Journal {
  readonly ranges: RangeSet;
  readonly #fd: number;
  #lines: number;
  #isClosed = false;

  private constructor(fd: number, ranges: RangeSet, lines: number) {
    this.#fd = fd;
    this.ranges = ranges;
    this.#lines = lines;
  }

  /** `bootId` is the machine's, from /proc/sys/kernel/random/boot_id. A journal of another blob or of no sense is begun anew. */
  static open(path: string, digest: string, size: number, bootId: string): Journal {
    const head = `orlop-ingest 1 ${digest} ${size}`;
    const { ranges, durable } = read(path, head, bootId);
    const fresh = `${path}.new`;
    const fd = openSync(fresh, "w", 0o600);
    try {
      const lines = [...ranges].map(({ start, end }) => `w ${start} ${end}\n`);
      writeSync(fd, `${head} ${bootId}\n${lines.join("")}${durable ? `s ${lines.length}\n` : ""}`);
      renameSync(fresh, path);
      return new Journal(fd, ranges, lines.length);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  wrote(start: number, end: number): void {
    this.ranges.add(start, end);
    writeSync(this.#fd, `w ${start} ${end}\n`);
    this.#lines++;
  }

  /** Runs `flush`, which makes the data file durable, and then vouches for what was written before it began. */
  async sync(flush: () => Promise<void>): Promise<void> {
    const mark = this.#lines;
    await flush();
    writeSync(this.#fd, `s ${mark}\n`);
    fsyncSync(this.#fd);
  }

  /** Once is enough; the number may be another file's by then. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
  }
}

function read(path: string, head: string, bootId: string): { ranges: RangeSet; durable: boolean } {
  const ranges = new RangeSet();
  let text: string;
  try {
    text = readFileSync(path, "latin1");
  } catch {
    return { ranges, durable: false };
  }
  const lines = text.split("\n");
  // What follows the last newline was torn off in the middle.
  lines.pop();
  const [first = "", ...rest] = lines;
  if (!first.startsWith(`${head} `)) return { ranges, durable: false };
  const durable = first !== `${head} ${bootId}`;
  const written: [number, number][] = [];
  let vouched = 0;
  for (const line of rest) {
    const [, start, end] = /^w (\d+) (\d+)$/.exec(line) ?? [];
    const [, count] = /^s (\d+)$/.exec(line) ?? [];
    if (count !== undefined) vouched = Math.min(Number(count), written.length);
    else if (start !== undefined) written.push([Number(start), Number(end)]);
    else break;
  }
  for (const [start, end] of durable ? written.slice(0, vouched) : written) ranges.add(start, end);
  return { ranges, durable };
}
