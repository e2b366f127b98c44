import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  randomBytes,
  type JsonWebKey,
  type KeyObject,
} from "node:crypto";
import { link, mkdir, open, readdir, readFile, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { errnoOf, Failure, messageOf } from "#base";

/** A key that checks tokens. */
export interface TokenKey {
  readonly id: string;
  /** As JSON web signatures name it. */
  readonly algorithm: string;
  readonly digest: string;
  readonly publicKey: KeyObject;
  readonly jwk: JsonWebKey;
}

/** All keys that check tokens, and the one of them that signs. */
export interface TokenKeys {
  readonly signing: TokenKey & { readonly privateKey: KeyObject };
  readonly all: readonly TokenKey[];
}

const MADE = "service-account.key";
/** Private keys (`.key`) and public ones (`.pub`). */
const NAME = /^service-account.*\.(key|pub)$/;
const CURVES: Readonly<Record<string, readonly [algorithm: string, digest: string]>> = {
  prime256v1: ["ES256", "sha256"],
  secp384r1: ["ES384", "sha384"],
  secp521r1: ["ES512", "sha512"],
};

/**
 * The keys of a directory, PEM: those in `service-account*.key` and `service-account*.pub` check tokens, and the private
 * one that was written last signs them. Where there is no private one, one is made. Throws Failure `BAD_PKI`.
 */
export async function tokenKeys(directory: string): Promise<TokenKeys> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  let names = await keyFiles(directory);
  if (!names.some((name) => name.endsWith(".key"))) {
    await makeKey(directory);
    names = await keyFiles(directory);
  }
  const all = new Map<string, TokenKey>();
  let signing: { key: TokenKeys["signing"]; written: number } | undefined;
  for (const name of names) {
    const path = join(directory, name);
    const [pem, { mtimeMs: written }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    try {
      const key = keyOf(createPublicKey(pem));
      all.set(key.id, key);
      if (name.endsWith(".key") && (signing === undefined || written >= signing.written))
        signing = { key: { ...key, privateKey: createPrivateKey(pem) }, written };
    } catch (error) {
      const remedy = "remove it, and a new one is made where none is left";
      const message = `${path} does not hold a key (${messageOf(error)}); ${remedy}`;
      throw new Failure("FAILED_PRECONDITION", "BAD_PKI", message);
    }
  }
  if (signing === undefined)
    throw new Failure("FAILED_PRECONDITION", "BAD_PKI", `${directory} holds no key that signs tokens; start again`);
  return { signing: signing.key, all: [...all.values()] };
}

async function keyFiles(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => NAME.test(name)).sort();
}

function keyOf(publicKey: KeyObject): TokenKey {
  const curve = publicKey.asymmetricKeyDetails?.namedCurve ?? "";
  const kind = publicKey.asymmetricKeyType === "rsa" ? (["RS256", "sha256"] as const) : CURVES[curve];
  if (kind === undefined) throw new Error("it is of another kind than RSA and the curves P-256, P-384 and P-521");
  const [algorithm, digest] = kind;
  const der = publicKey.export({ type: "spki", format: "der" });
  const id = createHash("sha256").update(der).digest("base64url");
  return { id, algorithm, digest, publicKey, jwk: publicKey.export({ format: "jwk" }) };
}

/** The first one written stays, whoever else tries. */
async function makeKey(directory: string): Promise<void> {
  const path = join(directory, MADE);
  const { privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  const file = await open(temporary, "wx", 0o600);
  try {
    await file.writeFile(privateKey.export({ type: "pkcs8", format: "pem" }));
    await file.sync();
    await link(temporary, path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  } finally {
    await file.close();
    await unlink(temporary);
  }
}
