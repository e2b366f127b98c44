/** What every call that may last carries: how to end it, and whom to tell how far it is. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** How far one blob is, in bytes as they come over the network. `total` is -1 where it is not known. */
export interface Progress {
  readonly digest: string;
  readonly received: number;
  readonly total: number;
}
