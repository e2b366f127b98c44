import type { Descriptor, Platform } from "./descriptor.ts";
import type { Index } from "./manifest.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", arm64: "arm64", arm: "arm" };

/** The platform of a machine, from Node's `process.arch`. */
export function hostPlatform(arch: string): Platform {
  const architecture = ARCHITECTURES[arch] ?? arch;
  if (architecture === "arm64") return { os: "linux", architecture, variant: "v8" };
  if (architecture === "arm") return { os: "linux", architecture, variant: "v7" };
  return { os: "linux", architecture };
}

/**
 * The manifest of an index that this platform runs: the first of the best matches. An exact variant beats a lower one; an
 * entry without a platform serves everybody, but only when nothing names this one. `unknown/unknown` (attestations) never matches.
 */
export function choosePlatform(index: Index, platform: Platform): Descriptor | undefined {
  let best: Descriptor | undefined;
  let bestScore = 0;
  for (const entry of index.manifests) {
    const score = scoreOf(entry, platform);
    if (score > bestScore) [best, bestScore] = [entry, score];
  }
  return best;
}

export function formatPlatform(platform: Platform): string {
  const variant = platform.variant === undefined ? "" : `/${platform.variant}`;
  return `${platform.os}/${platform.architecture}${variant}`;
}

function scoreOf(entry: Descriptor, host: Platform): number {
  if (entry.annotations?.["vnd.docker.reference.type"] === "attestation-manifest") return 0;
  const { platform } = entry;
  if (platform?.os === undefined || platform.os === "") return 1;
  if (platform.os !== host.os || platform.architecture !== host.architecture) return 0;
  const offered = rank(platform);
  const wanted = rank(host);
  if (offered > wanted) return 0;
  return 100 + offered;
}

/** `v8` → 8; no variant is the architecture's baseline (arm64 is v8, arm is v7, amd64 is v1). */
function rank(platform: Platform): number {
  const variant = Number(platform.variant?.replace(/^v/, ""));
  if (Number.isFinite(variant)) return variant;
  return { arm64: 8, arm: 7 }[platform.architecture] ?? 1;
}
