import { resolve } from "node:path";
import { Failure, silent, type Log } from "#base";
import type { Kernel } from "#kernel";
import type { Platform } from "#oci";
import type { Registry } from "#registry";
import { Mounter, Snapshots, erofsSupport } from "#snapshot";
import { SharedCalls, Store, usageOf, type StoreOptions } from "#store";
import type { Engine } from "./engine.ts";
import { findRecord, manifestOf, missing, objectOf } from "./objects.ts";
import { Volumes, partsOf } from "./publish.ts";
import { Puller } from "./pull.ts";
import { push } from "./push.ts";
import { fsck, keepBelow, prune, remove } from "./upkeep.ts";
import { checkWatermarks, type Watermarks } from "./watermarks.ts";

export interface EngineOptions extends Omit<StoreOptions, "dataDir"> {
  /** Blobs, snapshots and records: what outlives the machine's restart. */
  readonly dataDir: string;
  /** Mounts and locks: what does not. */
  readonly runDir: string;
  readonly kernel: Kernel;
  /** Not disposed with the engine. */
  readonly registry: Registry;
  readonly platform: Platform;
  readonly log?: Log;
  /** Collects by itself: at the beginning, after each pull, and now and then. Without them only `prune` collects. */
  readonly watermarks?: Watermarks;
  /** How trees are shown: as EROFS where the kernel can (`auto`), or always as directories of real files. */
  readonly mounter?: "auto" | "erofs" | "directory";
}

/** The kubelet's pace of collecting images. Milliseconds. */
const HOUSEKEEPING = 300_000;

/**
 * Opens the engine over a data directory, puts right what a crash left behind, and finds out what the kernel can do. Several
 * engines, in several processes, may have the same directories open.
 *
 * @throws Failure READ_ONLY_STORE, RECORDS_UNUSABLE, EROFS_UNSUPPORTED, INVALID_WATERMARKS
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  if (options.watermarks !== undefined) checkWatermarks(options.watermarks);
  const { registry, platform, kernel, log = silent } = options;
  const dataDir = resolve(options.dataDir);
  const runDir = resolve(options.runDir);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await Store.open({ ...options, dataDir }));
  await store.sweep();
  const support =
    options.mounter === "directory"
      ? { supported: false as const, why: "directories were asked for" }
      : await erofsSupport(kernel, store);
  if (!support.supported && options.mounter === "erofs")
    throw new Failure("UNIMPLEMENTED", "EROFS_UNSUPPORTED", `EROFS cannot be mounted from files here: ${support.why}`);
  if (!support.supported) log.info({ why: support.why }, "trees are shown as directories of real files");

  const snapshots = stack.use(new Snapshots(store, support.supported ? "erofs" : "directory"));
  const directIo = support.supported && support.directIo;
  const mounter = new Mounter({ kernel, store, snapshots, runDir, directIo });
  const volumes = new Volumes(store, mounter, log);
  await volumes.recover();

  const closing = new AbortController();
  const housekeeping = new SharedCalls<void>();
  const puller = new Puller({ store, snapshots, registry, platform, log, closing: closing.signal });
  stack.defer(async () => {
    closing.abort(new DOMException("the engine was closed", "AbortError"));
    await Promise.all([puller.settled(), housekeeping.settled()]);
  });
  const { watermarks } = options;
  // Nobody waits for it.
  const keepHouse = (): void => {
    if (watermarks !== undefined)
      void housekeeping.run("", () => keepBelow(store, watermarks, log, closing.signal)).result;
  };
  keepHouse();
  // Other things fill the disk, too.
  const timer = setInterval(keepHouse, HOUSEKEEPING).unref();
  stack.defer(() => clearInterval(timer));
  const owned = stack.move();

  const find = (name: string) => {
    const record = findRecord(store, name);
    return record === undefined ? undefined : objectOf(record, store.records.referencesOf(record.digest));
  };
  return {
    async pull(request, call) {
      const object = await puller.pull(request, call);
      keepHouse();
      return object;
    },
    classify: (request, call) => puller.classify(request, call),
    find: async (name) => find(name),
    list: async () =>
      store.records.manifests().map((record) => objectOf(record, store.records.referencesOf(record.digest))),
    async inspect(name) {
      const record = findRecord(store, name);
      if (record === undefined) throw missing(name);
      return {
        object: objectOf(record, store.records.referencesOf(record.digest)),
        manifest: manifestOf(record),
        config: jsonOf(record.config),
        tree: await snapshots.list(partsOf(record)),
      };
    },
    remove: (name) => remove(store, name),
    push: (request, call) => push({ store, registry, platform }, request, call),
    publish: (request, call) => volumes.publish(request, call),
    unpublish: (owner, target) => volumes.unpublish(owner, target),
    volumes: async () => volumes.list(),
    prune: (request, call) => prune(store, request, call),
    fsck: (call) => fsck(store, log, (record) => puller.mend(record, call), call),
    usage: async () => ({ ...(await usageOf(store.layout.root)), path: store.layout.root }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A config need not be JSON: artifacts may have anything there. */
function jsonOf(config: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(config).toString("utf8"));
  } catch {
    return undefined;
  }
}
