import { readFile, statfs } from "node:fs/promises";
import { arch, availableParallelism, release, totalmem } from "node:os";

/** What a Node object says about its machine. */
export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly architecture: string;
  readonly bootId: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly kernel: string;
  readonly osImage: string;
}

const GO_ARCH: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

export async function inspectMachine(directory: string): Promise<Machine> {
  const text = (path: string): Promise<string> =>
    readFile(path, "utf8").then(
      (content) => content.trim(),
      () => "",
    );
  const disk = await statfs(directory);
  const os = await text("/etc/os-release");
  const machineId = await text("/etc/machine-id");
  return {
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    diskBytes: disk.blocks * disk.bsize,
    architecture: GO_ARCH[arch()] ?? arch(),
    bootId: await text("/proc/sys/kernel/random/boot_id"),
    machineId,
    systemUuid: (await text("/sys/class/dmi/id/product_uuid")) || machineId,
    kernel: release(),
    osImage: /^PRETTY_NAME="?(.*?)"?$/m.exec(os)?.[1] ?? "Linux",
  };
}
