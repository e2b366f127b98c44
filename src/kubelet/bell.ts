/** Wakes one waiter, now or later. Rings before anybody waits are kept; several are one. */
export class Bell {
  #rung = Promise.withResolvers<void>();
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #stopped = false;

  /** Rings after `delayMs` at the latest; what was to ring sooner still does. */
  ring(delayMs = 0): void {
    if (this.#stopped) return;
    if (delayMs <= 0) {
      clearTimeout(this.#timer);
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.#rung.resolve();
      return;
    }
    const due = performance.now() + delayMs;
    if (due >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = due;
    this.#timer = setTimeout(() => this.ring(), delayMs);
  }

  /** Resolves at the next ring, or when it is stopped. */
  async wait(): Promise<void> {
    await this.#rung.promise;
    if (!this.#stopped) this.#rung = Promise.withResolvers<void>();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#rung.resolve();
  }
}
