/** `bytes 0-99/1234`, RFC 9110, section 14.4. `total` is undefined for `*`. Half open. */
export interface ContentRange {
  readonly start: number;
  readonly end: number;
  readonly total: number | undefined;
}

export function parseContentRange(header: string | readonly string[] | undefined): ContentRange | undefined {
  const found = /^bytes\s+(\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(typeof header === "string" ? header.trim() : "");
  if (found === null) return undefined;
  const [start, last] = [Number(found[1]), Number(found[2])];
  const total = found[3] === "*" ? undefined : Number(found[3]);
  if (last < start || (total !== undefined && last >= total)) return undefined;
  return { start, end: last + 1, total };
}
