import { closeSync, openSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { Failure, messageOf } from "#base";
import type { Digest } from "#oci";
import { diskFailure } from "./disk-failure.ts";

const VERSION = 2;
const SCHEMA = `
  CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    bytes BLOB NOT NULL,
    config BLOB NOT NULL,
    packaging TEXT NOT NULL,
    is_image INTEGER NOT NULL,
    size INTEGER NOT NULL,
    -- JSON: for each planned part, in order, the blob it asks for and what is stored for it
    parts TEXT NOT NULL,
    pulled_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE refs (
    name TEXT PRIMARY KEY,
    manifest TEXT NOT NULL REFERENCES manifests (digest) ON DELETE CASCADE,
    resolved TEXT NOT NULL,
    repository TEXT NOT NULL
  ) STRICT;
  CREATE INDEX refs_by_manifest ON refs (manifest);
  -- Stored plain bytes of blobs that came compressed, or under another digest than the one they are stored by.
  CREATE TABLE forms (
    blob TEXT NOT NULL,
    form TEXT NOT NULL,
    stored TEXT NOT NULL,
    PRIMARY KEY (blob, form)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE volumes (
    target TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    manifest TEXT NOT NULL REFERENCES manifests (digest),
    sub_path TEXT NOT NULL,
    exec INTEGER NOT NULL,
    -- Where it is mounted: the target without symlinks, which may lead elsewhere by tomorrow.
    place TEXT NOT NULL DEFAULT ''
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX volumes_by_owner ON volumes (owner);
  CREATE INDEX volumes_by_manifest ON volumes (manifest);
  -- What a running process is about to need, so that no other one collects it. JSON: digests of blobs.
  CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    blobs TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** In which form a blob is stored: as it came, or as the plain tar inside. */
export type Form = "raw" | "plain";

/** What is stored for one planned part of a manifest. */
export interface StoredPart {
  readonly blob: Digest;
  readonly stored: Digest;
  /** Bytes of the stored form. */
  readonly size: number;
  readonly isTar: boolean;
}

export interface ManifestRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly config: Uint8Array;
  readonly packaging: string;
  readonly isImage: boolean;
  readonly size: number;
  readonly parts: readonly StoredPart[];
  readonly pulledAt: number;
  readonly usedAt: number;
}

export interface ReferenceRecord {
  /** As `formatReference` writes it. */
  readonly name: string;
  readonly manifest: Digest;
  readonly resolved: Digest;
  /** `registry/repository` */
  readonly repository: string;
}

export interface VolumeRecord {
  readonly target: string;
  readonly owner: string;
  readonly manifest: Digest;
  readonly subPath: string;
  readonly exec: boolean;
  /** The target as the kernel knows it, without symlinks; empty where an older version wrote it. */
  readonly place: string;
}

/** What the data directory knows beside its files: SQLite in WAL mode, opened by several processes at once. */
export class Records implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /**
   * Every method throws Failure NO_SPACE, READ_ONLY_STORE or DISK_ERROR where the disk does not do its part.
   *
   * @throws Failure RECORDS_UNUSABLE where the file is of a later version or damaged.
   */
  constructor(path: string) {
    let db: DatabaseSync | undefined;
    try {
      // Where it cannot be opened the kernel says why, and SQLite only that.
      closeSync(openSync(path, "a", 0o600));
      db = new DatabaseSync(path, { timeout: 10_000, enableForeignKeyConstraints: true });
      this.#db = db;
      this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
      this.#migrate(path);
    } catch (error) {
      db?.close();
      const cause = diskFailure(error, `opening the records ${path}`);
      if (cause instanceof Failure) throw cause;
      throw unusable(path, messageOf(cause), cause);
    }
  }

  /** Runs `work` alone among all writers of all processes; all of it happens or nothing. Keep it short. */
  transaction<T>(work: () => T): T {
    attempt(() => this.#db.exec("BEGIN IMMEDIATE"));
    try {
      const result = work();
      attempt(() => this.#db.exec("COMMIT"));
      return result;
    } catch (error) {
      // Some failures, a full disk among them, have rolled back already.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  manifest(digest: string): ManifestRecord | undefined {
    const row = this.#get("SELECT * FROM manifests WHERE digest = ?", digest);
    return row === undefined ? undefined : manifestOf(row);
  }

  manifests(): readonly ManifestRecord[] {
    return this.#all("SELECT * FROM manifests ORDER BY pulled_at, digest").map(manifestOf);
  }

  putManifest(record: ManifestRecord): void {
    this.#run(
      `INSERT INTO manifests (digest, media_type, bytes, config, packaging, is_image, size, parts, pulled_at, used_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (digest) DO UPDATE SET packaging = excluded.packaging, parts = excluded.parts, used_at = excluded.used_at`,
      record.digest,
      record.mediaType,
      record.bytes,
      record.config,
      record.packaging,
      record.isImage ? 1 : 0,
      record.size,
      JSON.stringify(record.parts),
      record.pulledAt,
      record.usedAt,
    );
  }

  touchManifest(digest: Digest, usedAt: number): void {
    this.#run("UPDATE manifests SET used_at = ? WHERE digest = ?", usedAt, digest);
  }

  /** Its references go with it. @throws where a volume holds it. */
  deleteManifest(digest: Digest): void {
    this.#run("DELETE FROM manifests WHERE digest = ?", digest);
  }

  reference(name: string): ReferenceRecord | undefined {
    const row = this.#get("SELECT * FROM refs WHERE name = ?", name);
    return row === undefined ? undefined : referenceOf(row);
  }

  references(): readonly ReferenceRecord[] {
    return this.#all("SELECT * FROM refs ORDER BY name").map(referenceOf);
  }

  referencesOf(manifest: Digest): readonly ReferenceRecord[] {
    return this.#all("SELECT * FROM refs WHERE manifest = ? ORDER BY name", manifest).map(referenceOf);
  }

  putReference({ name, manifest, resolved, repository }: ReferenceRecord): void {
    this.#run(
      "INSERT OR REPLACE INTO refs (name, manifest, resolved, repository) VALUES (?, ?, ?, ?)",
      name,
      manifest,
      resolved,
      repository,
    );
  }

  deleteReference(name: string): void {
    this.#run("DELETE FROM refs WHERE name = ?", name);
  }

  form(blob: Digest, form: Form): Digest | undefined {
    return this.#get("SELECT stored FROM forms WHERE blob = ? AND form = ?", blob, form)?.["stored"] as
      Digest | undefined;
  }

  /** Every stored digest that stands for this blob under another name. */
  formsOf(blob: string): readonly Digest[] {
    return this.#all("SELECT stored FROM forms WHERE blob = ?", blob).map((row) => row["stored"] as Digest);
  }

  putForm(blob: Digest, form: Form, stored: Digest): void {
    this.#run("INSERT OR REPLACE INTO forms (blob, form, stored) VALUES (?, ?, ?)", blob, form, stored);
  }

  deleteFormsOfStored(stored: Digest): void {
    this.#run("DELETE FROM forms WHERE stored = ?", stored);
  }

  volume(target: string): VolumeRecord | undefined {
    const row = this.#get("SELECT * FROM volumes WHERE target = ?", target);
    return row === undefined ? undefined : volumeOf(row);
  }

  volumes(): readonly VolumeRecord[] {
    return this.#all("SELECT * FROM volumes ORDER BY owner, target").map(volumeOf);
  }

  volumesOfOwner(owner: string): readonly VolumeRecord[] {
    return this.#all("SELECT * FROM volumes WHERE owner = ? ORDER BY target", owner).map(volumeOf);
  }

  volumesOfManifest(manifest: Digest): readonly VolumeRecord[] {
    return this.#all("SELECT * FROM volumes WHERE manifest = ? ORDER BY target", manifest).map(volumeOf);
  }

  /** @throws where the manifest is not here. */
  putVolume({ target, owner, manifest, subPath, exec, place }: VolumeRecord): void {
    this.#run(
      "INSERT INTO volumes (target, owner, manifest, sub_path, exec, place) VALUES (?, ?, ?, ?, ?, ?)",
      target,
      owner,
      manifest,
      subPath,
      exec ? 1 : 0,
      place,
    );
  }

  moveVolume(target: string, place: string): void {
    this.#run("UPDATE volumes SET place = ? WHERE target = ?", place, target);
  }

  deleteVolume(target: string): void {
    this.#run("DELETE FROM volumes WHERE target = ?", target);
  }

  putLease(id: string, holder: string, blobs: readonly string[]): void {
    this.#run("INSERT OR REPLACE INTO leases (id, holder, blobs) VALUES (?, ?, ?)", id, holder, JSON.stringify(blobs));
  }

  deleteLease(id: string): void {
    this.#run("DELETE FROM leases WHERE id = ?", id);
  }

  leases(): readonly { readonly id: string; readonly holder: string; readonly blobs: readonly string[] }[] {
    return this.#all("SELECT * FROM leases").map((row) => ({
      id: String(row["id"]),
      holder: String(row["holder"]),
      blobs: JSON.parse(String(row["blobs"])) as string[],
    }));
  }

  [Symbol.dispose](): void {
    this.#statements.clear();
    this.#db.close();
  }

  #migrate(path: string): void {
    this.transaction(() => {
      const version = Number(this.#db.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
      if (version > VERSION)
        throw unusable(path, `it has version ${version}, this program knows ${VERSION}; use a newer one`);
      if (version === 0) this.#db.exec(SCHEMA);
      if (version === 1) this.#db.exec("ALTER TABLE volumes ADD COLUMN place TEXT NOT NULL DEFAULT ''");
      if (version < VERSION) this.#db.exec(`PRAGMA user_version = ${VERSION}`);
    });
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    attempt(() => this.#statement(sql).run(...values));
  }

  #get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return attempt(() => this.#statement(sql).get(...values));
  }

  #all(sql: string, ...values: SQLInputValue[]): readonly Row[] {
    return attempt(() => this.#statement(sql).all(...values));
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }
}

/** SQLite tells of a full disk in its own way. */
function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw diskFailure(error, "using the records");
  }
}

type Row = Readonly<Record<string, SQLOutputValue>>;

function manifestOf(row: Row): ManifestRecord {
  return {
    digest: row["digest"] as Digest,
    mediaType: String(row["media_type"]),
    bytes: row["bytes"] as Uint8Array,
    config: row["config"] as Uint8Array,
    packaging: String(row["packaging"]),
    isImage: row["is_image"] === 1,
    size: Number(row["size"]),
    parts: JSON.parse(String(row["parts"])) as StoredPart[],
    pulledAt: Number(row["pulled_at"]),
    usedAt: Number(row["used_at"]),
  };
}

function referenceOf(row: Row): ReferenceRecord {
  return {
    name: String(row["name"]),
    manifest: row["manifest"] as Digest,
    resolved: row["resolved"] as Digest,
    repository: String(row["repository"]),
  };
}

function volumeOf(row: Row): VolumeRecord {
  return {
    target: String(row["target"]),
    owner: String(row["owner"]),
    manifest: row["manifest"] as Digest,
    subPath: String(row["sub_path"]),
    exec: row["exec"] === 1,
    place: String(row["place"]),
  };
}

function unusable(path: string, why: string, cause?: unknown): Failure {
  return new Failure("FAILED_PRECONDITION", "RECORDS_UNUSABLE", `the records ${path} cannot be used: ${why}`, {
    cause,
  });
}
