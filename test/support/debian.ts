// Programs of Debian's other suites, beside what this machine has: fetched once, kept, run with their own libraries.
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

const KEPT = "/var/cache/orlop-tests";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** Before and after Debian put /lib into /usr/lib. */
const LOADERS = "{lib,lib64,usr/lib,usr/lib64}/{,*/}ld-linux-*.so.*";
const LIBRARIES = "{lib,usr/lib}/**/*.so*";

export type Suite = "bookworm" | "trixie" | "sid";

/** The words that start a program of a package: `["/…/ld-linux…", "--library-path", "…", "/…/usr/bin/kubectl"]`. */
export function debianProgram(suite: Suite, packageName: string, program: string): readonly string[] {
  const root = join(KEPT, suite, packageName);
  if (!existsSync(root)) fetchPackage(suite, packageName, root);
  const binary = join(root, program);
  const [loader] = globSync(LOADERS, { cwd: root });
  // A program that is linked statically comes without.
  if (loader === undefined) return [binary];
  const libraries = [...new Set(globSync(LIBRARIES, { cwd: root }).map((file) => join(root, dirname(file))))];
  return [join(root, loader), "--library-path", libraries.join(":"), binary];
}

/** A file that starts the program, for those who take one word. */
export function debianCommand(suite: Suite, packageName: string, program: string): string {
  const words = debianProgram(suite, packageName, program);
  const file = join(KEPT, suite, `${packageName}-${basename(program)}`);
  writeFileSync(file, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
  return file;
}

/** Downloads the package and everything it needs into `root`, or nothing. */
function fetchPackage(suite: Suite, packageName: string, root: string): void {
  const dir = mkdtempSync(join(tmpdir(), "orlop-debian-"));
  try {
    const lists = join(KEPT, suite, "apt/lists");
    for (const path of [join(lists, "partial"), join(dir, "archives/partial"), join(dir, "out")])
      mkdirSync(path, { recursive: true });
    const sources = join(dir, "sources.list");
    writeFileSync(sources, `deb [signed-by=${KEYRING}] http://deb.debian.org/debian ${suite} main\n`);
    writeFileSync(join(dir, "status"), "");
    const settings = [`Dir::Etc::sourcelist=${sources}`, "Dir::Etc::sourceparts=-", `Dir::State::lists=${lists}`];
    const isolated = [
      ...settings,
      `Dir::State::status=${join(dir, "status")}`,
      `Dir::Cache=${dir}`,
      "APT::Install-Recommends=0",
    ];
    const apt = (...args: string[]): string =>
      execFileSync("apt-get", [...isolated.flatMap((setting) => ["-o", setting]), ...args], {
        encoding: "utf8",
        stdio: "pipe",
      });
    apt("update", "-qq");
    // As if nothing were installed, so that the libraries come along.
    apt("install", "-y", "-qq", "--download-only", packageName);
    for (const deb of readdirSync(join(dir, "archives")).filter((name) => name.endsWith(".deb")))
      execFileSync("dpkg-deb", ["-x", join(dir, "archives", deb), join(dir, "out")], { stdio: "pipe" });
    mkdirSync(dirname(root), { recursive: true });
    rmSync(root, { recursive: true, force: true });
    execFileSync("cp", ["-a", join(dir, "out"), `${root}.part`]);
    renameSync(`${root}.part`, root);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
