import type { Column } from "./resource.ts";

export const NAME: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description:
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
};

export const AGE: Column = {
  name: "Age",
  type: "string",
  description:
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
};

export const column = (name: string, description = "", priority = 0, type: Column["type"] = "string"): Column => ({
  name,
  type,
  description,
  priority,
});

/** How long ago, as kubectl writes it. */
export function ageOf(time: string | null | undefined, now: Date): string {
  if (time == null || time === "") return "<unknown>";
  return duration((now.getTime() - Date.parse(time)) / 1000);
}

/** Seconds as at most two units: `5s`, `2m5s`, `3h4m`, `2d3h`, `5y20d`. */
export function duration(total: number): string {
  const seconds = Math.trunc(total);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(seconds / 60);
  const two = (a: number, unit: string, b: number, small: string): string =>
    b === 0 ? `${a}${unit}` : `${a}${unit}${b}${small}`;
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(minutes / 60);
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (hours < 192) return two(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  const years = Math.trunc(days / 365);
  if (days < 365 * 8) return two(years, "y", days % 365, "d");
  return `${years}y`;
}
