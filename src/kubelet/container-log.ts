/** One line of a log in CRI's format: `<RFC 3339 time> <stdout|stderr> <tags> <text>`. */
export interface LogLine {
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** The line goes on in the next one. */
  readonly partial: boolean;
  readonly text: Buffer;
}

const SPACE = 0x20;

/** Reads a line without its newline; undefined where it is none. */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const afterTime = line.indexOf(SPACE);
  const afterStream = line.indexOf(SPACE, afterTime + 1);
  if (afterTime < 0 || afterStream < 0) return undefined;
  const stream = line.toString("latin1", afterTime + 1, afterStream);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const afterTags = line.indexOf(SPACE, afterStream + 1);
  const tags = line.toString("latin1", afterStream + 1, afterTags < 0 ? line.length : afterTags);
  return {
    time: line.toString("latin1", 0, afterTime),
    stream,
    partial: tags.split(":")[0] === "P",
    text: afterTags < 0 ? Buffer.alloc(0) : line.subarray(afterTags + 1),
  };
}
