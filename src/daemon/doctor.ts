import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { messageOf } from "#base";
import type { Check, Places } from "#cli";

import { sampleImage } from "#erofs";
import {
  hasCapability,
  kernelVersion,
  linuxKernel,
  mountNamespaceIsPrivate,
  probeErofs,
  supportsFilesystem,
} from "#kernel";

/** Bytes below which a node should not be started: one model of middling size. */
const ROOMY = 10 * 2 ** 30;
/** sun_path of sockaddr_un, without its final NUL. unix(7) */
const SOCKET_PATH_LIMIT = 107;

/** Looks at everything that Orlop needs of a machine, changing nothing that stays. */
export async function doctor(places: Places): Promise<readonly Check[]> {
  return [
    rights(),
    ...capabilities(),
    await erofs(places),
    filesystem("overlay", "containers cannot be started: load the module with `modprobe overlay`"),
    mountNamespace(),
    ...programs(),
    cgroups(),
    ...writable(places),
    space(places),
    sockets(places),
  ];
}

function check(name: string, good: boolean, found: string, cost: string, lack: "warning" | "error" = "error"): Check {
  return { name, state: good ? "ok" : lack, found, cost: good ? "" : cost };
}

function rights(): Check {
  const uid = process.getuid?.() ?? 0;
  return check("root", uid === 0, `uid ${uid}`, "nothing can be mounted: run orlop as root");
}

function capabilities(): Check[] {
  return [
    check("CAP_SYS_ADMIN", hasCapability("CAP_SYS_ADMIN"), "mount(2)", "nothing can be mounted"),
    check(
      "CAP_NET_ADMIN",
      hasCapability("CAP_NET_ADMIN"),
      "network set-up",
      "Pods get no network: they need hostNetwork",
    ),
    check(
      "CAP_SYS_RESOURCE",
      hasCapability("CAP_SYS_RESOURCE"),
      "OOM scores, limits",
      "Pods keep the OOM score of containerd instead of one by their QoS class",
      "warning",
    ),
  ];
}

async function erofs(places: Places): Promise<Check> {
  const version = kernelVersion().join(".");
  const cost = "volumes are copied instead of mounted: twice the disk, and slower; Linux 6.12 mounts EROFS from files";
  try {
    const directory = existing(places.dataDir);
    const support = await probeErofs(linuxKernel(), directory, sampleImage());
    return support.supported
      ? check("EROFS from files", true, `Linux ${version}${support.directIo ? ", direct I/O" : ""}`, "")
      : check("EROFS from files", false, `Linux ${version}: ${support.why}`, cost, "warning");
  } catch (error) {
    return check("EROFS from files", false, `Linux ${version}: ${messageOf(error)}`, cost, "warning");
  }
}

function filesystem(name: string, cost: string): Check {
  return check(`${name} filesystem`, supportsFilesystem(name), "/proc/filesystems", cost);
}

function mountNamespace(): Check {
  return check(
    "mount namespace",
    !mountNamespaceIsPrivate(),
    "/proc/self/ns/mnt",
    "mounts made here are not seen by a containerd that runs outside: use `orlop up` without --containerd",
    "warning",
  );
}

/** Each program, the Debian package that brings it, and what goes without it. */
const PROGRAMS = [
  ["containerd", "containerd", "`orlop up` needs --containerd with a socket"],
  ["runc", "runc", "no container can be started"],
  ["iptables", "iptables", "`orlop up` cannot make the network of Pods"],
  ["kubectl", "kubernetes-client", "nothing to talk to the API server with"],
] as const;

function programs(): Check[] {
  const found = PROGRAMS.map(([program, debian, cost]) => {
    const path = which(program);
    const lack = program === "runc" || program === "iptables" ? "error" : "warning";
    return check(program, path !== undefined, path ?? "missing", `${cost}: apt-get install ${debian}`, lack);
  });
  const plugins = ["/usr/lib/cni", "/opt/cni/bin"].find((dir) => existsSync(join(dir, "bridge")));
  const cost = "Pods get no network: apt-get install containernetworking-plugins";
  return [...found, check("CNI plugins", plugins !== undefined, plugins ?? "missing", cost)];
}

function which(program: string): string | undefined {
  const path = `${process.env["PATH"] ?? ""}${delimiter}/usr/sbin${delimiter}/sbin`;
  return path
    .split(delimiter)
    .map((dir) => join(dir, program))
    .find((file) => allowed(file, constants.X_OK));
}

function cgroups(): Check {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  const memory = / - cgroup \S+ \S*\bmemory\b/.test(mounts);
  const unified = / \/sys\/fs\/cgroup \S.* - cgroup2 /.test(mounts);
  const found = unified ? "version 2" : memory ? "version 1" : "none";
  return check("cgroups", unified || memory, found, "runc cannot start containers: mount cgroup2 at /sys/fs/cgroup");
}

function writable(places: Places): Check[] {
  return [
    ["data directory", places.dataDir],
    ["run directory", places.runDir],
  ].map(([name = "", path = ""]) =>
    check(name, allowed(existing(path), constants.W_OK), path, `${path} cannot be written: choose another`),
  );
}

function space(places: Places): Check {
  const { bavail, bsize } = statfsSync(existing(places.dataDir));
  const free = bavail * bsize;
  const found = `${(free / 2 ** 30).toFixed(1)} GiB free for ${places.dataDir}`;
  return check("disk", free >= ROOMY, found, "large objects will not fit: make room, or choose --data-dir", "warning");
}

function sockets(places: Places): Check {
  const longest = join(places.runDir, "containerd/containerd.sock.ttrpc");
  const length = Buffer.byteLength(longest);
  const cost = `socket paths may have ${SOCKET_PATH_LIMIT} bytes: choose a shorter --run-dir`;
  return check("socket paths", length <= SOCKET_PATH_LIMIT, `${length} bytes under ${places.runDir}`, cost);
}

/** The path, or the nearest directory above it that exists. */
function existing(path: string): string {
  let at = path;
  while (!existsSync(at)) at = dirname(at);
  return at;
}

function allowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
