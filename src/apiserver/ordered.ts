import type { Stored } from "./storage.ts";

/** The objects of a resource, kept in the order in which lists show them: that of `<namespace>/<name>`. */
export class Ordered {
  #keys: string[] = [];
  #values: Stored[] = [];
  #byKey = new Map<string, Stored>();

  copy(): Ordered {
    const copy = new Ordered();
    copy.#keys = [...this.#keys];
    copy.#values = [...this.#values];
    copy.#byKey = new Map(this.#byKey);
    return copy;
  }

  get(namespace: string, name: string): Stored | undefined {
    return this.#byKey.get(keyOf(namespace, name));
  }

  set(stored: Stored): void {
    const key = keyOf(stored.namespace, stored.name);
    const at = this.#find(key);
    const known = this.#byKey.has(key) ? 1 : 0;
    this.#byKey.set(key, stored);
    this.#values.splice(at, known, stored);
    if (known === 0) this.#keys.splice(at, 0, key);
  }

  delete(namespace: string, name: string): void {
    const key = keyOf(namespace, name);
    if (!this.#byKey.delete(key)) return;
    const at = this.#find(key);
    this.#keys.splice(at, 1);
    this.#values.splice(at, 1);
  }

  /** A copy of them all, or of those of one namespace. */
  list(namespace: string): Stored[] {
    if (namespace === "") return [...this.#values];
    // "0" comes right after "/".
    return this.#values.slice(this.#find(`${namespace}/`), this.#find(`${namespace}0`));
  }

  /** Where the first key is that is not before this one. */
  #find(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`;
