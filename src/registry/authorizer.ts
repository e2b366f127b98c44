import type { Credentials } from "#oci";
import type { Challenge } from "./challenge.ts";
import { basic, fetchToken, type Send, type Token } from "./token.ts";

export interface AuthorizerOptions {
  /** Tried in order; after them, nobody. */
  readonly candidates: () => Promise<readonly Credentials[]>;
  readonly scopes: readonly string[];
  readonly userAgent: string;
  readonly send: Send;
}

/**
 * The credentials and tokens of one repository at one endpoint. Fifty requests that are refused at one moment cause one
 * token request. Which candidate works is found out once and kept; a token that has run out is got anew with the same.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  #candidates: readonly (Credentials | undefined)[] | undefined;
  #next = 0;
  #refused = 0;
  #using: Credentials | undefined;
  /** The last header handed out has got an answer: a later refusal means that it has run out, not that it is wrong. */
  #isProven = false;
  #challenge: Challenge | undefined;
  #token: Token | undefined;
  #header: string | undefined;
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** How many credentials there were when the server had refused all of them. */
  get refused(): number {
    return this.#refused;
  }

  /** What no message may hold. */
  get secrets(): readonly string[] {
    const given = (this.#candidates ?? []).flatMap((one) => {
      if (one === undefined) return [];
      return "password" in one ? [one.password] : Object.values(one);
    });
    return this.#token === undefined ? given : [...given, this.#token.value];
  }

  get #isStale(): boolean {
    return this.#token !== undefined && Date.now() >= this.#token.staleAt;
  }

  /** The Authorization header for the next request; undefined before the first challenge, and for nobody. */
  async header(isPlain: boolean, signal?: AbortSignal): Promise<string | undefined> {
    if (this.#isStale) await this.#alone(async () => this.#isStale && this.#renew(isPlain, signal));
    return this.#header;
  }

  /** The server took `used`. */
  accepted(used: string | undefined): void {
    if (used !== undefined && used === this.#header) this.#isProven = true;
  }

  /**
   * The server refused `used` (401, or 403 without challenges). True where another header is ready to be tried.
   *
   * @throws Failure where the token server cannot be reached
   */
  async refusedWith(
    used: string | undefined,
    challenges: readonly Challenge[],
    isPlain: boolean,
    signal?: AbortSignal,
  ): Promise<boolean> {
    return this.#alone(async () => {
      if (used !== this.#header) return true;
      this.#challenge =
        challenges.find((one) => one.scheme === "bearer") ??
        challenges.find((one) => one.scheme === "basic") ??
        this.#challenge;
      if (this.#challenge === undefined) return false;
      if (this.#isProven) {
        this.#isProven = false;
        if (this.#token !== undefined && challenges.length > 0 && (await this.#renew(isPlain, signal))) return true;
        if (challenges.length === 0) return false;
        this.#next = 0;
      }
      return this.#advance(isPlain, signal);
    });
  }

  async #advance(isPlain: boolean, signal?: AbortSignal): Promise<boolean> {
    this.#candidates ??= [...(await this.#options.candidates()), undefined];
    while (this.#next < this.#candidates.length) {
      this.#using = this.#candidates[this.#next++];
      if (await this.#renew(isPlain, signal)) return true;
    }
    this.#next = 0;
    this.#refused = this.#candidates.length - 1;
    this.#header = undefined;
    this.#token = undefined;
    return false;
  }

  /** Makes the header anew from the candidate in use; false where it is of no use for this challenge. */
  async #renew(isPlain: boolean, signal?: AbortSignal): Promise<boolean> {
    const using = this.#using;
    this.#token = undefined;
    if (using !== undefined && "registryToken" in using) {
      const header = `Bearer ${using.registryToken}`;
      const isNew = header !== this.#header;
      this.#header = header;
      return isNew;
    }
    if (this.#challenge?.scheme !== "bearer") {
      if (using === undefined || !("username" in using)) return false;
      const header = basic(using);
      const isNew = header !== this.#header;
      this.#header = header;
      return isNew;
    }
    const scopes = mergeScopes([...this.#options.scopes, ...(this.#challenge.parameters["scope"] ?? "").split(" ")]);
    const { send, userAgent } = this.#options;
    this.#token = await fetchToken(this.#challenge, scopes, using, send, { userAgent, isPlain, signal });
    if (this.#token === undefined) return false;
    this.#header = `Bearer ${this.#token.value}`;
    return true;
  }

  /** One after the other, whatever became of the one before. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work, work);
    this.#work = done.catch(() => undefined);
    return done;
  }
}

/** `repository:a:pull` and `repository:a:push,pull` are one: `repository:a:pull,push`. */
export function mergeScopes(scopes: readonly string[]): readonly string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(":");
    if (colon <= 0) continue;
    const name = scope.slice(0, colon);
    const merged = actions.get(name) ?? new Set<string>();
    for (const action of scope.slice(colon + 1).split(",")) merged.add(action);
    actions.set(name, merged);
  }
  return [...actions].map(([name, set]) => `${name}:${[...set].sort().join(",")}`);
}
