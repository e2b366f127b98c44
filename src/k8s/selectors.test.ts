import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFieldSelector, parseLabelSelector } from "#k8s";

test("label selectors match as kubectl's do", () => {
  const labels = { app: "a", tier: "web", "x.y/z": "", n: "5" };
  const yes = [
    "",
    "app=a",
    "app==a,tier=web",
    "app in (b, a)",
    "app notin (b),tier",
    "!gone",
    "x.y/z=",
    "gone!=1",
    "n>4",
    "n<6",
  ];
  const no = ["app=b", "app!=a", "!app", "gone", "app notin (a)", "tier in (x)", "n>5"];
  for (const text of yes) assert.ok(parseLabelSelector(text)(labels), text);
  for (const text of no) assert.ok(!parseLabelSelector(text)(labels), text);
});

test("a label selector that cannot be read says what was found", () => {
  assert.throws(() => parseLabelSelector("=="), { message: "found '==', expected: !, identifier, or 'end of string'" });
  const requirement = (why: string): string => `unable to parse requirement: ${why}`;
  const name = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric";
  const said: readonly (readonly [text: string, message: string | RegExp])[] = [
    ["a in", requirement("found '' expected: '('")],
    ["a in (", requirement("found '', expected: ',', ')' or identifier")],
    ["a in (b c)", requirement("found 'c', expected: ',' or ')'")],
    ["a in (b,=)", requirement("found '=', expected: ',', or identifier")],
    ["a=b c", "found 'c', expected: ',' or 'end of string'"],
    ["a,,b", "found ',', expected: identifier after ','"],
    ["a,", "found '', expected: identifier after ','"],
    ["a b", requirement("found 'b', expected: in, notin, =, ==, !=, gt, lt")],
    ["a=(", requirement("found '(', expected: identifier")],
    ["!", requirement("found '', expected: identifier")],
    ["!a=b", "found '=', expected: ',' or 'end of string'"],
    ["a>x", requirement("values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer")],
    [
      "a=-x",
      /^unable to parse requirement: values\[0\]\[a\]: Invalid value: "-x": a valid label must be an empty string or/,
    ],
    ["a in (c,-b)", /: values\[0\]\[a\]: Invalid value: "-b": a valid/],
    ["-a", new RegExp(`^unable to parse requirement: <nil>: Invalid value: "-a": name part ${name}`)],
    ["A/b", /: <nil>: Invalid value: "A\/b": prefix part a lowercase RFC 1123 subdomain must consist/],
    ["a/b/c", /: <nil>: Invalid value: "a\/b\/c": a valid label key must .* prefix and '\/'/],
    [`${"x".repeat(64)}=`, /: name part must be no more than 63 bytes$/],
  ];
  for (const [text, message] of said)
    assert.throws(() => parseLabelSelector(text), { reason: "INVALID_SELECTOR", message }, text);
  assert.ok(parseLabelSelector("a in ()")({ a: "" }) && parseLabelSelector("a in (,b)")({ a: "b" }));
  assert.ok(parseLabelSelector("in in (in,notin)")({ in: "notin" }));
  assert.ok(!parseLabelSelector("constructor")({}));
});

test("field selectors are read term by term, with escapes", () => {
  assert.deepEqual(parseFieldSelector("metadata.name=x,status.phase!=Running,a==b\\,c,,"), [
    { field: "a", value: "b,c", equal: true },
    { field: "metadata.name", value: "x", equal: true },
    { field: "status.phase", value: "Running", equal: false },
  ]);
  const said: Readonly<Record<string, string>> = {
    x: "invalid selector: 'x'; can't understand 'x'",
    "a=b=c": "invalid field selector: unescaped character in value: 61",
    "a=\\b": "invalid field selector: invalid escape sequence: \\b",
    "a=b\\": "invalid field selector: invalid escape sequence: \\",
  };
  for (const [text, message] of Object.entries(said)) assert.throws(() => parseFieldSelector(text), { message }, text);
});
