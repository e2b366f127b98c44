import { arch } from "node:process";

/** The Kubernetes whose behaviour this server has. */
export const KUBERNETES = "1.36.2";

/** `--emulated-version`: the minor version whose rules hold. */
export function minorOf(emulated: string | undefined): number {
  const match = /^v?1\.(\d+)(?:\.\d+)?$/.exec(emulated ?? KUBERNETES);
  return match === null ? Number.NaN : Number(match[1]);
}

/** The body of `/version`. */
export function versionInfo(emulated: string | undefined): object {
  const minor = minorOf(emulated);
  const own = String(minorOf(undefined));
  const version = String(minor) === own ? `v${KUBERNETES}` : `v1.${minor}.0`;
  return {
    major: "1",
    minor: String(minor),
    emulationMajor: "1",
    emulationMinor: String(minor),
    minCompatibilityMajor: "1",
    minCompatibilityMinor: String(minor - 1),
    gitVersion: `${version}+orlop`,
    gitCommit: "0000000000000000000000000000000000000000",
    gitTreeState: "clean",
    buildDate: "2026-06-01T00:00:00Z",
    goVersion: "",
    compiler: "node",
    platform: `linux/${arch === "x64" ? "amd64" : arch}`,
  };
}
