import { BulkConnection, type BulkTarget } from "./bulk-connection.ts";
import { Slabs } from "./slabs.ts";
import type { WireBody, WireResponse } from "./wire-response.ts";

/** A connection that nobody uses is closed after this. Milliseconds. */
const IDLE = 10_000;
/** What is left of an answer that nobody wants is read up to this, to keep the connection. Bytes. */
const DUMP_LIMIT = 64 * 1024;

interface Lane {
  /** Connections that are open or being opened. */
  count: number;
  readonly idle: { readonly connection: BulkConnection; readonly timer: NodeJS.Timeout }[];
  readonly waiting: (() => void)[];
}

export interface BulkRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds. */
  readonly timeouts: { readonly answer: number; readonly stall: number };
}

/** Keeps the connections for blobs: at most so many to one host, each used again once its answer was read to the end. */
export class BulkPool {
  readonly #lanes = new Map<string, Lane>();
  readonly #open = new Set<BulkConnection>();
  readonly #limit: number;
  readonly #slabs = new Slabs();
  readonly #closing: AbortSignal;

  /** After `closing` is aborted no connection is opened any more. */
  constructor(limit: number, closing: AbortSignal) {
    this.#limit = limit;
    this.#closing = closing;
  }

  /**
   * Undefined where the server answers in a way that this reader leaves to others: with a body without Content-Length.
   *
   * @throws what the connection throws; the signal's reason
   */
  async get(lane: string, target: BulkTarget, request: BulkRequest): Promise<WireResponse | undefined> {
    for (;;) {
      const connection = await this.#take(lane, target, request.signal);
      const wasUsed = connection.isUsed;
      const abort = (): void => connection.destroy(request.signal?.reason as Error);
      request.signal?.addEventListener("abort", abort, { once: true });
      if (request.signal?.aborted === true) abort();
      const done = (): void => {
        request.signal?.removeEventListener("abort", abort);
        this.#giveBack(lane, connection);
      };
      try {
        const head = await connection.get(request.url, request.headers, request.timeouts);
        const { status, headers, length } = head;
        if (length === undefined) {
          connection.destroy();
          done();
          // Of a redirect and of a challenge only the head is wanted.
          const isHeadEnough = status === 401 || (status >= 300 && status < 400);
          return isHeadEnough ? { statusCode: status, headers, body: NOTHING } : undefined;
        }
        return { statusCode: status, headers, body: new Body(connection, length, this.#slabs, done) };
      } catch (error) {
        done();
        // A connection that rested may have been closed by the server just now.
        if (!wasUsed || request.signal?.aborted === true) throw error;
      }
    }
  }

  destroy(): void {
    for (const connection of this.#open) connection.destroy();
  }

  async #take(name: string, target: BulkTarget, signal: AbortSignal | undefined): Promise<BulkConnection> {
    const lane = this.#lane(name);
    const ending = signal === undefined ? this.#closing : AbortSignal.any([signal, this.#closing]);
    for (;;) {
      ending.throwIfAborted();
      for (let entry = lane.idle.pop(); entry !== undefined; entry = lane.idle.pop()) {
        clearTimeout(entry.timer);
        if (entry.connection.isFree) return entry.connection;
        entry.connection.destroy();
      }
      if (lane.count < this.#limit) break;
      await turn(lane.waiting, ending);
      // Whoever was woken and wants nothing any more wakes the next one.
      if (ending.aborted) lane.waiting.shift()?.();
    }
    lane.count++;
    try {
      const connection = await BulkConnection.open(target, this.#slabs, ending);
      this.#open.add(connection);
      connection.onClose = () => {
        this.#open.delete(connection);
        if (this.#open.size === 0) this.#slabs.forget();
        this.#free(lane);
      };
      return connection;
    } catch (error) {
      this.#free(lane);
      throw error;
    }
  }

  #giveBack(name: string, connection: BulkConnection): void {
    const lane = this.#lane(name);
    if (!connection.isFree) return connection.destroy();
    connection.rest();
    const timer = setTimeout(() => connection.destroy(), IDLE).unref();
    lane.idle.push({ connection, timer });
    lane.waiting.shift()?.();
  }

  #free(lane: Lane): void {
    lane.count--;
    lane.waiting.shift()?.();
  }

  #lane(name: string): Lane {
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const made: Lane = { count: 0, idle: [], waiting: [] };
    this.#lanes.set(name, made);
    return made;
  }
}

const NOTHING: WireBody = {
  async *[Symbol.asyncIterator]() {
    // It has no bytes.
  },
  dump: () => Promise.resolve(),
  destroy: () => undefined,
};

class Body implements WireBody {
  readonly #connection: BulkConnection;
  readonly #length: number;
  readonly #slabs: Slabs;
  readonly #done: () => void;

  constructor(connection: BulkConnection, length: number, slabs: Slabs, done: () => void) {
    this.#connection = connection;
    this.#length = length;
    this.#slabs = slabs;
    this.#done = done;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* this.#connection.body();
    } finally {
      this.#done();
    }
  }

  release(piece: Uint8Array): void {
    this.#slabs.giveBack(piece);
  }

  async dump(): Promise<void> {
    if (this.#length > DUMP_LIMIT) return this.destroy();
    try {
      for await (const piece of this) this.release(piece);
    } catch {
      // It is thrown away anyway.
    }
  }

  destroy(): void {
    this.#connection.destroy();
    this.#done();
  }
}

/** Waits until a place is free. @throws the signal's reason */
async function turn(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = (): void => {
    const at = waiting.indexOf(resolve);
    if (at >= 0) waiting.splice(at, 1);
    reject(signal.reason as Error);
  };
  waiting.push(resolve);
  signal.addEventListener("abort", abort);
  try {
    await promise;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
