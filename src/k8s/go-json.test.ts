import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { goSyntaxError } from "./go-json.ts";

const END = "unexpected end of JSON input";
const rows: readonly (readonly [text: string, why: string])[] = [
  ["", END],
  ['{"a":', END],
  ['"a', END],
  ['{"a":1} x', "invalid character 'x' after top-level value"],
  ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
  ["{'a':1}", "invalid character '\\'' looking for beginning of object key string"],
  ['{"a" 1}', "invalid character '1' after object key"],
  ['{"a":1 "b":2}', `invalid character '"' after object key:value pair`],
  ["[1 2]", "invalid character '2' after array element"],
  ["[,]", "invalid character ',' looking for beginning of value"],
  ["not json", "invalid character 'o' in literal null (expecting 'u')"],
  ["[tru]", "invalid character ']' in literal true (expecting 'e')"],
  ['"a\nb"', "invalid character '\\n' in string literal"],
  ['"\\x"', "invalid character 'x' in string escape code"],
  ['"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"],
  ["01", "invalid character '1' after top-level value"],
  ["-a", "invalid character 'a' in numeric literal"],
  ["1.x", "invalid character 'x' after decimal point in numeric literal"],
  ["1ex", "invalid character 'x' in exponent of numeric literal"],
];

test("a text that is no JSON is told of in Go's words", () => {
  for (const [text, why] of rows) assert.equal(goSyntaxError(text), why, text);
});

test("whatever JSON.parse refuses has an error, and is refused at its end or at a character of it", () => {
  const pieces = fc.array(
    fc.constantFrom("{", "}", "[", "]", '"', ":", ",", "a", "\\", "1", "0", ".", "e", "-", "true", " "),
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      const text = parts.join("");
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      if (!isJson)
        assert.match(goSyntaxError(text), /^(unexpected end of JSON input|invalid character '(\\.|.)' .+)$/s);
    }),
  );
});
