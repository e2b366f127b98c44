import { chown, lstat, mkdir, realpath, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { errnoOf, Failure } from "#base";

/**
 * The host path of `subPath` inside a volume's directory. Missing directories are made, as kubelets do, with the owner and
 * mode of the volume.
 *
 * @throws Failure UNSAFE_PATH where it, or a symbolic link on its way, leaves the volume
 */
export async function resolveSubPath(volumePath: string, subPath: string): Promise<string> {
  const parts = subPath.split("/").filter((part) => part !== "" && part !== ".");
  if (subPath.startsWith("/") || parts.includes("..")) throw unsafe(subPath);
  const root = await realpath(volumePath);
  let at = root;
  for (const [i, part] of parts.entries()) {
    const next = join(at, part);
    const found = await realpath(next).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if (found === undefined) {
      // A dangling link would let mkdir reach wherever it points.
      if (
        await lstat(next).then(
          () => true,
          () => false,
        )
      )
        throw unsafe(subPath);
      return await makeDirectories(root, at, parts.slice(i));
    }
    if (found !== root && !found.startsWith(root + sep)) throw unsafe(subPath);
    at = found;
  }
  return at;
}

async function makeDirectories(root: string, from: string, parts: readonly string[]): Promise<string> {
  const { mode, uid, gid } = await stat(root);
  let at = from;
  for (const part of parts) {
    at = join(at, part);
    await mkdir(at, { mode: mode & 0o7777 });
    if (dirname(at) !== at) await chown(at, uid, gid);
  }
  return at;
}

function unsafe(subPath: string): Failure {
  return new Failure("INVALID_ARGUMENT", "UNSAFE_PATH", `subPath ${JSON.stringify(subPath)} is not within the volume`);
}
