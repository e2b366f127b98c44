/** What Go's JSON decoder says of a text that is no JSON: the first character it cannot take, and where it looked. */
export function goSyntaxError(text: string): string {
  try {
    new Scanner(text).document();
    return "unexpected end of JSON input";
  } catch (cause) {
    if (cause instanceof Misplaced) return cause.message;
    throw cause;
  }
}

/**
 * What Go's JSON decoder says of a value that does not fit where it is read into ("value of type []string"). `number` is
 * shown of a number that is one of the wrong sort.
 */
export function goTypeError(value: unknown, into: string, number?: string): string {
  const type = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  const shown = value === null ? "null" : type === "number" && number !== undefined ? `number ${number}` : type;
  return `json: cannot unmarshal ${shown} into Go ${into}`;
}

/** What most JSON is read into where its type is not known yet. */
export const GO_MAP = "value of type map[string]interface {}";

class Misplaced extends Error {}

const LITERALS: Readonly<Record<string, string>> = { t: "true", f: "false", n: "null" };

/** Walks a text as Go does. Throws Misplaced at the first character that does not fit, and at the end if that comes early. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value();
    this.#space();
    if (this.#at < this.#text.length) this.#refuse("after top-level value");
  }

  get #char(): string {
    return this.#text.charAt(this.#at);
  }

  #refuse(where: string): never {
    const char = this.#char;
    if (char === "") throw new Misplaced("unexpected end of JSON input");
    const quoted = char === "'" ? "\\'" : char === '"' ? char : JSON.stringify(char).slice(1, -1);
    throw new Misplaced(`invalid character '${quoted}' ${where}`);
  }

  #space(): void {
    while (this.#char !== "" && " \t\r\n".includes(this.#char)) this.#at++;
  }

  /** Takes the character if it fits. */
  #take(fits: RegExp): boolean {
    if (!fits.test(this.#char)) return false;
    this.#at++;
    return true;
  }

  #need(fits: RegExp, where: string): void {
    if (!this.#take(fits)) this.#refuse(where);
  }

  #value(): void {
    this.#space();
    const literal = LITERALS[this.#char];
    if (this.#char === "{") this.#object();
    else if (this.#char === "[") this.#list();
    else if (this.#char === '"') this.#string();
    else if (/[-\d]/.test(this.#char)) this.#number();
    else if (literal === undefined) this.#refuse("looking for beginning of value");
    else
      for (const expected of literal)
        if (this.#char === expected) this.#at++;
        else this.#refuse(`in literal ${literal} (expecting '${expected}')`);
  }

  #object(): void {
    this.#at++;
    this.#space();
    if (this.#take(/}/)) return;
    do {
      this.#space();
      if (this.#char !== '"') this.#refuse("looking for beginning of object key string");
      this.#string();
      this.#space();
      this.#need(/:/, "after object key");
      this.#value();
      this.#space();
    } while (this.#take(/,/));
    this.#need(/}/, "after object key:value pair");
  }

  #list(): void {
    this.#at++;
    this.#space();
    if (this.#take(/]/)) return;
    do {
      this.#value();
      this.#space();
    } while (this.#take(/,/));
    this.#need(/]/, "after array element");
  }

  #string(): void {
    this.#at++;
    while (!this.#take(/"/)) {
      if (this.#char < " ") this.#refuse("in string literal");
      if (!this.#take(/\\/)) {
        this.#at++;
        continue;
      }
      if (this.#take(/u/)) for (let i = 0; i < 4; i++) this.#need(/[\da-fA-F]/, "in \\u hexadecimal character escape");
      else this.#need(/[bfnrt\\/"]/, "in string escape code");
    }
  }

  #number(): void {
    this.#take(/-/);
    if (!this.#take(/0/)) {
      this.#need(/[1-9]/, "in numeric literal");
      while (this.#take(/\d/));
    }
    if (this.#take(/\./)) {
      this.#need(/\d/, "after decimal point in numeric literal");
      while (this.#take(/\d/));
    }
    if (!this.#take(/[eE]/)) return;
    this.#take(/[-+]/);
    this.#need(/\d/, "in exponent of numeric literal");
    while (this.#take(/\d/));
  }
}
