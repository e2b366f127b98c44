import "reflect-metadata";
import { createHash, randomBytes, X509Certificate, type webcrypto } from "node:crypto";
import { chmod, link, mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { errnoOf, Failure, messageOf } from "#base";

/** A certificate and its private key, both PEM. The key is PKCS #8, ECDSA P-256. */
export interface Credential {
  readonly cert: string;
  readonly key: string;
}

/**
 * One certificate authority and what it has issued, kept in one directory. What it issues is kept there too, and given
 * again until a third of its life is left: callers that serve for long ask again, daily say, and swap what they hold.
 */
export interface Pki {
  /** The authority's own certificate, PEM: what clients and servers trust. */
  readonly ca: string;
  /** The path of a file that holds {@link ca}, and only it. */
  readonly caFile: string;
  /** For a server that answers at these names and addresses; good as a client's too, as a kubelet needs. */
  serverCertificate(names: {
    readonly dnsNames: readonly string[];
    readonly ips: readonly string[];
  }): Promise<Credential>;
  /** For a user: Kubernetes reads the name from the common name and the groups from the organizations. */
  clientCertificate(user: {
    readonly commonName: string;
    readonly organizations?: readonly string[];
    readonly days?: number;
  }): Promise<Credential>;
}

const EC = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGN = { name: "ECDSA", hash: "SHA-256" } as const;
const DAY = 86_400_000;
/** Clocks differ: a certificate holds a little before it was made. */
const SKEW = 300_000;
const SUBJECT = [{ CN: ["orlop-ca"] }];

/**
 * Opens the authority in `directory`, and makes both where there is none. Several processes may open the same one at
 * once: the first key written wins. An authority whose certificate nears its end gets a new one for the same key, so
 * what it issued stays valid. Fails with BAD_PKI where the files do not hold what they should.
 */
export async function openPki(directory: string): Promise<Pki> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "ca.pem");
  let ca = await load(path);
  if (ca === undefined) {
    const keys = await newKeys();
    await writeOnce(path, pem({ cert: await selfSigned(keys), key: await exportKey(keys.privateKey) }));
    ca = await load(path);
  }
  if (ca === undefined) throw bad(path, "vanished while it was opened");
  if (!lasts(ca)) {
    const signer = await importKeys(ca);
    ca = { cert: await selfSigned(signer), key: ca.key };
    await replace(path, pem(ca), 0o600);
  }
  const caFile = join(directory, "ca.crt");
  if ((await readIfThere(caFile)) !== ca.cert) await replace(caFile, ca.cert, 0o644);

  const authority = ca;
  const { privateKey: signingKey } = await importKeys(authority);
  const root = new X509Certificate(authority.cert);

  /** `what` names the certificate: equal requests get equal files. */
  const issue = async (
    prefix: string,
    what: unknown,
    days: number,
    subject: x509.JsonName,
    extensions: x509.Extension[],
  ): Promise<Credential> => {
    const name = createHash("sha256").update(JSON.stringify(what)).digest("hex").slice(0, 16);
    const file = join(directory, `${prefix}-${name}.pem`);
    const kept = await load(file).catch(() => undefined);
    if (kept !== undefined && lasts(kept) && new X509Certificate(kept.cert).verify(root.publicKey)) return kept;
    const keys = await newKeys();
    const notBefore = new Date(Date.now() - SKEW);
    const cert = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: new x509.X509Certificate(authority.cert).subjectName.toJSON(),
      notBefore,
      notAfter: new Date(Math.min(notBefore.getTime() + days * DAY, root.validToDate.getTime())),
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: SIGN,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        await x509.AuthorityKeyIdentifierExtension.create(new x509.X509Certificate(authority.cert).publicKey),
        ...extensions,
      ],
    });
    const credential = { cert: `${cert.toString("pem")}\n`, key: await exportKey(keys.privateKey) };
    await replace(file, pem(credential), 0o600);
    return credential;
  };

  return {
    ca: authority.cert,
    caFile,
    serverCertificate({ dnsNames, ips }) {
      const names: x509.JsonGeneralNames = [
        ...dnsNames.map((value) => ({ type: "dns" as const, value })),
        ...ips.map((value) => ({ type: "ip" as const, value })),
      ];
      const wrong = ips.find((ip) => isIP(ip) === 0);
      if (wrong !== undefined) throw new Failure("INVALID_ARGUMENT", "BAD_ADDRESS", `not an IP address: ${wrong}`);
      return issue(
        "server",
        { dnsNames, ips },
        365,
        [{ CN: [dnsNames[0] ?? ips[0] ?? "server"] }],
        [
          new x509.SubjectAlternativeNameExtension(names),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        ],
      );
    },
    clientCertificate({ commonName, organizations = [], days = 365 }) {
      const subject = [...organizations.map((name) => ({ O: [name] })), { CN: [commonName] }];
      return issue("client", { commonName, organizations, days }, days, subject, [
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      ]);
    },
  };
}

/** True while more than a third of the certificate's life is ahead. */
function lasts({ cert }: Credential): boolean {
  const { validFromDate: from, validToDate: to } = new X509Certificate(cert);
  return to.getTime() - Date.now() > (to.getTime() - from.getTime()) / 3;
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

async function importKeys({ cert, key }: Credential): Promise<webcrypto.CryptoKeyPair> {
  const [der] = x509.PemConverter.decode(key);
  if (der === undefined) throw new Failure("INTERNAL", "BAD_PKI", "the key of the certificate authority is not PEM");
  const privateKey = await crypto.subtle.importKey("pkcs8", der, EC, false, ["sign"]);
  return { privateKey, publicKey: await new x509.X509Certificate(cert).publicKey.export(EC, ["verify"]) };
}

async function selfSigned(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const notBefore = new Date(Date.now() - SKEW);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: SUBJECT,
    notBefore,
    notAfter: new Date(notBefore.getTime() + 3650 * DAY),
    keys,
    signingAlgorithm: SIGN,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

/** Positive, as RFC 5280 section 4.1.2.2 asks, and not to be guessed. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

function pem({ cert, key }: Credential): string {
  return cert + key;
}

/** A certificate and the key that fits it, from one file; undefined where there is no such file. */
async function load(path: string): Promise<Credential | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const blocks = text.match(/-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----\n?/g) ?? [];
  const cert = blocks.find((block) => block.startsWith("-----BEGIN CERTIFICATE-----"));
  const key = blocks.find((block) => block.startsWith("-----BEGIN PRIVATE KEY-----"));
  if (cert === undefined || key === undefined) throw bad(path, "does not hold a certificate and its key");
  try {
    const { publicKey } = new x509.X509Certificate(cert);
    await importKeys({ cert, key });
    if (publicKey.rawData.byteLength === 0) throw new Error("no public key");
  } catch (error) {
    throw bad(path, `does not parse: ${messageOf(error)}`);
  }
  return { cert, key };
}

async function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
}

/** Writes a file that is whole or absent; one that is already there stays. */
async function writeOnce(path: string, text: string): Promise<void> {
  const temporary = await writeBeside(path, text, 0o600);
  try {
    await link(temporary, path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  } finally {
    await unlink(temporary);
  }
}

async function replace(path: string, text: string, mode: number): Promise<void> {
  await rename(await writeBeside(path, text, mode), path);
}

async function writeBeside(path: string, text: string, mode: number): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  const file = await open(temporary, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(temporary, mode);
  return temporary;
}

function bad(path: string, what: string): Failure {
  return new Failure("FAILED_PRECONDITION", "BAD_PKI", `${path} ${what}; remove it, and a new one is made`);
}
