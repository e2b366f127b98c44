/** An answer of a registry, whichever kind of connection it came over. */
export interface WireResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Has to be read to its end, dumped or destroyed. */
  readonly body: WireBody;
}

export interface WireBody extends AsyncIterable<Uint8Array> {
  /** Throws away what is left. */
  dump(): Promise<void>;
  destroy(): unknown;
  /** Where present: takes back a piece whose bytes may be overwritten. */
  release?(piece: Uint8Array): void;
}
