/**
 * The paths of members that a JSON text gives twice (`spec.containers[0].name`): `JSON.parse` keeps the last and says
 * nothing. The text is known to be JSON.
 */
export function duplicateFields(text: string): string[] {
  const found: string[] = [];
  let at = 0;
  const space = (): void => {
    while (/\s/.test(text.charAt(at))) at++;
  };
  const string = (): string => {
    const from = at++;
    while (text.charAt(at) !== '"') at += text.charAt(at) === "\\" ? 2 : 1;
    at++;
    return JSON.parse(text.slice(from, at)) as string;
  };
  const value = (path: string): void => {
    space();
    const first = text.charAt(at);
    if (first === "{") object(path);
    else if (first === "[") list(path);
    else if (first === '"') string();
    else while (at < text.length && !/[\s,\]}]/.test(text.charAt(at))) at++;
    space();
  };
  const object = (path: string): void => {
    const seen = new Set<string>();
    at++;
    space();
    while (text.charAt(at) !== "}") {
      const key = string();
      const inner = path === "" ? key : `${path}.${key}`;
      if (seen.has(key)) found.push(inner);
      seen.add(key);
      space();
      at++;
      value(inner);
      if (text.charAt(at) === ",") at++;
      space();
    }
    at++;
  };
  const list = (path: string): void => {
    at++;
    space();
    for (let i = 0; text.charAt(at) !== "]"; i++) {
      value(`${path}[${i}]`);
      if (text.charAt(at) === ",") at++;
      space();
    }
    at++;
  };
  value("");
  return found;
}
