import { isRecord } from "#k8s";
import type { FieldErrors } from "./field-errors.ts";

const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const label = new RegExp(`^${LABEL}$`);
const subdomain = new RegExp(`^${SUBDOMAIN}$`);
const qualified = new RegExp(`^${QUALIFIED}$`);

const tooLong = (most: number): string => `must be no more than ${most} characters`;
/** Label keys and values count the same, but say it in another word. */
const tooManyBytes = (most: number): string => `must be no more than ${most} bytes`;

/** What is wrong with a DNS label, in upstream's words. */
export function dnsLabelErrors(value: string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(value) > 63) found.push(tooLong(63));
  if (!label.test(value) && subdomain.test(value)) found.push("must not contain dots");
  else if (!label.test(value))
    found.push(
      `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`,
    );
  return found;
}

/** What is wrong with a DNS subdomain, in upstream's words. */
export function dnsSubdomainErrors(value: string): string[] {
  return subdomainErrors(value, tooLong);
}

function subdomainErrors(value: string, overlong: (most: number) => string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(value) > 253) found.push(overlong(253));
  if (!subdomain.test(value))
    found.push(
      `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`,
    );
  return found;
}

const QUALIFIED_WORDS =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/** What is wrong with a label key, an annotation key or another qualified name. */
export function qualifiedNameErrors(value: string): string[] {
  const parts = value.split("/");
  const found: string[] = [];
  const name = parts.at(-1) ?? "";
  if (parts.length > 2)
    return [
      `a valid label key ${QUALIFIED_WORDS} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  if (parts.length === 2) {
    const prefix = parts[0] ?? "";
    if (prefix === "") found.push("prefix part must be non-empty");
    else found.push(...subdomainErrors(prefix, tooManyBytes).map((error) => `prefix part ${error}`));
  }
  if (name === "") found.push("name part must be non-empty");
  else if (Buffer.byteLength(name) > 63) found.push(`name part ${tooManyBytes(63)}`);
  if (!qualified.test(name)) found.push(`name part ${QUALIFIED_WORDS}`);
  return found;
}

export function labelValueErrors(value: string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(value) > 63) found.push(tooManyBytes(63));
  if (value !== "" && !qualified.test(value))
    found.push(
      `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(${QUALIFIED})?')`,
    );
  return found;
}

export function validateLabels(labels: unknown, field: string, errors: FieldErrors): void {
  if (!isRecord(labels)) return;
  for (const [key, value] of Object.entries(labels)) {
    for (const error of qualifiedNameErrors(key)) errors.invalid(field, key, error);
    for (const error of labelValueErrors(String(value))) errors.invalid(field, value, error);
  }
}

/** Names of keys in a ConfigMap or Secret. */
export function configKeyErrors(key: string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(key) > 253) found.push(tooLong(253));
  if (!/^[-._a-zA-Z0-9]+$/.test(key))
    found.push(
      "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    );
  if (key === ".") found.push("must not be '.'");
  else if (key === "..") found.push("must not be '..'");
  else if (key.startsWith("..")) found.push("must not start with '..'");
  return found;
}

const UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const UNDERSCORED_SUBDOMAIN = `${UNDERSCORED}(\\.${UNDERSCORED})*`;
const underscored = new RegExp(`^${UNDERSCORED_SUBDOMAIN}$`);

/** A domain to search in, which other than a Kubernetes name may have underscores. */
export function searchDomainErrors(value: string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(value) > 253) found.push(tooLong(253));
  if (!underscored.test(value))
    found.push(
      `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${UNDERSCORED_SUBDOMAIN}')`,
    );
  return found;
}

/** The name of a port of a container. */
export function portNameErrors(name: string): string[] {
  const found: string[] = [];
  if (Buffer.byteLength(name) > 15) found.push(tooLong(15));
  if (!/^[-a-z0-9]+$/.test(name)) found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(name)) found.push("must contain at least one letter (a-z)");
  if (name.includes("--")) found.push("must not contain consecutive hyphens");
  if (name.startsWith("-") || name.endsWith("-")) found.push("must not begin or end with a hyphen");
  return found;
}

/** The name of an environment variable. */
export function envNameErrors(name: string): string[] {
  if (name === "") return ["environment variable name must be non-empty"];
  return /^[ -<>-~]+$/.test(name)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** The name of a header that a probe sends. */
export function headerNameErrors(name: string): string[] {
  return /^[-A-Za-z0-9]+$/.test(name)
    ? []
    : [
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
      ];
}
