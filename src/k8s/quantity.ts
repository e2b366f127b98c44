import { Failure } from "#base";

/**
 * A resource quantity, exactly: `nano` is its value times 10⁹, rounded up. `format` says how it was written, which decides
 * how it is written again. https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
export interface Quantity {
  readonly nano: bigint;
  readonly format: "binary" | "decimal" | "exponent";
}

const NANO = 1_000_000_000n;
const SYNTAX = /^([+-]?)(\d+\.?\d*|\.\d+)((?:[KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?$/;
const BINARY: Readonly<Record<string, bigint>> = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n };
const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };

/** What has the letters of a suffix, but none that there is. */
const SUFFIXED = /^[+-]?\d*(?:\.\d*)?[eEinumkKMGTP]+[-+]?\d*$/;
const NO_SUFFIX = "unable to parse quantity's suffix";
const NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/** Throws Failure `INVALID_QUANTITY`. */
export function parseQuantity(text: string): Quantity {
  const match = SYNTAX.exec(text);
  if (match === null)
    throw new Failure("INVALID_ARGUMENT", "INVALID_QUANTITY", SUFFIXED.test(text) ? NO_SUFFIX : NO_QUANTITY);
  const [, sign, digits = "", suffix = ""] = match;
  const [whole = "", fraction = ""] = digits.split(".");
  const mantissa = BigInt(whole + fraction || "0");
  const shift = BINARY[suffix];
  const exponent = shift === undefined ? (DECIMAL[suffix] ?? Number(suffix.slice(1))) : 0;
  if (Math.abs(exponent) > 100) throw new Failure("INVALID_ARGUMENT", "INVALID_QUANTITY", "exponent out of range");
  const power = exponent + 9 - fraction.length;
  const scaled = shift === undefined ? mantissa : mantissa << shift;
  const magnitude = power >= 0 ? scaled * 10n ** BigInt(power) : ceilDiv(scaled, 10n ** BigInt(-power));
  return {
    nano: sign === "-" ? -magnitude : magnitude,
    format: shift !== undefined ? "binary" : /^[eE]/.test(suffix) && suffix.length > 1 ? "exponent" : "decimal",
  };
}

/** The canonical form: no fraction, the largest suffix that keeps it whole. */
export function formatQuantity({ nano, format }: Quantity): string {
  if (nano === 0n) return "0";
  const sign = nano < 0n ? "-" : "";
  const size = nano < 0n ? -nano : nano;
  if (format === "binary" && size % NANO === 0n && size >= 1024n * NANO) {
    let value = size / NANO;
    let suffix = "";
    for (const unit of ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
      if (value % 1024n !== 0n) break;
      value /= 1024n;
      suffix = unit;
    }
    return `${sign}${value}${suffix}`;
  }
  let value = size;
  let exponent = -9;
  while (value % 1000n === 0n && exponent < 18) {
    value /= 1000n;
    exponent += 3;
  }
  if (format === "exponent") return `${sign}${value}${exponent === 0 ? "" : `e${exponent}`}`;
  const suffix = Object.entries(DECIMAL).find(([, power]) => power === exponent)?.[0] ?? "";
  return `${sign}${value}${suffix}`;
}

/** The text of a quantity as the API server writes it. */
export function canonicalQuantity(text: string): string {
  return formatQuantity(parseQuantity(text));
}

/** The value in whole units (bytes), rounded up. */
export function quantityValue(text: string): number {
  return Number(ceilDiv(parseQuantity(text).nano, NANO));
}

/** The value in thousandths (millicores), rounded up. */
export function quantityMilli(text: string): number {
  return Number(ceilDiv(parseQuantity(text).nano, 1_000_000n));
}

function ceilDiv(value: bigint, by: bigint): bigint {
  return value >= 0n ? (value + by - 1n) / by : -(-value / by);
}
