import { Failure } from "#base";
import type { Manifest } from "#oci";

/**
 * The config as a JSON object; nothing at all counts as `{}`.
 *
 * @throws Failure INVALID_CONFIG naming the digest.
 */
export function parseConfig(manifest: Manifest, config: Uint8Array): Readonly<Record<string, unknown>> {
  if (config.length === 0) return {};
  let json: unknown;
  let cause: unknown;
  try {
    json = JSON.parse(Buffer.from(config).toString("utf8"));
  } catch (error) {
    cause = error;
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  const what = `config ${manifest.config.digest} (${manifest.config.mediaType}) is not a JSON object`;
  throw new Failure("INVALID_ARGUMENT", "INVALID_CONFIG", what, { cause });
}
