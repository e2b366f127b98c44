import { Failure } from "#base";
import { isDigest, parseManifest, parseReference, formatReference, type Digest, type Manifest } from "#oci";
import type { ManifestRecord, ReferenceRecord, Store } from "#store";
import type { StoredObject } from "./engine.ts";

/** What the records say of one manifest, as the doors want to see it. */
export function objectOf(record: ManifestRecord, references: readonly ReferenceRecord[]): StoredObject {
  const { digest, mediaType, packaging, isImage, size, pulledAt } = record;
  const { artifactType } = manifestOf(record);
  const repoDigests = new Set(references.map((reference) => `${reference.repository}@${reference.resolved}`));
  return {
    digest,
    resolved: references[0]?.resolved ?? digest,
    references: references.map(({ name }) => name).filter((name) => !name.includes("@")),
    repoDigests: [...repoDigests].sort(),
    mediaType,
    ...(artifactType === undefined ? {} : { artifactType }),
    packaging,
    isImage,
    size,
    pulledAt,
  };
}

export function manifestOf(record: ManifestRecord): Manifest {
  const manifest = parseManifest(record.bytes, record.mediaType);
  if (manifest.kind === "manifest") return manifest;
  throw new Failure(
    "INTERNAL",
    "INVALID_RECORD",
    `the record of ${record.digest} is an index; remove it and pull again`,
  );
}

/** The record that a reference, `repository@digest`, or manifest digest names. */
export function findRecord(store: Store, name: string): ManifestRecord | undefined {
  const { records } = store;
  if (isDigest(name)) return records.manifest(name) ?? byResolved(store, name);
  const reference = parseReference(name);
  const known = records.reference(formatReference(reference));
  if (known !== undefined) return records.manifest(known.manifest);
  if (reference.digest === undefined) return undefined;
  const repository = `${reference.registry}/${reference.repository}`;
  const inRepository = records
    .references()
    .find(
      (candidate) =>
        candidate.repository === repository &&
        (candidate.manifest === reference.digest || candidate.resolved === reference.digest),
    );
  return inRepository === undefined ? undefined : records.manifest(inRepository.manifest);
}

/** What an index was resolved to, by the index's digest. */
function byResolved(store: Store, digest: Digest): ManifestRecord | undefined {
  const found = store.records.references().find(({ resolved }) => resolved === digest);
  return found === undefined ? undefined : store.records.manifest(found.manifest);
}

export function missing(name: string): Failure {
  return new Failure("NOT_FOUND", "NOT_FOUND", `${name} is not in the store; pull it first`);
}
