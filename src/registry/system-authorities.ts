import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";

/** Where distributions keep their authorities in one file: Debian, Fedora, openSUSE, Alpine. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * The authorities that this machine trusts (PEM), as other container tools see them: what an administrator adds or removes
 * counts. Node.js' own list where the system has none.
 */
export function systemAuthorities(): readonly string[] {
  for (const path of BUNDLES) {
    try {
      return [readFileSync(path, "utf8")];
    } catch {
      // Another distribution.
    }
  }
  return rootCertificates;
}
