import type { ServerResponse } from "node:http";
import type { Form } from "./accept.ts";
import type { Resource } from "./kinds/resource.ts";
import { waitFor } from "./freshness.ts";
import { parseVersion, type ListOptions } from "./list-options.ts";
import type { ApiRequest } from "./router.ts";
import type { Selector } from "./select.ts";
import { StatusError, expired } from "./status.ts";
import { withVersion, type Change, type Storage, type Stored } from "./storage.ts";
import { WatchLines } from "./watch-lines.ts";

const BOOKMARK_EVERY = 60_000;
const DEFAULT_SECONDS = 3600;
const LONGEST_SECONDS = 86_400;
/** With so many bytes unread, a watcher is told no news until it has caught up. */
const MOST_UNREAD = 1024 * 1024;
const INITIAL_END = { "k8s.io/initial-events-end": "true" };

/** What is watched, for whom. */
export interface Watch {
  readonly storage: Storage;
  readonly resource: Resource;
  /** "" for all. */
  readonly namespace: string;
  readonly select: Selector | undefined;
  readonly form: Form;
  readonly options: ListOptions;
}

/**
 * Streams the changes of a resource: each once, in order, from the version asked for. One that reads slower than is written
 * is served from what storage keeps of the past. Ends when the client goes, the server closes, after `timeoutSeconds`, or
 * with 410 when the past does not go back to where the watcher is.
 */
export async function watch(request: ApiRequest, response: ServerResponse, of: Watch): Promise<void> {
  const { storage, options } = of;
  const asked = parseVersion(options.resourceVersion, (why) => new StatusError(500, "", why));
  response.setHeader("Content-Type", "application/json");
  response.setHeader("Cache-Control", "no-cache, private");
  response.setHeader("Transfer-Encoding", "chunked");
  response.writeHead(200);
  response.flushHeaders();

  const over = Promise.withResolvers<void>();
  const seconds = Math.min(options.timeoutSeconds || DEFAULT_SECONDS, LONGEST_SECONDS);
  const timeout = setTimeout(over.resolve, seconds * 1000).unref();
  request.signal.addEventListener("abort", () => over.resolve(), { once: true });
  response.once("close", over.resolve);
  if (request.signal.aborted) over.resolve();
  const watcher = new Watcher(response, of, new WatchLines(of.resource, of.form, request.query), over.promise);
  try {
    if (options.sendInitialEvents === true) {
      await waitFor(asked, storage, request.signal);
      await watcher.present();
    } else watcher.startAt(asked === 0 ? storage.version : asked);
    await watcher.follow();
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    watcher.fail(error);
  } finally {
    clearTimeout(timeout);
  }
  if (!response.destroyed) response.end();
}

/** One watcher: how far it is, and what it is told. */
class Watcher {
  readonly #response: ServerResponse;
  readonly #of: Watch;
  readonly #lines: WatchLines;
  readonly #over: Promise<void>;
  /** All changes up to this version have been told. */
  #at = 0;
  /** Whether every change is told as it is written. */
  #isLive = false;
  #ended = false;

  constructor(response: ServerResponse, of: Watch, lines: WatchLines, over: Promise<void>) {
    this.#response = response;
    this.#of = of;
    this.#lines = lines;
    this.#over = over.then(() => void (this.#ended = true));
  }

  startAt(version: number): void {
    this.#at = version;
  }

  /** Tells what there is, as if it were new. */
  async present(): Promise<void> {
    const { storage, resource, namespace, options } = this.#of;
    this.#at = storage.version;
    for (const stored of storage.list(resource.storedAs, namespace)) {
      if (this.#matches(stored)) this.#send(this.#lines.event("ADDED", stored));
      if (this.#response.writableLength > MOST_UNREAD) await this.#drained();
      if (this.#ended) return;
    }
    if (options.bookmarks) this.#send(this.#lines.bookmark(this.#at, INITIAL_END));
  }

  /** Tells all changes until the end. Throws 410 where the next ones are forgotten. */
  async follow(): Promise<void> {
    const { options, resource, storage } = this.#of;
    const bookmark = (): void =>
      this.#send(this.#lines.bookmark(this.#isLive ? Math.max(this.#at, storage.version) : this.#at));
    const ticker = options.bookmarks ? setInterval(bookmark, BOOKMARK_EVERY).unref() : undefined;
    try {
      while (!this.#ended) {
        const missed = storage.since(resource.storedAs, this.#at);
        if (missed === undefined) throw expired(`too old resource version: ${this.#at} (${storage.oldest})`);
        for (const change of missed) this.#tell(change);
        // Nothing yields between the last look at the past and listening, so no change falls between.
        if (missed.length === 0) await this.#live();
        else await this.#drained();
      }
    } finally {
      clearInterval(ticker);
    }
    if (options.bookmarks) bookmark();
  }

  fail(error: StatusError): void {
    this.#send(this.#lines.error(error));
  }

  /** Tells changes as they are written, until the end or until the client has too much to read. */
  async #live(): Promise<void> {
    const { resource, storage } = this.#of;
    const behind = Promise.withResolvers<void>();
    this.#isLive = true;
    this.#at = Math.max(this.#at, storage.version);
    const stop = storage.listen(resource.storedAs, (change) => {
      this.#tell(change);
      if (this.#response.writableLength <= MOST_UNREAD) return;
      stop();
      behind.resolve();
    });
    await Promise.race([behind.promise, this.#over]);
    stop();
    if (this.#ended) return;
    this.#isLive = false;
    await this.#drained();
  }

  #tell(change: Change): void {
    if (change.version <= this.#at) return;
    this.#at = change.version;
    const is = change.type !== "DELETED" && this.#matches(change.stored);
    const was = this.#matches(change.before);
    if (is) this.#send(this.#lines.event(was ? "MODIFIED" : "ADDED", change.stored, change));
    else if (was && change.type === "DELETED") this.#send(this.#lines.event("DELETED", change.stored, change));
    else if (was) this.#send(this.#lines.event("DELETED", lastSeen(change)));
  }

  #matches(stored: Stored | undefined): boolean {
    const { namespace, select } = this.#of;
    return (
      stored !== undefined && (namespace === "" || stored.namespace === namespace) && (select?.(stored.object) ?? true)
    );
  }

  #send(text: string): void {
    if (!this.#response.destroyed) this.#response.write(text);
  }

  async #drained(): Promise<void> {
    if (!this.#response.writableNeedDrain || this.#ended) return;
    const drained = Promise.withResolvers<void>();
    this.#response.once("drain", drained.resolve);
    await Promise.race([drained.promise, this.#over]);
    this.#response.off("drain", drained.resolve);
  }
}

/** An object that left the selection is shown as it was, at the version at which it left. */
function lastSeen({ before, stored, version }: Change): Stored {
  const last = before ?? stored;
  const object = withVersion(last.object, version);
  return { ...last, version, object, json: JSON.stringify(object) };
}
