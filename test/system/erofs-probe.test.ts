// What the probe says of the filesystems and disks that a data directory may lie on. Loop devices stand for the disks.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { sampleImage } from "#erofs";
import { linuxKernel, probeErofs } from "#kernel";

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8" }).trim();
}

function place(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "orlop-probe-"));
  t.after(() => {
    const kernel = linuxKernel();
    for (const { target } of kernel.mounts()) if (target.startsWith(`${directory}/`)) kernel.unmount(target);
    rmSync(directory, { recursive: true });
  });
  return directory;
}

for (const [sector, directIo] of [
  [512, true],
  [4096, false],
] as const)
  test(`ext4 on a disk with sectors of ${sector} bytes: images are mounted, the page cache is bypassed: ${directIo}`, async (t) => {
    const at = place(t);
    const [disk, target] = [join(at, "disk"), join(at, "target")];
    mkdirSync(target);
    run("truncate", "-s", "64M", disk);
    const loop = run("losetup", "--find", "--show", "--sector-size", String(sector), disk);
    try {
      run("mkfs.ext4", "-q", loop);
      run("mount", "-t", "ext4", loop, target);
    } finally {
      // It goes with the mount.
      run("losetup", "--detach", loop);
    }
    assert.deepEqual(await probeErofs(linuxKernel(), target, sampleImage()), { supported: true, directIo });
    assert.deepEqual(readdirSync(target), ["lost+found"]);
  });

test("overlayfs, as in a container: images are not mounted, and the answer says so", async (t) => {
  const at = place(t);
  for (const name of ["lower", "upper", "work", "target"]) mkdirSync(join(at, name));
  const options = `lowerdir=${at}/lower,upperdir=${at}/upper,workdir=${at}/work`;
  run("mount", "-t", "overlay", "overlay", "-o", options, join(at, "target"));
  const support = await probeErofs(linuxKernel(), join(at, "target"), sampleImage());
  assert.ok(!support.supported);
  assert.match(support.why, /overlayfs/);
});
