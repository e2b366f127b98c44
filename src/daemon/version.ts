import { readFileSync } from "node:fs";

/** Of package.json, which stands two levels above both src/daemon and dist/daemon. */
export const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
