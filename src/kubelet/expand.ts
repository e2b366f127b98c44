/**
 * Replaces `$(NAME)` by the variable's value; `$$` stands for one `$`, and what names no variable stays as written.
 * https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
 */
export function expand(
  text: string,
  variables: { get(name: string): string | undefined },
  onMissing?: (name: string) => void,
): string {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const next = text[i + 1];
    if (text[i] !== "$" || next === undefined) out += text[i];
    else if (next === "$") {
      out += "$";
      i++;
    } else if (next === "(") {
      const end = text.indexOf(")", i + 2);
      if (end < 0) {
        out += "$(";
        i++;
        continue;
      }
      const name = text.slice(i + 2, end);
      const value = variables.get(name);
      if (value === undefined) onMissing?.(name);
      out += value ?? `$(${name})`;
      i = end;
    } else {
      out += `$${next}`;
      i++;
    }
  }
  return out;
}
