/** store: blobs, unfinished writes, leases, collection and records of one data directory. */
export type { InflateLimits, StoredBlob, Want } from "./fetch-blob.ts";
export { usageOf, type Collected } from "./collect.ts";
export { diskFailure } from "./disk-failure.ts";
export { lockDirectory, type LockedDirectory } from "./lock.ts";
export type { PatienceOptions } from "./patience.ts";
export type { ManifestRecord, ReferenceRecord, StoredPart, VolumeRecord } from "./records.ts";
export { SharedCalls } from "./shared-calls.ts";
export { Slots } from "./slots.ts";
export { Store, type StoreOptions } from "./store.ts";
