import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Failure, messageOf } from "#base";
import type { KubeObject } from "#k8s";
import { Ordered } from "./ordered.ts";
import { KEEP, Retention } from "./retention.ts";

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

/** What listens to it hears of every resource. */
export const EVERY = "*";

/** So many bytes of changes are read at once for a watch. */
const BATCH = 1024 * 1024;

// One row for each state an object had. `previous` is the version of the state that it replaced.
const TABLES = `
  CREATE TABLE IF NOT EXISTS revisions (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    previous INTEGER, value TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS revisionsOfResource ON revisions (resource, version);
  CREATE TABLE IF NOT EXISTS compaction (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER NOT NULL);
`;

const CURRENT = `
  SELECT * FROM revisions WHERE type <> 'DELETED'
    AND version NOT IN (SELECT previous FROM revisions WHERE previous IS NOT NULL)
`;
const SINCE = `
  SELECT r.*, p.value AS before FROM revisions r LEFT JOIN revisions p ON p.version = r.previous
    WHERE r.resource = ? AND r.version > ? ORDER BY r.version
`;
// The first change of each object after a version says what it was at that version.
const UNDO = `
  SELECT r.namespace, r.name, r.previous, p.value FROM revisions r LEFT JOIN revisions p ON p.version = r.previous
    WHERE r.resource = ?1 AND r.version > ?2 AND (r.previous IS NULL OR r.previous <= ?2) ORDER BY r.version
`;
const FORGET = [
  `DELETE FROM revisions WHERE version IN
    (SELECT previous FROM revisions WHERE version > ?1 AND version <= ?2 AND previous IS NOT NULL)`,
  "DELETE FROM revisions WHERE version > ?1 AND version <= ?2 AND type = 'DELETED'",
];
const COMPACTED = "INSERT INTO compaction VALUES (0, ?) ON CONFLICT DO UPDATE SET version=excluded.version";

/**
 * Makes the write-ahead log as long as it gets between two checkpoints. Flushing what is written over costs a fraction of
 * flushing what makes a file longer, and every write is flushed.
 */
const GROW = `
  BEGIN; CREATE TABLE room (bytes BLOB); INSERT INTO room VALUES (zeroblob(4194304)); DROP TABLE room; COMMIT;
  PRAGMA wal_checkpoint(RESTART);
`;

interface Row {
  readonly version: number;
  readonly type: Change["type"];
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly previous: number | null;
  readonly value: string;
}

type ChangeRow = Row & { readonly before: string | null };
type UndoRow = Pick<Row, "namespace" | "name" | "previous"> & { readonly value: string | null };

/**
 * All objects, durably: SQLite holds them and the states they had, memory answers for the present. Every write is one
 * transaction that is on disk when the call returns, gets the next number of one global version, and is told to all
 * listeners in order, once. The past goes back as far as `keep` says.
 */
export class Storage {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #after: StatementSync;
  readonly #undo: StatementSync;
  readonly #forget: readonly StatementSync[];
  readonly #compacted: StatementSync;
  readonly #objects = new Map<string, Ordered>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #retention: Retention;
  #version = 0;
  #oldest = 0;

  /** Opens or creates the file. Throws Failure `STORAGE_UNUSABLE`. */
  constructor(path: string, keep = KEEP) {
    this.#retention = new Retention(keep);
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
    this.#put = this.#db.prepare("INSERT INTO revisions VALUES (?,?,?,?,?,?,?)");
    this.#after = this.#db.prepare(SINCE);
    this.#undo = this.#db.prepare(UNDO);
    this.#forget = FORGET.map((sql) => this.#db.prepare(sql));
    this.#compacted = this.#db.prepare(COMPACTED);
    this.#load();
  }

  /** The version of the last write. */
  get version(): number {
    return this.#version;
  }

  /** The past is known from this version on. */
  get oldest(): number {
    return this.#oldest;
  }

  get(resource: string, namespace: string, name: string): Stored | undefined {
    return this.#objects.get(resource)?.get(namespace, name);
  }

  /** All objects of a resource, or those of one namespace, in the order of `<namespace>/<name>`. */
  list(resource: string, namespace = ""): Stored[] {
    return this.#objects.get(resource)?.list(namespace) ?? [];
  }

  /** The same as it was at a version, which has been. Undefined where that is no longer known. */
  listAt(resource: string, namespace: string, version: number): Stored[] | undefined {
    if (version < this.#oldest) return undefined;
    if (version === this.#version) return this.list(resource, namespace);
    const objects = this.#objects.get(resource)?.copy() ?? new Ordered();
    const undone = new Set<string>();
    for (const row of this.#undo.iterate(resource, version)) {
      const { namespace: space, name, previous, value } = row as unknown as UndoRow;
      const key = `${space}/${name}`;
      if (undone.has(key)) continue;
      undone.add(key);
      if (previous === null || value === null) objects.delete(space, name);
      else objects.set(storedOf({ resource, namespace: space, name, version: previous, value }));
    }
    return objects.list(namespace);
  }

  /**
   * Writes all or nothing, and sets `metadata.resourceVersion`. The caller has checked what must hold: no other code runs
   * between its check and this call.
   */
  write(...writes: readonly Write[]): Stored[] {
    const changes: Change[] = [];
    let version = this.#version;
    let bytes = 0;
    for (const write of writes) {
      version++;
      const { resource, namespace, name } = write;
      const before = this.get(resource, namespace, name);
      const gone = "deleted" in write;
      const object = withVersion(gone ? write.deleted : write.object, version);
      const stored = { resource, namespace, name, version, object, json: JSON.stringify(object) };
      const type = gone ? "DELETED" : before === undefined ? "ADDED" : "MODIFIED";
      changes.push({ type, version, stored, ...(before === undefined ? {} : { before }) });
      bytes += stored.json.length;
    }
    const now = performance.now();
    const forgotten = this.#retention.due(now);
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      for (const { type, version: at, stored, before } of changes) {
        const { resource, namespace, name, json } = stored;
        this.#put.run(at, type, resource, namespace, name, before?.version ?? null, json);
      }
      if (forgotten !== undefined) {
        for (const statement of this.#forget) statement.run(this.#oldest, forgotten);
        this.#compacted.run(forgotten);
      }
      this.#db.exec("COMMIT");
    } catch (cause) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw cause;
    }
    this.#version = version;
    this.#oldest = forgotten ?? this.#oldest;
    this.#retention.note(version, changes.length, bytes, now);
    for (const change of changes) this.#remember(change);
    for (const change of changes) this.#tell(change);
    return changes.map((change) => change.stored);
  }

  /** The next changes of a resource after a version, oldest first, some at a time. Undefined where they are no longer kept. */
  since(resource: string, version: number): Change[] | undefined {
    if (version < this.#oldest) return undefined;
    if (version >= this.#version) return [];
    const changes: Change[] = [];
    let bytes = 0;
    for (const row of this.#after.iterate(resource, version)) {
      const change = this.#changeOf(row as unknown as ChangeRow);
      changes.push(change);
      bytes += change.stored.json.length;
      if (bytes > BATCH) break;
    }
    return changes;
  }

  /** Calls `listener` for each later change of a resource, or of `EVERY` one, in order. The returned function ends that. */
  listen(resource: string, listener: Listener): () => void {
    let listeners = this.#listeners.get(resource);
    if (listeners === undefined) this.#listeners.set(resource, (listeners = new Set()));
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #load(): void {
    for (const row of this.#db.prepare(CURRENT).iterate()) this.#set(storedOf(row as unknown as Row));
    this.#oldest = Number(this.#db.prepare("SELECT version FROM compaction").get()?.["version"] ?? 0);
    const past = "SELECT MAX(version) AS last, COUNT(*) AS changes, SUM(LENGTH(value)) AS bytes FROM revisions";
    const { last, changes, bytes } = this.#db.prepare(past).get() as Record<string, number | null>;
    this.#version = last ?? 0;
    if (last != null) this.#retention.note(last, changes ?? 0, bytes ?? 0, performance.now());
  }

  #set(stored: Stored): void {
    let objects = this.#objects.get(stored.resource);
    if (objects === undefined) this.#objects.set(stored.resource, (objects = new Ordered()));
    objects.set(stored);
  }

  #remember({ type, stored }: Change): void {
    if (type !== "DELETED") this.#set(stored);
    else this.#objects.get(stored.resource)?.delete(stored.namespace, stored.name);
  }

  #tell(change: Change): void {
    for (const heard of [change.stored.resource, EVERY])
      for (const listener of this.#listeners.get(heard) ?? []) listener(change);
  }

  #changeOf(row: ChangeRow): Change {
    const { type, version, resource, namespace, name, previous, before } = row;
    const current = this.get(resource, namespace, name);
    const stored = current?.version === version ? current : storedOf(row);
    if (previous === null || before === null) return { type, version, stored };
    return { type, version, stored, before: storedOf({ ...row, version: previous, value: before }) };
  }
}

function storedOf({ resource, namespace, name, version, value }: Omit<Row, "type" | "previous">): Stored {
  return { resource, namespace, name, version, json: value, object: JSON.parse(value) as KubeObject };
}

/** An object with the version it is shown with, in the place that it has among the fields: after the uid. */
export function withVersion(object: KubeObject, version: number): KubeObject {
  const { resourceVersion: _before, ...metadata } = object.metadata ?? {};
  const fields = Object.entries(metadata);
  const at = fields.findIndex(([key]) => key === "uid") + 1;
  return { ...object, metadata: Object.fromEntries(fields.toSpliced(at, 0, ["resourceVersion", String(version)])) };
}
