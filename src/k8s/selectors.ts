import { Failure, messageOf } from "#base";

/** A predicate over labels. An empty selector matches everything. */
export type LabelSelector = (labels: Readonly<Record<string, string>>) => boolean;

/** One `field=value` or `field!=value`. */
export interface FieldRequirement {
  readonly field: string;
  readonly value: string;
  readonly equal: boolean;
}

const invalid = (message: string): Failure => new Failure("INVALID_ARGUMENT", "INVALID_SELECTOR", message);

interface Token {
  readonly type: "symbol" | "word" | "end";
  readonly text: string;
}

const SYMBOLS = ["==", "!=", "=", "!", ",", "(", ")", "<", ">"];

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    if (/\s/.test(text.charAt(at))) {
      at++;
      continue;
    }
    const symbol = SYMBOLS.find((s) => text.startsWith(s, at));
    const word = symbol ?? /^[^\s=!,()<>]+/.exec(text.slice(at))?.[0] ?? "";
    found.push({ type: symbol === undefined ? "word" : "symbol", text: word });
    at += word.length;
  }
  found.push({ type: "end", text: "" });
  return found;
}

/** Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3`. Throws Failure `INVALID_SELECTOR`. */
export function parseLabelSelector(text: string): LabelSelector {
  const list = tokens(text);
  let at = 0;
  const peek = (): Token => list[at] ?? { type: "end", text: "" };
  const next = (): Token => {
    const token = peek();
    at++;
    return token;
  };
  const isSymbol = (text: string): boolean => peek().type === "symbol" && peek().text === text;
  const rules: LabelSelector[] = [];
  if (peek().type === "end") return () => true;
  for (;;) {
    if (!isSymbol("!") && peek().type !== "word")
      throw invalid(`found '${peek().text}', expected: !, identifier, or 'end of string'`);
    rules.push(one());
    if (peek().type === "end") break;
    if (!isSymbol(",")) throw invalid(`found '${peek().text}', expected: ',' or 'end of string'`);
    next();
    if (peek().type === "end" || isSymbol(",")) throw invalid(`found '${peek().text}', expected: identifier after ','`);
  }
  return (labels) => rules.every((rule) => rule(labels));

  function one(): LabelSelector {
    try {
      if (!isSymbol("!")) return requirement(requireKey(next()));
      next();
      const key = requireKey(next());
      return (labels) => !(key in labels);
    } catch (cause) {
      throw invalid(`unable to parse requirement: ${messageOf(cause)}`);
    }
  }

  function requirement(key: string): LabelSelector {
    const operator = peek();
    if (operator.type === "end" || operator.text === ",") return (labels) => key in labels;
    next();
    switch (operator.text) {
      case "=":
      case "==": {
        const value = requireValue(single(), key);
        return (labels) => labels[key] === value;
      }
      case "!=": {
        const value = requireValue(single(), key);
        return (labels) => labels[key] !== value;
      }
      case "in": {
        const values = set(key);
        return (labels) => labels[key] !== undefined && values.has(labels[key]);
      }
      case "notin": {
        const values = set(key);
        return (labels) => labels[key] === undefined || !values.has(labels[key]);
      }
      case "<":
      case ">": {
        const bound = next().text;
        if (!/^-?\d+$/.test(bound)) throw invalid(`for 'Gt', 'Lt' operators, the value must be an integer`);
        return (labels) => {
          const value = labels[key];
          if (value === undefined || !/^-?\d+$/.test(value)) return false;
          return operator.text === "<" ? BigInt(value) < BigInt(bound) : BigInt(value) > BigInt(bound);
        };
      }
      default:
        throw invalid(`found '${operator.text}', expected: in, notin, =, ==, !=, gt, lt`);
    }
  }

  function single(): string {
    if (peek().type === "end" || isSymbol(",")) return "";
    if (peek().type !== "word") throw invalid(`found '${peek().text}', expected: identifier`);
    return next().text;
  }

  function set(key: string): ReadonlySet<string> {
    if (!isSymbol("(")) throw invalid(`found '${peek().text}' expected: '('`);
    next();
    const values = new Set<string>();
    for (;;) {
      if (isSymbol(")") || isSymbol(",")) values.add("");
      else if (peek().type === "word") values.add(requireValue(next().text, key));
      else throw invalid(`found '${peek().text}', expected: ',', ')' or identifier`);
      if (isSymbol(")")) {
        next();
        return values;
      }
      if (!isSymbol(",")) throw invalid(`found '${peek().text}', expected: ',' or ')'`);
      next();
    }
  }
}

const PART = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)";
const KEY = new RegExp(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?${PART}$`);
const VALUE = new RegExp(`^${PART}?$`);

function requireKey(token: Token): string {
  if (token.type !== "word") throw invalid(`found '${token.text}', expected: identifier`);
  const name = token.text.slice(token.text.indexOf("/") + 1);
  if (!KEY.test(token.text) || name.length > 63)
    throw invalid(
      `<nil>: Invalid value: "${token.text}": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
    );
  return token.text;
}

function requireValue(value: string, key: string): string {
  if (!VALUE.test(value) || value.length > 63)
    throw invalid(
      `values[0][${key}]: Invalid value: "${value}": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
    );
  return value;
}

/** Parses `metadata.name=x,spec.nodeName!=y`; `\,`, `\=` and `\\` are escapes. Throws Failure `INVALID_SELECTOR`. */
export function parseFieldSelector(text: string): FieldRequirement[] {
  if (text === "") return [];
  return (text.match(/(?:\\.|[^,\\])+/g) ?? []).map((term) => {
    const match = /^((?:\\.|[^=!\\])*)(==|!=|=)(.*)$/s.exec(term);
    if (match === null) throw invalid(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, field = "", operator, value = ""] = match;
    return { field, value: value.replace(/\\(.)/gs, "$1"), equal: operator !== "!=" };
  });
}
