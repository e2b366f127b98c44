import { createHash } from "node:crypto";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errnoOf, isFailure, type CallOptions } from "#base";
import type { Engine, StoredObject } from "#engine";
import type { cri } from "#wire";
import { OneAtATime } from "./one-at-a-time.ts";

/** What a container asked for, kept beside its mount so that its status can say so for as long as the sandbox lives. */
interface Asked {
  readonly image: string;
  readonly userSpecifiedImage: string;
  readonly imageRef: string;
  readonly runtimeHandler: string;
  readonly subPath: string;
  readonly readonly: boolean;
}

export interface SandboxVolume {
  readonly sandbox: string;
  readonly object: StoredObject;
  readonly exec: boolean;
  readonly mount: cri.Mount;
}

/** The volumes of sandboxes: `<dir>/<sandbox id>/<short id>` is the mount, and `<short id>.json` beside it what was asked for. */
export class SandboxVolumes {
  readonly #engine: Engine;
  readonly #dir: string;
  readonly #sandboxes = new OneAtATime();

  constructor(engine: Engine, dir: string) {
    this.#engine = engine;
    this.#dir = dir;
  }

  /** Mounts it, or finds it mounted for a container of the same sandbox. Returns where. */
  publish(volume: SandboxVolume, call: CallOptions = {}): Promise<string> {
    return this.#sandboxes.run(volume.sandbox, () => this.#publish(volume, call));
  }

  async #publish({ sandbox, object, exec, mount }: SandboxVolume, call: CallOptions): Promise<string> {
    call.signal?.throwIfAborted();
    const subPath = mount.imageSubPath;
    const asked: Asked = {
      image: mount.image?.image ?? "",
      userSpecifiedImage: mount.image?.userSpecifiedImage ?? "",
      imageRef: mount.image?.imageRef ?? "",
      runtimeHandler: mount.image?.runtimeHandler ?? "",
      subPath,
      readonly: mount.readonly,
    };
    const id = createHash("sha256")
      .update(JSON.stringify([object.digest, exec, asked]))
      .digest("hex")
      .slice(0, 16);
    const target = join(this.#dir, sandbox, id);
    mkdirSync(join(this.#dir, sandbox), { recursive: true, mode: 0o711 });
    if (!statSync(target, { throwIfNoEntry: false })) mkdirSync(target);
    const request = { owner: sandbox, digest: object.digest, target, exec, ...(subPath === "" ? {} : { subPath }) };
    try {
      await this.#engine.publish(request, call).catch(async (error: unknown) => {
        // The sub path is a file, and a file is mounted on a file.
        if (!isFailure(error, "TARGET_WRONG_KIND")) throw error;
        rmdirSync(target);
        writeFileSync(target, "");
        await this.#engine.publish(request, call);
      });
    } catch (error) {
      removeTarget(target);
      throw error;
    }
    writeFileSync(`${target}.new`, JSON.stringify(asked));
    renameSync(`${target}.new`, `${target}.json`);
    return target;
  }

  /** A container's mount as it was asked for, where it is one of ours; else undefined. */
  asked(mount: cri.Mount): Asked | undefined {
    if (!mount.hostPath.startsWith(`${this.#dir}/`)) return undefined;
    try {
      return JSON.parse(readFileSync(`${mount.hostPath}.json`, "utf8")) as Asked;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Unmounts all volumes of a sandbox. None is a success. */
  remove(sandbox: string): Promise<void> {
    return this.#sandboxes.run(sandbox, () => this.#remove(sandbox));
  }

  async #remove(sandbox: string): Promise<void> {
    await this.#engine.unpublish(sandbox);
    const dir = join(this.#dir, sandbox);
    for (const name of namesIn(dir)) {
      if (name.endsWith(".json") || name.endsWith(".new")) rmSync(join(dir, name), { force: true });
      else removeTarget(join(dir, name));
    }
    removeTarget(dir);
  }

  /** Every sandbox that has volumes, mounted or left over. */
  async sandboxes(): Promise<readonly string[]> {
    const published = (await this.#engine.volumes())
      .filter(({ target }) => target.startsWith(`${this.#dir}/`))
      .map(({ owner }) => owner);
    return [...new Set([...published, ...namesIn(this.#dir)])];
  }
}

/** Never recursive: what the engine lost sight of may be mounted there still. It stays, and the sandbox goes all the same. */
function removeTarget(target: string): void {
  try {
    if (statSync(target).isDirectory()) rmdirSync(target);
    else unlinkSync(target);
  } catch (error) {
    if (!["ENOENT", "EBUSY", "ENOTEMPTY"].includes(errnoOf(error) ?? "")) throw error;
  }
}

function namesIn(dir: string): readonly string[] {
  return statSync(dir, { throwIfNoEntry: false }) ? readdirSync(dir) : [];
}
