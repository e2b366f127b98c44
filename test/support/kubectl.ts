import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The kubectl of Debian 12 (1.20, which speaks SPDY only), beside whatever the machine has. Fetched once and kept. */
export function debianKubectl(): string {
  const kept = "/var/cache/orlop-tests/kubernetes-client";
  const kubectl = join(kept, "usr/bin/kubectl");
  if (existsSync(kubectl)) return kubectl;
  const dir = mkdtempSync(join(tmpdir(), "orlop-kubectl-"));
  try {
    const apt = (...args: string[]): void => void execFileSync("apt-get", args, { cwd: dir, stdio: "pipe" });
    try {
      apt("download", "kubernetes-client");
    } catch {
      apt("update", "-qq");
      apt("download", "kubernetes-client");
    }
    const [deb = ""] = readdirSync(dir).filter((name) => name.endsWith(".deb"));
    execFileSync("dpkg", ["-x", join(dir, deb), join(dir, "out")]);
    mkdirSync("/var/cache/orlop-tests", { recursive: true });
    renameSync(join(dir, "out"), kept);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  return kubectl;
}
