import { chmod, chown, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { randomBytes } from "node:crypto";

export interface PayloadFile {
  readonly data: Buffer;
  readonly mode: number;
}

/** Relative path → file, of a volume whose content the API gives. */
export type Payload = ReadonlyMap<string, PayloadFile>;

export interface Ownership {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

const DATA = "..data";

/**
 * Makes `directory` hold exactly these files. Readers see the old set or the new one, never a mix: the files lie in a fresh
 * hidden directory, `..data` points to it, and each top-level name is a link through `..data`, as kubelets have it.
 */
export async function writePayload(directory: string, payload: Payload, owner: Ownership = {}): Promise<void> {
  const old = await readlink(join(directory, DATA)).catch(() => undefined);
  if (old !== undefined && (await isSame(join(directory, old), payload))) return;

  const fresh = `..${new Date().toISOString().replace(/[-:T]/g, "_").replace("Z", "")}.${randomBytes(4).toString("hex")}`;
  await mkdir(join(directory, fresh), { mode: 0o755 });
  for (const [path, { data, mode }] of payload) {
    const target = join(directory, fresh, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, data);
    if (owner.uid !== undefined || owner.gid !== undefined) await chown(target, owner.uid ?? 0, owner.gid ?? 0);
    await chmod(target, owner.gid === undefined ? mode : mode | ((mode & 0o600) >> 3));
  }
  await chmod(join(directory, fresh), 0o755);

  const pointer = join(directory, "..data_tmp");
  await rm(pointer, { force: true });
  await symlink(fresh, pointer);
  await rename(pointer, join(directory, DATA));

  const wanted = new Set([...payload.keys()].map((path) => path.split("/")[0] ?? path));
  for (const name of await readdir(directory)) {
    if (name.startsWith("..")) continue;
    if (!wanted.delete(name)) await rm(join(directory, name), { force: true, recursive: true });
  }
  for (const name of wanted) await symlink(join(DATA, name), join(directory, name));
  if (old !== undefined) await rm(join(directory, old), { recursive: true, force: true });
}

async function isSame(directory: string, payload: Payload): Promise<boolean> {
  const here = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  if (here.filter((entry) => entry.isFile()).length !== payload.size) return false;
  for (const [path, { data }] of payload) {
    const known = await readFile(join(directory, path)).catch(() => undefined);
    if (!known?.equals(data)) return false;
  }
  return true;
}
