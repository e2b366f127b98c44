import { Failure } from "#base";

/** A name that may not be used. `where` says whose it is: a blob's digest. */
export function unsafe(path: string, why: string, where: string): Failure {
  return new Failure("INVALID_ARGUMENT", "UNSAFE_PATH", `${quoted(path)} in ${where} is refused: ${why}`);
}

/** A tar that can be read but says something impossible. */
export function invalid(path: string, why: string, where: string): Failure {
  return new Failure("INVALID_ARGUMENT", "INVALID_LAYER", `${quoted(path)} in ${where} cannot be applied: ${why}`);
}

export function limited(names: number): Failure {
  return new Failure("RESOURCE_EXHAUSTED", "TREE_LIMIT", `the object is refused: it has more than ${names} files`);
}

export function exhausted(): Failure {
  return new Failure(
    "RESOURCE_EXHAUSTED",
    "TREE_LIMIT",
    "the object is refused: its symlinks lead round too many corners",
  );
}

/** For a message: on one line, and not longer than a person reads. */
export function quoted(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
}
