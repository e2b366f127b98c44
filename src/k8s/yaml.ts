import { parse } from "yaml";

/** The value of one YAML document (JSON is one). @throws YAMLParseError, which says the line */
export function parseYaml(text: string): unknown {
  return parse(text, { maxAliasCount: 100, merge: true });
}
