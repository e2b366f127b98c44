/** smol-toml's message goes on with an excerpt of several lines. */
export function tomlMessage(error: unknown): string {
  const [first = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  const { line } = error as { readonly line?: number };
  return line === undefined ? first : `${first} (line ${line})`;
}
