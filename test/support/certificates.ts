import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of its own (PEM), and a certificate of it for 127.0.0.1 and `localhost`, for servers and clients. */
export function makeCertificates(): { readonly ca: string; readonly leaf: Pair } {
  const dir = mkdtempSync(join(tmpdir(), "orlop-certificates-"));
  try {
    const at = (name: string): string => join(dir, name);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
      "req",
      "-x509",
      ...key,
      "-keyout",
      at("ca.key"),
      "-out",
      at("ca.pem"),
      "-subj",
      "/CN=orlop test CA",
      "-days",
      "2",
    );
    openssl("req", ...key, "-keyout", at("leaf.key"), "-out", at("leaf.csr"), "-subj", "/CN=localhost");
    writeFileSync(at("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n");
    openssl(
      "x509",
      "-req",
      "-in",
      at("leaf.csr"),
      "-CA",
      at("ca.pem"),
      "-CAkey",
      at("ca.key"),
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      at("ext"),
      "-out",
      at("leaf.pem"),
    );
    const read = (name: string): string => readFileSync(at(name), "utf8");
    return { ca: read("ca.pem"), leaf: { cert: read("leaf.pem"), key: read("leaf.key") } };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function openssl(...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync("openssl", args, { encoding: "utf8" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}
