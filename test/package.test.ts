import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const root = join(import.meta.dirname, "..");
const dir = mkdtempSync(join(tmpdir(), "orlop-package-"));
after(() => rmSync(dir, { recursive: true, force: true }));

before(() => {
  execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "pipe" });
  execFileSync("npm", ["pack", "--silent", "--pack-destination", dir], { cwd: root, stdio: "pipe" });
  const [tarball = ""] = execFileSync("ls", [dir], { encoding: "utf8" }).trim().split("\n");
  execFileSync("tar", ["-xzf", join(dir, tarball), "-C", dir]);
  symlinkSync(join(root, "node_modules"), join(dir, "package/node_modules"));
});

test("what is released runs without the sources, as plain JavaScript", () => {
  const files = execFileSync("find", [join(dir, "package"), "-name", "*.ts", "-not", "-path", "*/node_modules/*"]);
  assert.equal(files.toString(), "");
  const version = execFileSync(join(dir, "package/bin/orlop"), ["--version"], { encoding: "utf8" });
  const { version: expected } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  assert.equal(version, `${expected}\n`);
});

test("the program starts under the name that npm gives it, with whatever Node the PATH has", () => {
  const bin = join(dir, "orlop");
  symlinkSync(join(dir, "package/bin/orlop"), bin);
  const help = execFileSync(bin, ["--help"], { encoding: "utf8", env: { PATH: "/usr/bin:/bin" } });
  assert.match(help, /Usage: orlop/);
});
