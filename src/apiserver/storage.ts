import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Failure, messageOf } from "#base";
import type { KubeObject } from "#k8s";

/** One object as it is stored: without `kind` and `apiVersion`, which its resource implies. */
export interface Stored {
  readonly resource: string;
  /** "" for what has no namespace. */
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  /** Never changed in place. */
  readonly object: KubeObject;
  /** `object` as JSON. */
  readonly json: string;
}

export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  /** The object after the change; for a deletion, its last state with the deletion's version. */
  readonly stored: Stored;
  /** The object before the change. */
  readonly before?: Stored;
}

/** What a write leaves: an object, or `null` where it is deleted; `last` is what the deletion event shows. */
export type Write =
  | { readonly resource: string; readonly namespace: string; readonly name: string; readonly object: KubeObject }
  | { readonly resource: string; readonly namespace: string; readonly name: string; readonly deleted: KubeObject };

export type Listener = (change: Change) => void;

/** How many changes a watch may lie behind. */
const KEPT_CHANGES = 5000;
const COMPACT_EVERY = 500;

// Objects lie in rowid order: in a table without rowids most would need an overflow page of their own at each write.
const TABLES = `
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
  );
  CREATE TABLE IF NOT EXISTS changes (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    value TEXT NOT NULL, before TEXT, beforeVersion INTEGER
  );
  CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`;

/**
 * Makes the write-ahead log as long as it gets between two checkpoints. Flushing what is written over costs a fraction of
 * flushing what makes a file longer, and every write is flushed.
 */
const GROW = `
  BEGIN; CREATE TABLE room (bytes BLOB); INSERT INTO room VALUES (zeroblob(4194304)); DROP TABLE room; COMMIT;
  PRAGMA wal_checkpoint(RESTART);
`;

interface ChangeRow {
  version: number;
  type: Change["type"];
  resource: string;
  namespace: string;
  name: string;
  value: string;
  before: string | null;
  beforeVersion: number | null;
}

/**
 * All objects, durably: SQLite holds them, memory answers. Every write is one transaction that is on disk when the call
 * returns, gets the next number of one global version, and is told to all listeners in order, once.
 */
export class Storage {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #drop: StatementSync;
  readonly #log: StatementSync;
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #listeners = new Map<string, Set<Listener>>();
  #changes: Change[] = [];
  #version = 0;
  #oldest = 0;

  /** Opens or creates the file. Throws Failure `STORAGE_UNUSABLE`. */
  constructor(path: string) {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      this.#db = new DatabaseSync(path, { timeout: 2000 });
      this.#db.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
      this.#db.exec(TABLES);
      this.#db.exec(GROW);
    } catch (cause) {
      const message = `the API server's storage ${path} cannot be opened: ${messageOf(cause)}; is another one using it?`;
      throw new Failure("FAILED_PRECONDITION", "STORAGE_UNUSABLE", message, { cause });
    }
    this.#put = this.#db.prepare(
      "INSERT INTO objects VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET version=excluded.version, value=excluded.value",
    );
    this.#drop = this.#db.prepare("DELETE FROM objects WHERE resource=? AND namespace=? AND name=?");
    this.#log = this.#db.prepare("INSERT INTO changes VALUES (?,?,?,?,?,?,?,?)");
    this.#load();
  }

  /** The version of the last write. */
  get version(): number {
    return this.#version;
  }

  /** A watch may start at this version or later; what came before is compacted. */
  get oldest(): number {
    return this.#oldest;
  }

  get(resource: string, namespace: string, name: string): Stored | undefined {
    return this.#objects.get(resource)?.get(`${namespace}/${name}`);
  }

  /** All objects of a resource, or those of one namespace, by namespace and name. */
  list(resource: string, namespace = ""): Stored[] {
    const all = [...(this.#objects.get(resource)?.values() ?? [])];
    const found = namespace === "" ? all : all.filter((stored) => stored.namespace === namespace);
    return found.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
  }

  /**
   * Writes all or nothing, and sets `metadata.resourceVersion`. The caller has checked what must hold: no other code runs
   * between its check and this call.
   */
  write(...writes: readonly Write[]): Stored[] {
    const changes: Change[] = [];
    let version = this.#version;
    for (const write of writes) {
      version++;
      const { resource, namespace, name } = write;
      const before = this.get(resource, namespace, name);
      const gone = "deleted" in write;
      const object = withVersion(gone ? write.deleted : write.object, version);
      const stored = { resource, namespace, name, version, object, json: JSON.stringify(object) };
      const type = gone ? "DELETED" : before === undefined ? "ADDED" : "MODIFIED";
      changes.push({ type, version, stored, ...(before === undefined ? {} : { before }) });
    }
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      for (const { type, version: at, stored, before } of changes) {
        const { resource, namespace, name, json } = stored;
        if (type === "DELETED") this.#drop.run(resource, namespace, name);
        else this.#put.run(resource, namespace, name, at, json);
        this.#log.run(at, type, resource, namespace, name, json, before?.json ?? null, before?.version ?? null);
      }
      if (Math.floor(version / COMPACT_EVERY) !== Math.floor(this.#version / COMPACT_EVERY))
        this.#db.prepare("DELETE FROM changes WHERE version <= ?").run(version - KEPT_CHANGES);
      this.#db.exec("COMMIT");
    } catch (cause) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw cause;
    }
    this.#version = version;
    for (const change of changes) this.#remember(change);
    for (const change of changes) this.#tell(change);
    return changes.map((change) => change.stored);
  }

  /** The changes of a resource after a version, oldest first. Undefined where they are no longer kept. */
  since(resource: string, version: number): Change[] | undefined {
    if (version < this.#oldest) return undefined;
    return this.#changes.filter((change) => change.version > version && change.stored.resource === resource);
  }

  /** Calls `listener` for each later change of a resource, in order. The returned function ends that. */
  listen(resource: string, listener: Listener): () => void {
    let listeners = this.#listeners.get(resource);
    if (listeners === undefined) this.#listeners.set(resource, (listeners = new Set()));
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** A named value beside the objects, made on first use (the cluster's own uid, a signing key's name). */
  fact(name: string, make: () => string): string {
    const row = this.#db.prepare("SELECT value FROM facts WHERE name=?").get(name);
    if (row !== undefined) return String(row["value"]);
    const value = make();
    this.#db.prepare("INSERT INTO facts VALUES (?,?)").run(name, value);
    return value;
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #load(): void {
    for (const row of this.#db.prepare("SELECT * FROM objects").iterate()) {
      const { resource, namespace, name, version, value } = row as unknown as ChangeRow;
      this.#set({ resource, namespace, name, version, json: value, object: JSON.parse(value) as KubeObject });
    }
    const rows = this.#db.prepare("SELECT * FROM changes ORDER BY version").all() as unknown as ChangeRow[];
    this.#changes = rows.map(changeOf);
    this.#version = rows.at(-1)?.version ?? 0;
    this.#oldest = (rows[0]?.version ?? 1) - 1;
  }

  #set(stored: Stored): void {
    let objects = this.#objects.get(stored.resource);
    if (objects === undefined) this.#objects.set(stored.resource, (objects = new Map()));
    objects.set(`${stored.namespace}/${stored.name}`, stored);
  }

  #remember(change: Change): void {
    const { stored } = change;
    if (change.type !== "DELETED") this.#set(stored);
    else this.#objects.get(stored.resource)?.delete(`${stored.namespace}/${stored.name}`);
    this.#changes.push(change);
    if (this.#changes.length >= KEPT_CHANGES + COMPACT_EVERY) {
      this.#changes = this.#changes.slice(-KEPT_CHANGES);
      this.#oldest = (this.#changes[0]?.version ?? 1) - 1;
    }
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners.get(change.stored.resource) ?? []) listener(change);
  }
}

function changeOf(row: ChangeRow): Change {
  const { type, version, resource, namespace, name, value, before, beforeVersion } = row;
  const place = { resource, namespace, name };
  return {
    type,
    version,
    stored: { ...place, version, json: value, object: JSON.parse(value) as KubeObject },
    ...(before === null
      ? {}
      : {
          before: {
            ...place,
            version: beforeVersion ?? 0,
            json: before,
            object: JSON.parse(before) as KubeObject,
          },
        }),
  };
}

function withVersion(object: KubeObject, version: number): KubeObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
