/** How much of the past is kept for lists and watches of earlier versions. */
export interface Keep {
  /** Milliseconds that a superseded state is kept at least, as long as there is room. */
  readonly time: number;
  /** Bytes of changes that are kept at most. */
  readonly bytes: number;
}

/** As long as a kube-apiserver has etcd keep it. */
export const KEEP: Keep = { time: 5 * 60 * 1000, bytes: 256 * 2 ** 20 };

/** What is forgotten at once holds at most so many changes, and such a part of the time and the bytes. */
const SPAN_CHANGES = 500;
const SPANS = 64;

/** A run of changes that is forgotten as a whole. */
interface Span {
  last: number;
  changes: number;
  bytes: number;
  readonly began: number;
  ended: number;
}

/** Says up to which version the past may be forgotten. */
export class Retention {
  readonly #keep: Keep;
  readonly #spans: Span[] = [];
  #bytes = 0;

  constructor(keep: Keep) {
    this.#keep = keep;
  }

  /** Takes note of changes, the last of them at `version`. `now` is in milliseconds and never goes back. */
  note(version: number, changes: number, bytes: number, now: number): void {
    const { time, bytes: most } = this.#keep;
    let span = this.#spans.at(-1);
    if (
      span === undefined ||
      span.changes >= SPAN_CHANGES ||
      span.bytes >= most / SPANS ||
      now - span.began >= time / SPANS
    )
      this.#spans.push((span = { last: version, changes: 0, bytes: 0, began: now, ended: now }));
    span.last = version;
    span.changes += changes;
    span.bytes += bytes;
    span.ended = now;
    this.#bytes += bytes;
  }

  /** The version up to which one more span may go now; undefined where all is to be kept. */
  due(now: number): number | undefined {
    const [first] = this.#spans;
    if (first === undefined || this.#spans.length === 1) return undefined;
    if (this.#bytes <= this.#keep.bytes && now - first.ended <= this.#keep.time) return undefined;
    this.#spans.shift();
    this.#bytes -= first.bytes;
    return first.last;
  }
}
