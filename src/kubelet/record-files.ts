import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "#base";

/** Small JSON files in one directory, one per key, in the form and under the names of upstream's image manager. */
export class RecordFiles<T extends object> {
  readonly #directory: string;
  readonly #kind: string;

  /** `kind` as in `ImagePullIntent`. */
  constructor(directory: string, kind: string) {
    this.#directory = directory;
    this.#kind = kind;
  }

  async create(): Promise<this> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    return this;
  }

  /** A file that was cut short says nothing but that it is there: an empty object. */
  read(key: string): Promise<Partial<T> | undefined> {
    return this.#parse(this.#pathOf(key));
  }

  async list(): Promise<Partial<T>[]> {
    const names = (await readdir(this.#directory)).filter((name) => !name.endsWith(".tmp"));
    const all = await Promise.all(names.map((name) => this.#parse(join(this.#directory, name))));
    return all.filter((one) => one !== undefined);
  }

  async write(key: string, value: T): Promise<void> {
    const path = this.#pathOf(key);
    const temporary = `${path}.${process.hrtime.bigint()}.tmp`;
    const head = { kind: this.#kind, apiVersion: "kubelet.config.k8s.io/v1beta1" };
    await writeFile(temporary, JSON.stringify({ ...head, ...value }), { mode: 0o600 });
    await rename(temporary, path);
  }

  remove(key: string): Promise<void> {
    return rm(this.#pathOf(key), { force: true });
  }

  #pathOf(key: string): string {
    return join(this.#directory, `sha256-${createHash("sha256").update(key).digest("hex")}`);
  }

  async #parse(path: string): Promise<Partial<T> | undefined> {
    try {
      return JSON.parse(await readFile(path, "utf8")) as Partial<T>;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      if (error instanceof SyntaxError) return {};
      throw error;
    }
  }
}
