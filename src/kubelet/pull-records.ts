import { createHash } from "node:crypto";
import { join } from "node:path";
import { timestamp } from "#k8s";
import { formatReference, parseReference } from "#oci";
import { allowsWithoutProof, type VerificationPolicy } from "./allowlist.ts";
import type { AuthInit } from "./cri.ts";
import { RecordFiles } from "./record-files.ts";

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

/** Why a Pod may use an image that is here, or must show by a pull of its own that it may; under upstream's names. */
export type PullCheck = "credentialPolicyAllowed" | "credentialRecordFound" | "mustAuthenticate";

/**
 * Who may use an image that is already here: every Pod where it came without a Pod's secret, else the Pods that have one that once
 * brought it (KEP-2535). Kept on disk as `<root>/image_manager/{pulling,pulled}`, so that it holds over restarts. What a tag
 * stands for may change: records are about images, by their ids, and the names that they were asked for by.
 */
export interface PullRecords {
  check(imageId: string, reference: string, credentials: () => Promise<readonly PullCredential[]>): Promise<PullCheck>;
  /** Notes before a pull that what appears from now on may need a secret. */
  begin(reference: string): Promise<void>;
  /** Notes after it which login, or none, has brought the image. */
  end(imageId: string, reference: string, credential: PullCredential | undefined): Promise<void>;
  /** The pull brought nothing. */
  fail(reference: string): Promise<void>;
  /** Forgets the images that are not among these, unless they came after `since`, in milliseconds. */
  prune(imageIds: ReadonlySet<string>, since: number): Promise<void>;
}

interface Intent {
  readonly image: string;
}

interface PulledRecord {
  readonly lastUpdatedTime: string;
  readonly imageRef: string;
  /** By the name as written, without tag and digest. */
  readonly credentialMapping?: { readonly [name: string]: Access };
}

interface Access {
  readonly nodePodsAccessible?: boolean;
  readonly kubernetesSecrets?: readonly KnownSecret[];
}

type KnownSecret = SecretCoordinates & { readonly credentialHash: string };

export interface PullRecordOptions {
  readonly directory: string;
  readonly policy: VerificationPolicy;
  /** `registry/repository`, or a prefix that ends in `/*`, for NeverVerifyAllowlistedImages. */
  readonly allowlist: readonly string[];
  /** What is here, asked where a pull may have ended without a note of it. */
  readonly images: () => Promise<readonly { readonly id: string; readonly names: readonly string[] }[]>;
  readonly now: () => number;
}

/** A check that finds proof notes it, so that it holds when the Secret changes; up to as many as this for one name. */
const MANY = 100;

/** @throws Failure BAD_ALLOWLIST */
export async function openPullRecords(options: PullRecordOptions): Promise<PullRecords> {
  const { directory, policy, allowlist, images, now } = options;
  const isAllowed = allowsWithoutProof(policy, allowlist);
  const pulling = await new RecordFiles<Intent>(join(directory, "pulling"), "ImagePullIntent").create();
  const pulled = await new RecordFiles<PulledRecord>(join(directory, "pulled"), "ImagePulledRecord").create();
  const running = new Map<string, number>();
  let queue: Promise<unknown> = Promise.resolve();
  // Two pulls of one image end at once, and each must find what the other noted.
  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  };

  const note = async (imageId: string, name: string, change: (access: Access) => Access): Promise<void> => {
    const old = await pulled.read(imageId);
    const access = change(old?.credentialMapping?.[name] ?? {});
    await pulled.write(imageId, {
      lastUpdatedTime: timestamp(now()),
      imageRef: imageId,
      credentialMapping: { ...old?.credentialMapping, [name]: access },
    });
  };

  const leave = async (reference: string): Promise<void> => {
    const left = (running.get(reference) ?? 1) - 1;
    if (left > 0) running.set(reference, left);
    else {
      running.delete(reference);
      await pulling.remove(reference);
    }
  };

  // What came while nobody could note with which login is here, but nobody may use it without proof.
  const unfinished = (await pulling.list()).flatMap(({ image }) => (image === undefined ? [] : [image]));
  const here = unfinished.length > 0 ? await images() : [];
  for (const reference of unfinished) {
    const found = here.find(({ names }) => names.some((name) => isSameName(name, reference)));
    if (!found) continue;
    if (!(await pulled.read(found.id))) await note(found.id, nameOf(reference), (access) => access);
    await pulling.remove(reference);
  }

  return {
    async check(imageId, reference, credentials) {
      const name = nameOf(reference);
      // In this order: a pull that ends between the two is in the second one.
      const isPulling = (await pulling.read(reference)) !== undefined;
      const record = await pulled.read(imageId);
      if (isAllowed(name, isPulling || record !== undefined)) return "credentialPolicyAllowed";
      const access = record?.credentialMapping?.[name];
      if (access?.nodePodsAccessible) return "credentialRecordFound";
      const known = access?.kubernetesSecrets ?? [];
      if (known.length === 0) return "mustAuthenticate";
      for (const { auth, secret } of await credentials()) {
        if (!secret) continue;
        const own = { ...secret, credentialHash: hashOf(auth) };
        const proofs = known.filter((one) => one.credentialHash === own.credentialHash || isSame(one, own));
        if (proofs.length === 0) continue;
        const isNew = !proofs.some((one) => one.credentialHash === own.credentialHash && isSame(one, own));
        if (isNew && known.length < MANY) await inOrder(() => note(imageId, name, (old) => withSecret(old, own)));
        return "credentialRecordFound";
      }
      return "mustAuthenticate";
    },
    begin: (reference) =>
      inOrder(async () => {
        running.set(reference, (running.get(reference) ?? 0) + 1);
        await pulling.write(reference, { image: reference });
      }),
    end: (imageId, reference, credential) =>
      inOrder(async () => {
        const { auth, secret } = credential ?? {};
        await note(imageId, nameOf(reference), (access) =>
          auth && secret
            ? withSecret(access, { ...secret, credentialHash: hashOf(auth) })
            : { nodePodsAccessible: true },
        );
        await leave(reference);
      }),
    fail: (reference) => inOrder(() => leave(reference)),
    prune: (imageIds, since) =>
      inOrder(async () => {
        for (const { imageRef, lastUpdatedTime = "" } of await pulled.list()) {
          // Its time is that of a whole second.
          const isOlder = Date.parse(lastUpdatedTime) + 1000 <= since;
          if (imageRef !== undefined && isOlder && !imageIds.has(imageRef)) await pulled.remove(imageRef);
        }
      }),
  };
}

function withSecret(access: Access, secret: KnownSecret): Access {
  if (access.nodePodsAccessible) return access;
  const others = (access.kubernetesSecrets ?? []).filter((one) => !isSame(one, secret));
  return { ...access, kubernetesSecrets: [...others, secret] };
}

const isSame = (a: SecretCoordinates, b: SecretCoordinates): boolean =>
  a.uid === b.uid && a.namespace === b.namespace && a.name === b.name;

/** Only its hash is kept, never the login itself. */
const hashOf = ({ username, password, auth, identityToken, registryToken }: AuthInit): string =>
  createHash("sha256")
    .update(JSON.stringify([username, password, auth, identityToken, registryToken]))
    .digest("hex");

/** As written, but for tag and digest. */
function nameOf(reference: string): string {
  const [named = ""] = reference.split("@");
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  return colon < 0 ? named : named.slice(0, colon);
}

/** Runtimes tell whole names, and people write short ones. */
function isSameName(name: string, reference: string): boolean {
  try {
    return formatReference(parseReference(name)) === formatReference(parseReference(reference));
  } catch {
    return name === reference;
  }
}
