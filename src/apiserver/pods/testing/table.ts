import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, type Pod, type PodSpec } from "#k8s";
import { FieldErrors } from "../../field-errors.ts";
import { defaultPod } from "../defaults.ts";
import { validatePod } from "../validate-spec.ts";

export const RULES = { imageSubPath: true, isPod: true };

/** A spec that need not be one. */
export type Loose = { [K in keyof PodSpec]?: unknown };

/** A Pod as the server reads it, with defaults, and one container named `c` unless the spec says otherwise. */
export function pod(spec: Loose, container: object = {}, metadata: object = {}): Pod {
  const given = {
    metadata: { name: "p", namespace: "default", ...metadata },
    spec: { containers: [{ name: "c", image: "b:1", ...container }], ...spec },
  };
  const made = decode(given, "v1.Pod").value as Pod;
  defaultPod(made, { imageVolume: true });
  return made;
}

/** What is found, as `field: message`. */
export function collect(check: (errors: FieldErrors) => void): string[] {
  const errors = new FieldErrors();
  check(errors);
  return errors.causes.map(({ field, message }) => `${field}: ${message}`);
}

export type Row = readonly [title: string, pod: Pod, expected: readonly string[]];

/** One test for each row: what is wrong with a new Pod. Each expectation is what upstream's validation.go 1.36 says. */
export function table(rows: readonly Row[]): void {
  for (const [title, object, expected] of rows)
    void test(`validation: ${title}`, () =>
      assert.deepEqual(
        collect((errors) => validatePod(object, RULES, errors)),
        expected,
      ));
}
