/** What every call that may last carries: how to end it, and whom to tell how far it is. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Told for how many milliseconds nothing will come, because the other side is to be asked again only then. */
  readonly onWaiting?: ((milliseconds: number) => void) | undefined;
}

/** How far one blob is, in bytes as they come over the network. `total` is -1 where it is not known. */
export interface Progress {
  /** Of the blob; while it is not known yet which blobs there are, the reference that was asked for. */
  readonly digest: string;
  readonly received: number;
  readonly total: number;
  /** Nothing comes before this, because the registry wants to be left alone until then. Milliseconds since the epoch. */
  readonly waitsUntil?: number;
}
