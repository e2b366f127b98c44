import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { isFailure } from "#base";
import { linuxKernel } from "#kernel";
import { digestOf } from "#oci";
import { Records, type ManifestRecord } from "./records.ts";

const manifest: ManifestRecord = {
  digest: digestOf("manifest"),
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  bytes: Buffer.from("{}"),
  config: new Uint8Array(),
  packaging: "oras",
  isImage: false,
  size: 2,
  parts: [{ blob: digestOf("packed"), stored: digestOf("plain"), size: 5, isTar: true }],
  pulledAt: 1,
  usedAt: 1,
};
const volume = { target: "/volume", owner: "pod", manifest: manifest.digest, subPath: "", exec: false, place: "/real" };

function within(work: (path: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), "orlop-records-"));
  try {
    work(join(dir, "records.db"));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test("what one process records, another one reads at once", () => {
  within((path) => {
    using one = new Records(path);
    using two = new Records(path);
    one.putManifest(manifest);
    one.putReference({ name: "q/x:v1", manifest: manifest.digest, resolved: manifest.digest, repository: "q/x" });
    const found = two.manifest(manifest.digest);
    assert.deepEqual({ ...found, bytes: Buffer.from(found?.bytes ?? []), config: new Uint8Array() }, manifest);
    assert.equal(two.reference("q/x:v1")?.manifest, manifest.digest);
    two.deleteManifest(manifest.digest);
    assert.equal(one.reference("q/x:v1"), undefined, "its references go with a manifest");
  });
});

test("a manifest that a volume shows cannot be deleted, and a volume needs its manifest", () => {
  within((path) => {
    using records = new Records(path);
    assert.throws(() => records.putVolume(volume));
    records.putManifest(manifest);
    records.putVolume(volume);
    assert.throws(() => records.deleteManifest(manifest.digest));
    records.deleteVolume(volume.target);
    records.deleteManifest(manifest.digest);
  });
});

test("a transaction that throws leaves nothing of itself", () => {
  within((path) => {
    using records = new Records(path);
    const work = () => {
      records.putManifest(manifest);
      throw new Error("no");
    };
    assert.throws(() => records.transaction(work), /no/);
    assert.deepEqual(records.manifests(), []);
  });
});

test("records of the first version are taken over with their volumes", () => {
  within((path) => {
    const early = new DatabaseSync(path);
    early.exec(`
      CREATE TABLE manifests (digest TEXT PRIMARY KEY) STRICT;
      CREATE TABLE volumes (
        target TEXT PRIMARY KEY, owner TEXT NOT NULL, manifest TEXT NOT NULL REFERENCES manifests (digest),
        sub_path TEXT NOT NULL, exec INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      INSERT INTO manifests VALUES ('${manifest.digest}');
      INSERT INTO volumes VALUES ('/volume', 'pod', '${manifest.digest}', '', 0);
      PRAGMA user_version = 1`);
    early.close();
    for (let again = 0; again < 2; again++) {
      using records = new Records(path);
      assert.deepEqual(records.volumes(), [{ ...volume, place: "" }]);
    }
  });
});

test("records of a later version, or that are none, are refused and left as they are", () => {
  within((path) => {
    const later = new DatabaseSync(path);
    later.exec("PRAGMA user_version = 99");
    later.close();
    assert.throws(
      () => new Records(path),
      (error) => isFailure(error, "RECORDS_UNUSABLE") && /version 99/.test(error.message),
    );
  });
  within((path) => {
    writeFileSync(path, "this is no database at all, but long enough to be taken for one".repeat(40));
    assert.throws(
      () => new Records(path),
      (error) => isFailure(error, "RECORDS_UNUSABLE"),
    );
  });
});

test("a full disk is said as such, leaves nothing of a transaction, and is over when there is room", () => {
  within((path) => {
    const dir = dirname(path);
    const kernel = linuxKernel();
    kernel.mountTmpfs(dir, { sizeBytes: 1024 * 1024 }, {});
    try {
      using records = new Records(path);
      const filler = join(dir, "filler");
      writeFileSync(filler, Buffer.alloc(512 * 1024));
      const large = { ...manifest, digest: digestOf("large"), bytes: Buffer.alloc(600 * 1024) };
      const put = () => {
        records.putManifest(manifest);
        records.putManifest(large);
      };
      const isFull = (error: unknown) => isFailure(error, "NO_SPACE") && /the disk is full/.test(error.message);
      assert.throws(() => records.transaction(put), isFull);
      assert.deepEqual(records.manifests(), []);
      assert.throws(() => records.putManifest(large), isFull);
      rmSync(filler);
      records.putManifest(large);
      assert.equal(records.manifests().length, 1);
    } finally {
      kernel.unmount(dir);
    }
  });
});

test("records that cannot be written are said to be so", () => {
  within((path) => {
    new Records(path)[Symbol.dispose]();
    const kernel = linuxKernel();
    const dir = dirname(path);
    kernel.bind(dir, dir, { readOnly: true });
    try {
      assert.throws(
        () => new Records(path).deleteReference("x"),
        (error) => isFailure(error, "READ_ONLY_STORE"),
      );
    } finally {
      kernel.unmount(dir);
    }
  });
});
