import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "#base";
import { parseReference } from "#oci";
import type { AuthInit } from "./cri.ts";

/** One login for a pull, and the Secret it is from; without one it is the node's own, and every Pod of the node may use it. */
export interface PullCredential {
  readonly auth: AuthInit;
  readonly secret?: SecretCoordinates | undefined;
}

interface SecretCoordinates {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export type VerificationPolicy =
  "NeverVerify" | "NeverVerifyPreloadedImages" | "NeverVerifyAllowlistedImages" | "AlwaysVerify";

/**
 * Who may use an image that is already here: every Pod where it came without a Pod's secret, else the Pods that have one that once
 * brought it (KEP-2535). Kept on disk as `<root>/image_manager/{pulling,pulled}`.
 */
export interface PullRecords {
  /** True: this Pod must show by a pull of its own that it may have the image. */
  mustPull(imageId: string, reference: string, credentials: () => Promise<readonly PullCredential[]>): Promise<boolean>;
  /** Notes before a pull that what appears from now on may need a secret. */
  begin(reference: string): Promise<void>;
  /** Notes after it which login, or none, has brought the image. */
  end(imageId: string, reference: string, credential: PullCredential | undefined): Promise<void>;
  /** The pull brought nothing. */
  fail(reference: string): Promise<void>;
  forget(imageId: string): Promise<void>;
}

interface Record {
  readonly imageRef: string;
  /** By `registry/repository`. */
  readonly credentialMapping?: { readonly [image: string]: Access };
}

interface Access {
  readonly nodePodsAccessible?: boolean;
  readonly kubernetesSecrets?: readonly (SecretCoordinates & { readonly credentialHash: string })[];
}

export interface PullRecordOptions {
  readonly directory: string;
  readonly policy: VerificationPolicy;
  /** `registry/repository`, or a prefix that ends in `/*`, for NeverVerifyAllowlistedImages. */
  readonly allowlist: readonly string[];
}

export async function openPullRecords({ directory, policy, allowlist }: PullRecordOptions): Promise<PullRecords> {
  const pulling = join(directory, "pulling");
  const pulled = join(directory, "pulled");
  for (const path of [pulling, pulled]) await mkdir(path, { recursive: true, mode: 0o700 });
  let queue: Promise<unknown> = Promise.resolve();
  // Two pulls of one image end at once, and each must find what the other noted.
  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  };

  const preloadedNeedsProof = async (name: string): Promise<boolean> => {
    if (await readJson(join(pulling, fileOf(name)))) return true;
    if (policy === "AlwaysVerify") return true;
    return policy === "NeverVerifyAllowlistedImages" && !allowlist.some((pattern) => listed(pattern, name));
  };

  return {
    async mustPull(imageId, reference, credentials) {
      if (policy === "NeverVerify") return false;
      const name = nameOf(reference);
      const record = await readJson<Record>(join(pulled, fileOf(imageId)));
      if (!record) return await preloadedNeedsProof(name);
      const access = record.credentialMapping?.[name];
      if (access?.nodePodsAccessible) return false;
      const known = access?.kubernetesSecrets ?? [];
      if (known.length === 0) return true;
      return !(await credentials()).some(({ auth, secret }) =>
        known.some((one) => one.credentialHash === hashOf(auth) || (secret !== undefined && isSame(one, secret))),
      );
    },
    begin: (reference) => writeJson(join(pulling, fileOf(nameOf(reference))), { image: nameOf(reference) }),
    end: (imageId, reference, credential) =>
      inOrder(async () => {
        const name = nameOf(reference);
        const path = join(pulled, fileOf(imageId));
        const old = await readJson<Record>(path);
        const access = old?.credentialMapping?.[name] ?? {};
        await writeJson(path, {
          imageRef: imageId,
          credentialMapping: { ...old?.credentialMapping, [name]: withCredential(access, credential) },
        });
        await rm(join(pulling, fileOf(name)), { force: true });
      }),
    fail: (reference) => rm(join(pulling, fileOf(nameOf(reference))), { force: true }),
    forget: (imageId) => rm(join(pulled, fileOf(imageId)), { force: true }),
  };
}

function withCredential(access: Access, credential: PullCredential | undefined): Access {
  if (!credential?.secret) return { nodePodsAccessible: true };
  const { secret, auth } = credential;
  const others = (access.kubernetesSecrets ?? []).filter((one) => !isSame(one, secret));
  return { ...access, kubernetesSecrets: [...others, { ...secret, credentialHash: hashOf(auth) }] };
}

const isSame = (a: SecretCoordinates, b: SecretCoordinates): boolean =>
  a.uid === b.uid && a.namespace === b.namespace && a.name === b.name;

const fileOf = (key: string): string => `sha256-${createHash("sha256").update(key).digest("hex")}`;

/** Only its hash is kept, never the login itself. */
const hashOf = ({ username, password, auth, identityToken, registryToken }: AuthInit): string =>
  createHash("sha256")
    .update(JSON.stringify([username, password, auth, identityToken, registryToken]))
    .digest("hex");

function nameOf(reference: string): string {
  const { registry, repository } = parseReference(reference);
  return `${registry}/${repository}`;
}

const listed = (pattern: string, name: string): boolean =>
  pattern.endsWith("/*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    // A record that was cut short grants nothing: the Pod has to pull.
    if (error instanceof SyntaxError) return {} as T;
    throw error;
  }
}

async function writeJson(path: string, value: object): Promise<void> {
  const temporary = `${path}.${process.hrtime.bigint()}.tmp`;
  await writeFile(temporary, JSON.stringify(value), { mode: 0o600 });
  await rename(temporary, path);
}
