/** One `WWW-Authenticate` challenge. RFC 9110, section 11.6.1. */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names are lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const PARAMETER = /\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*,?/y;

/** Reads every challenge of the headers; what makes no sense is passed over. */
export function parseChallenges(headers: string | readonly string[] | undefined): readonly Challenge[] {
  const lines = headers === undefined ? [] : typeof headers === "string" ? [headers] : headers;
  return lines.flatMap(parseLine);
}

function parseLine(line: string): readonly Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  while (at < line.length) {
    at += /^[\s,]*/.exec(line.slice(at))?.[0].length ?? 0;
    TOKEN.lastIndex = at;
    const scheme = TOKEN.exec(line)?.[0];
    if (scheme === undefined) break;
    at = TOKEN.lastIndex;
    const parameters: Record<string, string> = {};
    for (;;) {
      PARAMETER.lastIndex = at;
      const found = PARAMETER.exec(line);
      if (found === null) break;
      parameters[(found[1] ?? "").toLowerCase()] = found[2]?.replace(/\\(.)/g, "$1") ?? found[3] ?? "";
      at = PARAMETER.lastIndex;
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
  return challenges;
}
