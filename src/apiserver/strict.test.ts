import assert from "node:assert/strict";
import { test } from "node:test";
import { goYamlDuplicates, goYamlError } from "#k8s";
import { duplicateFields, strictProblems } from "./strict.ts";

test("what is odd in a text comes in its order, each thing once", () => {
  const text = `{"odd":1,"metadata":{"name":"x","labels":{"a":"1","a":"2"},"name":"y"},
    "spec":{"x":{"a":1,"a":2},"containers":[{"name":"c","z":1,"image":"b","image":"d","image":"e"}],"x":1}}`;
  assert.deepEqual(strictProblems(text, "v1.Pod"), [
    'unknown field "odd"',
    'duplicate field "metadata.labels.a"',
    'duplicate field "metadata.name"',
    'unknown field "spec.x"',
    'unknown field "spec.containers[0].z"',
    'duplicate field "spec.containers[0].image"',
  ]);
  assert.deepEqual(duplicateFields('[{"a":{"b":1,"b":2},"c":"\\"","c":[]}]'), ["[0].a.b", "[0].c"]);
});

test("of many odd things a hundred are told", () => {
  const members = Array.from({ length: 150 }, (_, i) => `"x${i}":1`);
  assert.equal(strictProblems(`{${members.join(",")}}`, "v1.Pod").length, 100);
});

test("bad YAML is told of in go-yaml's words, which counts lines in two ways", () => {
  assert.equal(goYamlError("a: b: c"), "yaml: mapping values are not allowed in this context");
  assert.equal(goYamlError("x: 1\ny:\n\t- b"), "yaml: line 3: found character that cannot start any token");
  assert.equal(goYamlError("x: 1\na: [1, 2"), "yaml: line 1: did not find expected ',' or ']'");
});

test("keys that are twice in YAML are told of in one error", () => {
  const text = 'a: 1\nb:\n  "c d": 1\n  "c d": 2\na: 3\n';
  assert.deepEqual(goYamlDuplicates(text), [
    'yaml: unmarshal errors:\n  line 4: key "c d" already set in map\n  line 5: key "a" already set in map',
  ]);
  assert.deepEqual(goYamlDuplicates("a: 1"), []);
});
