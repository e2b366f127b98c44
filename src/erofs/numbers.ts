/** A growing list of numbers below 2^32, outside the reach of the garbage collector. */
export class Numbers {
  #values = new Uint32Array(1024);
  length = 0;

  push(value: number): number {
    if (this.length === this.#values.length) {
      const more = new Uint32Array(2 * this.length);
      more.set(this.#values);
      this.#values = more;
    }
    this.#values[this.length] = value;
    return this.length++;
  }

  at(index: number): number {
    return this.#values[index] ?? 0;
  }

  increase(index: number): void {
    this.#values[index] = this.at(index) + 1;
  }
}
