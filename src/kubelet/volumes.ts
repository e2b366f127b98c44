import { chmod, chown, lstat, mkdir, readlink, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, Failure, messageOf } from "#base";
import type { Volume } from "#k8s";
import type { Kernel } from "#kernel";
import { type Ownership, writePayload } from "./payload.ts";
import { commonUser, payloadOf, type PayloadContext } from "./payload-sources.ts";
import { specOf, uidOf } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";
import { openSubPath } from "./sub-path.ts";

export interface Volumes {
  /**
   * Makes every volume of the Pod that is no image ready, and refreshes what the API fills. Idempotent.
   *
   * @returns the host path per volume name
   * @throws Failure whose message names the volume, in the words of a `FailedMount` event
   */
  prepare(context: PayloadContext): Promise<ReadonlyMap<string, string>>;
  /**
   * The host path for a container's mount of one directory or file of a volume, made where it is missing. It is bound at `mount`
   * below the Pods' directory, so that it stays what it is however the volume's names change.
   *
   * @throws Failure UNSAFE_PATH where `subPath` leads out of the volume
   */
  subPath(request: { readonly volumePath: string; readonly subPath: string; readonly mount: string }): Promise<string>;
  /** Unmounts what is in memory, and sub paths; the rest stays. */
  unmount(podUid: string): Promise<void>;
  /** Unmounts and deletes everything of the Pod, its emptyDirs included. */
  teardown(podUid: string): Promise<void>;
  podDirectory(podUid: string): string;
}

export interface VolumesOptions {
  /** `<kubelet root>/pods` */
  readonly podsDir: string;
  /** Absent: memory volumes and secrets lie on disk. For tests without privileges. */
  readonly kernel?: Kernel | undefined;
}

const TMPFS = { noExec: false, noSuid: true, noDev: true } as const;

export function createVolumes({ podsDir, kernel }: VolumesOptions): Volumes {
  const podDirectory = (uid: string): string => join(podsDir, uid);

  const mountsBelow = (podUid: string): string[] =>
    (kernel?.mounts() ?? [])
      .map(({ target }) => target)
      .filter((target) => target.startsWith(`${podDirectory(podUid)}/`));

  const mountMemory = (target: string, sizeBytes: number | undefined): void => {
    if (!kernel || kernel.mounts().some((mount) => mount.target === target)) return;
    kernel.mountTmpfs(target, { mode: 0o777, ...(sizeBytes === undefined ? {} : { sizeBytes }) }, TMPFS);
  };

  const prepareOne = async (volume: Volume, context: PayloadContext): Promise<string | undefined> => {
    if (volume.image) return undefined;
    if (volume.hostPath) return await checkHostPath(volume.hostPath.path, volume.hostPath.type ?? "");
    const plugin = pluginOf(volume);
    const directory = volumeDirectory(podDirectory(uidOf(context.pod)), plugin, volume.name);
    const gid = specOf(context.pod).securityContext?.fsGroup;
    if (volume.emptyDir) {
      const { medium = "", sizeLimit } = volume.emptyDir;
      if (medium !== "" && medium !== "Memory")
        throw new Failure("UNIMPLEMENTED", "UNSUPPORTED_VOLUME", `emptyDir medium ${medium} is not supported`);
      if (await exists(directory)) {
        if (medium === "Memory") mountMemory(directory, parseQuantity(sizeLimit));
        return directory;
      }
      await mkdir(directory, { recursive: true, mode: 0o777 });
      if (medium === "Memory") mountMemory(directory, parseQuantity(sizeLimit));
      if (gid !== undefined) await chown(directory, 0, gid);
      await chmod(directory, gid === undefined ? 0o777 : 0o2777);
      return directory;
    }
    const payload = await payloadOf(volume, context);
    if (!payload) throw unsupported(volume);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    if (volume.secret || volume.projected) mountMemory(directory, undefined);
    await chmod(directory, 0o755);
    const owner: Ownership = gid === undefined && volume.projected ? { uid: commonUser(context.pod) } : { gid };
    await writePayload(directory, payload, owner);
    return directory;
  };

  return {
    podDirectory,
    async prepare(context) {
      const paths = new Map<string, string>();
      for (const volume of specOf(context.pod).volumes ?? []) {
        try {
          const path = await prepareOne(volume, context);
          if (path !== undefined) paths.set(volume.name, path);
        } catch (error) {
          throw new Failure(
            "FAILED_PRECONDITION",
            "VOLUME_NOT_READY",
            `MountVolume.SetUp failed for volume ${JSON.stringify(volume.name)} : ${messageOf(error)}`,
            { cause: error },
          );
        }
      }
      return paths;
    },
    async subPath({ volumePath, subPath, mount }) {
      await using found = await openSubPath(volumePath, subPath);
      // Without mounts the path is as good as it was a moment ago.
      if (!kernel) return await readlink(found.path);
      const target = join(podsDir, mount);
      kernel.unmount(target);
      await rm(target, { recursive: true, force: true });
      await mkdir(found.isDirectory ? target : dirname(target), { recursive: true, mode: 0o750 });
      if (!found.isDirectory) await writeFile(target, "");
      kernel.bind(found.path, target, {});
      return target;
    },
    async unmount(podUid) {
      for (const target of mountsBelow(podUid).reverse()) kernel?.unmount(target);
    },
    async teardown(podUid) {
      for (const target of mountsBelow(podUid).reverse()) kernel?.unmount(target);
      const [left] = mountsBelow(podUid);
      // Deleting through a mount would delete what is mounted.
      if (left !== undefined) throw new Failure("FAILED_PRECONDITION", "STILL_MOUNTED", `${left} is still mounted`);
      await rm(podDirectory(podUid), { recursive: true, force: true });
    },
  };
}

const volumeDirectory = (podDirectory: string, plugin: string, name: string): string =>
  join(podDirectory, "volumes", `kubernetes.io~${plugin}`, name);

/** Where the emptyDir of that name lies. */
export const emptyDirectory = (podDirectory: string, name: string): string =>
  volumeDirectory(podDirectory, "empty-dir", name);

function pluginOf(volume: Volume): string {
  if (volume.emptyDir) return "empty-dir";
  if (volume.configMap) return "configmap";
  if (volume.secret) return "secret";
  if (volume.downwardAPI) return "downward-api";
  if (volume.projected) return "projected";
  throw unsupported(volume);
}

function unsupported(volume: Volume): Failure {
  const kinds = Object.keys(volume).filter((key) => key !== "name");
  return new Failure(
    "UNIMPLEMENTED",
    "UNSUPPORTED_VOLUME",
    `no volume plugin matched: this node has no ${kinds.join(", ") || "source-less"} volumes`,
  );
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

async function checkHostPath(path: string, type: string): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw error;
  });
  const refuse = (what: string): never => {
    throw new Failure("FAILED_PRECONDITION", "HOST_PATH", `hostPath type check failed: ${path} is not ${what}`);
  };
  switch (type) {
    case "":
      return path;
    case "DirectoryOrCreate":
      if (!found) await mkdir(path, { recursive: true, mode: 0o755 });
      else if (!found.isDirectory()) refuse("a directory");
      return path;
    case "FileOrCreate":
      if (!found) await writeFile(path, "", { mode: 0o644, flag: "a" });
      else if (!found.isFile()) refuse("a file");
      return path;
    case "Directory":
      return found?.isDirectory() ? path : refuse("a directory");
    case "File":
      return found?.isFile() ? path : refuse("a file");
    case "Socket":
      return found?.isSocket() ? path : refuse("a socket file");
    case "CharDevice":
      return found?.isCharacterDevice() ? path : refuse("a character device");
    case "BlockDevice":
      return found?.isBlockDevice() ? path : refuse("a block device");
    default:
      throw new Failure("INVALID_ARGUMENT", "HOST_PATH", `${JSON.stringify(type)} is an invalid volume type`);
  }
}
