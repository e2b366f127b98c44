/** Status line and header fields of an HTTP/1.1 answer. RFC 9112, sections 4 and 5. */
export interface ResponseHead {
  readonly status: number;
  /** Lower-case names; a field that came several times holds its values joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body, where a Content-Length alone says so; undefined where it takes more to know its end. */
  readonly length: number | undefined;
  readonly keepsAlive: boolean;
}

const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: |$)/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;

/** Undefined for what is no HTTP/1 head. `text` ends before the empty line. */
export function parseHead(text: string): ResponseHead | undefined {
  const [first = "", ...lines] = text.split("\r\n");
  const [, minor, status] = STATUS_LINE.exec(first) ?? [];
  if (status === undefined) return undefined;
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const line of lines) {
    const [, name, value = ""] = FIELD.exec(line) ?? [];
    if (name === undefined) return undefined;
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? value : `${headers[key]}, ${value}`;
  }
  const size = headers["content-length"] ?? "";
  const isPlain = headers["transfer-encoding"] === undefined && /^\d{1,15}$/.test(size);
  return {
    status: Number(status),
    headers,
    length: isPlain ? Number(size) : undefined,
    keepsAlive: minor === "1" && !/\bclose\b/i.test(headers["connection"] ?? ""),
  };
}
