import { execFileSync } from "node:child_process";
import { fakeKernel, linuxKernel } from "#kernel";
import { kernelContract } from "./kernel.contract.ts";

/** systemd makes all mounts shared, and then one made in one place may appear in others. */
function shared(place: string): () => void {
  execFileSync("mount", ["--bind", place, place]);
  execFileSync("mount", ["--make-shared", place]);
  return () => execFileSync("umount", [place]);
}

kernelContract("fake", () => fakeKernel());
kernelContract("linux", () => linuxKernel());
kernelContract("linux with shared mounts", () => linuxKernel(), { prepare: shared });
kernelContract("linux before 5.12", () => linuxKernel({ mountApi: "classic" }));
kernelContract("linux before 5.12 with shared mounts", () => linuxKernel({ mountApi: "classic" }), { prepare: shared });
