import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Log, messageOf } from "#base";
import { type KeyringEntry, parseDockerConfig } from "./keyring.ts";

/**
 * The node's own registry logins, read anew for every pull: the first `config.json` there is in the kubelet's root, the working
 * directory, `~/.docker` and `/.docker`; where there is none, the first `.dockercfg`.
 */
export function nodeKeyring(rootDir: string, log: Log): () => Promise<readonly KeyringEntry[]> {
  const modern = [rootDir, ".", join(homedir(), ".docker"), "/.docker"].map((directory) =>
    join(directory, "config.json"),
  );
  const legacy = [rootDir, ".", homedir(), "/"].map((directory) => join(directory, ".dockercfg"));
  return async () => {
    for (const [paths, isLegacy] of [
      [modern, false],
      [legacy, true],
    ] as const) {
      for (const path of paths) {
        const text = await readFile(path, "utf8").catch(() => undefined);
        if (text === undefined) continue;
        try {
          return parseDockerConfig(text, isLegacy);
        } catch (error) {
          log.warn({ path, error: messageOf(error) }, "registry logins not usable");
        }
      }
    }
    return [];
  };
}
