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

const SYMBOL = /^(?:==|!=|[=!,()<>])/;

function tokens(text: string): Token[] {
  const found: Token[] = [];
  for (let rest = text.trimStart(); rest !== ""; rest = rest.trimStart()) {
    const symbol = SYMBOL.exec(rest)?.[0];
    const word = symbol ?? /^[^\s=!,()<>]+/.exec(rest)?.[0] ?? "";
    found.push({ type: symbol === undefined ? "word" : "symbol", text: word });
    rest = rest.slice(word.length);
  }
  found.push({ type: "end", text: "" });
  return found;
}

const OPERATORS = ["in", "notin", "=", "==", "!=", ">", "<"];

/** Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3`. Throws Failure `INVALID_SELECTOR`, in upstream's words. */
export function parseLabelSelector(text: string): LabelSelector {
  const list = tokens(text);
  let at = 0;
  const peek = (): Token => list[at] ?? { type: "end", text: "" };
  const next = (): Token => {
    const token = peek();
    at++;
    return token;
  };
  const isSymbol = (symbol: string): boolean => peek().type === "symbol" && peek().text === symbol;
  const ends = (): boolean => peek().type === "end" || isSymbol(",");
  const found = (token: Token, expected: string): Failure => invalid(`found '${token.text}', expected: ${expected}`);
  const rules: LabelSelector[] = [];
  while (peek().type !== "end") {
    if (peek().type !== "word" && !isSymbol("!")) throw found(peek(), "!, identifier, or 'end of string'");
    try {
      rules.push(requirement());
    } catch (cause) {
      throw invalid(`unable to parse requirement: ${messageOf(cause)}`);
    }
    const token = next();
    if (token.type === "end") break;
    if (token.text !== ",") throw found(token, "',' or 'end of string'");
    if (peek().type !== "word" && !isSymbol("!")) throw found(peek(), "identifier after ','");
  }
  return (labels) => rules.every((rule) => rule(labels));

  function requirement(): LabelSelector {
    const absent = isSymbol("!");
    if (absent) next();
    const { type, text: key } = next();
    if (type !== "word") throw found({ type, text: key }, "identifier");
    const wrong = keyErrors(key);
    if (wrong.length > 0) throw invalid(`<nil>: Invalid value: ${JSON.stringify(key)}: ${wrong.join("; ")}`);
    if (absent) return (labels) => !Object.hasOwn(labels, key);
    if (ends()) return (labels) => Object.hasOwn(labels, key);
    const operator = next();
    if (!OPERATORS.includes(operator.text)) throw found(operator, "in, notin, =, ==, !=, gt, lt");
    const isSet = operator.type === "word";
    const values = [...(isSet ? set() : [single()])].sort();
    check(key, values, operator.text);
    return ruleOf(key, operator.text, new Set(values));
  }

  function single(): string {
    if (ends()) return "";
    const token = next();
    if (token.type !== "word") throw found(token, "identifier");
    return token.text;
  }

  function set(): Set<string> {
    const open = next();
    if (open.text !== "(") throw invalid(`found '${open.text}' expected: '('`);
    const values = new Set<string>();
    const first = peek();
    if (first.type !== "word" && !isSymbol(",") && !isSymbol(")")) throw found(first, "',', ')' or identifier");
    if (isSymbol(")")) values.add("");
    while (!isSymbol(")")) {
      const token = next();
      if (token.type === "word") {
        values.add(token.text);
        if (!isSymbol(",") && !isSymbol(")")) throw found(peek(), "',' or ')'");
      } else if (token.text === ",") {
        if (values.size === 0 || isSymbol(")") || isSymbol(",")) values.add("");
      } else throw found(token, "',', or identifier");
    }
    next();
    return values;
  }
}

function ruleOf(key: string, operator: string, values: ReadonlySet<string>): LabelSelector {
  const valueOf = (labels: Readonly<Record<string, string>>): string | undefined =>
    Object.hasOwn(labels, key) ? labels[key] : undefined;
  const has: LabelSelector = (labels) => values.has(valueOf(labels) ?? "") && valueOf(labels) !== undefined;
  if (operator === "!=" || operator === "notin") return (labels) => !has(labels);
  if (operator !== "<" && operator !== ">") return has;
  const bound = BigInt([...values][0] ?? 0);
  return (labels) => {
    const value = valueOf(labels);
    if (value === undefined || !INTEGER.test(value)) return false;
    return operator === "<" ? BigInt(value) < bound : BigInt(value) > bound;
  };
}

const INTEGER = /^-?\d+$/;

/** Throws one Failure for all that is wrong with the values. */
function check(key: string, values: readonly string[], operator: string): void {
  const errors = values.flatMap((value, i) => {
    const number = (operator === "<" || operator === ">") && !INTEGER.test(value);
    const shown = JSON.stringify(value);
    const wrong = valueErrors(value);
    return [
      ...(number
        ? [`values[${i}]: Invalid value: ${shown}: for 'Gt', 'Lt' operators, the value must be an integer`]
        : []),
      ...(wrong.length > 0 ? [`values[${i}][${key}]: Invalid value: ${shown}: ${wrong.join("; ")}`] : []),
    ];
  });
  if (errors.length > 0) throw invalid(errors.length === 1 ? (errors[0] ?? "") : `[${errors.join(", ")}]`);
}

const NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const CHARACTERS =
  "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const NAME_WORDS = `must ${CHARACTERS} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${NAME}')`;
const VALUE_WORDS = `a valid label must be an empty string or ${CHARACTERS} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(${NAME})?')`;
const SUBDOMAIN_WORDS = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`;
const EMPTY = "must be non-empty";
const LONGEST = 63;
const tooLong = (most: number): string => `must be no more than ${most} bytes`;
const is = (pattern: string, text: string): boolean => new RegExp(`^${pattern}$`).test(text);

function keyErrors(key: string): string[] {
  const parts = key.split("/");
  const name = parts.at(-1) ?? "";
  const prefix = parts[0] ?? "";
  if (parts.length > 2)
    return [
      `a valid label key ${NAME_WORDS} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  const errors: string[] = [];
  if (parts.length === 2) {
    if (prefix === "") errors.push(`prefix part ${EMPTY}`);
    else if (prefix.length > 253) errors.push(`prefix part ${tooLong(253)}`);
    if (prefix !== "" && !is(SUBDOMAIN, prefix)) errors.push(`prefix part ${SUBDOMAIN_WORDS}`);
  }
  if (name === "") errors.push(`name part ${EMPTY}`);
  else if (name.length > LONGEST) errors.push(`name part ${tooLong(LONGEST)}`);
  if (!is(NAME, name)) errors.push(`name part ${NAME_WORDS}`);
  return errors;
}

function valueErrors(value: string): string[] {
  const errors = value.length > LONGEST ? [tooLong(LONGEST)] : [];
  return is(`(${NAME})?`, value) ? errors : [...errors, VALUE_WORDS];
}

/**
 * Parses `metadata.name=x,spec.nodeName!=y`, in the order of the terms; `\,`, `\=` and `\\` are escapes.
 * Throws Failure `INVALID_SELECTOR`, in upstream's words.
 */
export function parseFieldSelector(text: string): FieldRequirement[] {
  const terms = text.match(/(?:\\.|[^,\\]|\\$)+/gs) ?? [];
  return terms.sort().map((term) => {
    const match = /^(.*?)(!=|==|=)(.*)$/s.exec(term);
    if (match === null) throw invalid(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, field = "", operator, value = ""] = match;
    return { field, value: unescaped(value), equal: operator !== "!=" };
  });
}

function unescaped(value: string): string {
  return value.replace(/\\(.?)|=/gsu, (sequence, escaped?: string) => {
    if (escaped === undefined) throw invalid("invalid field selector: unescaped character in value: 61");
    if (!["\\", ",", "="].includes(escaped))
      throw invalid(`invalid field selector: invalid escape sequence: ${sequence}`);
    return escaped;
  });
}
