import { Buffer } from "node:buffer";
import { Failure, bytesOf } from "#base";
import type { Directory, FileTree, Node } from "#tree";
import { NAME_LIMIT } from "./format.ts";
import { Numbers } from "./numbers.ts";

/** A name at or above U+D800 in it sorts elsewhere by UTF-16 units than by bytes, or is no UTF-8. */
const ODD = /[\ud800-\uffff]/;
const FORBIDDEN = /[/\0]/;

/**
 * Every inode of a tree once, parents before children, and the entries of every directory in the order of their bytes. Numbers
 * instead of objects, since there may be a million of them.
 */
export class Walk {
  /** The root is the first. */
  readonly nodes: Node[] = [];
  /** Per node: directory entries that lead to it (for a directory: Unix's count, with `.` and the `..` of its children). */
  readonly links = new Numbers();
  /** Per node: its first entry in {@link children}; a directory's entries end where the next directory's begin. */
  readonly firstEntry = new Numbers();
  readonly entryCount = new Numbers();
  /** Per entry: the node it leads to. */
  readonly children = new Numbers();
  /** Per entry: where its name begins in {@link names}; it ends where the next begins. */
  readonly nameStarts = new Numbers();
  /** All names in one piece, in {@link nameStarts}. */
  names = Buffer.allocUnsafe(1 << 16);

  readonly #parents = new Numbers();
  readonly #namedBy = new Numbers();
  readonly #index = new Map<Node, number>();

  constructor(tree: FileTree) {
    this.nameStarts.push(0);
    this.#add(tree.root, 0, 0);
    for (let i = 0; i < this.nodes.length; i++) {
      const node = this.nodes[i];
      this.firstEntry.push(this.children.length);
      if (node?.kind === "directory") this.#enter(node, i);
      this.entryCount.push(this.children.length - this.firstEntry.at(i));
    }
  }

  nameLength(entry: number): number {
    return this.nameStarts.at(entry + 1) - this.nameStarts.at(entry);
  }

  /** The path of a node from the root, for messages: `/usr/bin/env`. */
  path(index: number): string {
    const parts: string[] = [];
    for (let at = index; at > 0; at = this.#parents.at(at)) {
      const entry = this.#namedBy.at(at);
      parts.unshift(this.names.toString("utf8", this.nameStarts.at(entry), this.nameStarts.at(entry + 1)));
    }
    return `/${parts.join("/")}`;
  }

  #enter(directory: Directory, index: number): void {
    const names = [".", "..", ...directory.entries.keys()];
    if (names.some((name) => ODD.test(name))) sortByBytes(names);
    else names.sort();
    for (const name of names) {
      const entry = this.children.length;
      this.#write(name);
      if (name === "." || name === "..") {
        if (directory.entries.has(name)) throw this.#invalid(index, name, "no entry may have this name");
        this.children.push(name === "." ? index : this.#parents.at(index));
        continue;
      }
      const node = directory.entries.get(name);
      const length = this.nameLength(entry);
      if (node === undefined || length === 0 || FORBIDDEN.test(name))
        throw this.#invalid(index, name, "no entry may have this name");
      if (length > NAME_LIMIT)
        throw this.#invalid(index, name, `the name has ${length} bytes, and Linux takes ${NAME_LIMIT}`);
      const known = this.#index.get(node);
      if (known !== undefined && node.kind === "directory")
        throw this.#invalid(index, name, "the directory is in the tree twice");
      if (known !== undefined) this.links.increase(known);
      this.children.push(known ?? this.#add(node, index, entry));
      if (node.kind === "directory") this.links.increase(index);
    }
  }

  #add(node: Node, parent: number, entry: number): number {
    const index = this.nodes.push(node) - 1;
    this.#index.set(node, index);
    this.links.push(node.kind === "directory" ? 2 : 1);
    this.#parents.push(parent);
    this.#namedBy.push(entry);
    return index;
  }

  #write(name: string): void {
    const start = this.nameStarts.at(this.nameStarts.length - 1);
    if (start + 3 * name.length > this.names.length)
      this.names = Buffer.concat([this.names], Math.max(2 * this.names.length, start + 3 * name.length));
    const length = name.isWellFormed() ? this.names.write(name, start) : this.#writeBytes(bytesOf(name), start);
    this.nameStarts.push(start + length);
  }

  #writeBytes(bytes: Uint8Array, start: number): number {
    this.names.set(bytes, start);
    return bytes.length;
  }

  #invalid(directory: number, name: string, why: string): Failure {
    const at = this.path(directory);
    const text = name.length > 40 ? `${name.slice(0, 40)}…` : name;
    return new Failure("INVALID_ARGUMENT", "INVALID_TREE", `${JSON.stringify(text)} in the directory ${at}: ${why}`);
  }
}

function sortByBytes(names: string[]): void {
  const keys = new Map(names.map((name) => [name, bytesOf(name)]));
  const none = Buffer.alloc(0);
  names.sort((a, b) => Buffer.compare(keys.get(a) ?? none, keys.get(b) ?? none));
}
