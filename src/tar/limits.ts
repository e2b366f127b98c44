import { Failure } from "#base";

/** What a reader puts up with from one archive. What lies beyond ends in Failure TAR_LIMIT, before memory is spent on it. */
export interface TarLimits {
  /** Members. The default lets pass every image seen in the wild and stops a bomb of a million. */
  readonly entries: number;
  /** Bytes of one PAX header, GNU long name or sparse map. */
  readonly header: number;
  /** Bytes of all names, link targets and extended headers together, and 64 for each attribute and 24 for each piece of a sparse file. */
  readonly metadata: number;
}

export const TAR_LIMITS: TarLimits = { entries: 750_000, header: 1024 * 1024, metadata: 256 * 1024 * 1024 };

export function beyond(what: string, offset: number): Failure {
  return new Failure("RESOURCE_EXHAUSTED", "TAR_LIMIT", `the archive is refused at offset ${offset}: ${what}`);
}

export function broken(what: string, offset: number): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_TAR", `the archive is broken at offset ${offset}: ${what}`);
}
