import { statfsSync } from "node:fs";
import { join } from "node:path";
import { hasCapability } from "#kernel";

/** Snapshotters that Orlop does not use, and what writes outside our directories. A name that this containerd lacks does no harm. */
const DISABLED = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.restart",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
];

/** linux/magic.h */
const OVERLAYFS_SUPER_MAGIC = 0x794c7630;

/** An overlay cannot lie upon an overlay, as where Orlop itself runs in a container: there files are copied. */
function snapshotterFor(dataDir: string): string {
  return statfsSync(dataDir).type === OVERLAYFS_SUPER_MAGIC ? "native" : "overlayfs";
}

/** containerd's configuration, version 2, which 1.6 reads and 2.x migrates by itself. */
export function containerdConfig(options: {
  readonly dataDir: string;
  readonly runDir: string;
  readonly socket: string;
  readonly certsDir?: string | undefined;
  readonly sandboxImage: string;
  readonly cniConfDir: string;
  readonly cniBinDir: string;
}): string {
  // A basic string of TOML is written as one of JSON.
  const q = (text: string): string => JSON.stringify(text);
  return `# Written by orlop at every start.
version = 2
root = ${q(join(options.dataDir, "containerd"))}
state = ${q(join(options.runDir, "containerd"))}
disabled_plugins = [${DISABLED.map(q).join(", ")}]

[grpc]
  address = ${q(options.socket)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${q(options.sandboxImage)}
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = ${!hasCapability("CAP_SYS_RESOURCE")}

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${q(options.cniBinDir)}
    conf_dir = ${q(options.cniConfDir)}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    snapshotter = ${q(snapshotterFor(options.dataDir))}

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = ${q(join(options.runDir, "runc"))}
        SystemdCgroup = false
${options.certsDir === undefined ? "" : `\n  [plugins."io.containerd.grpc.v1.cri".registry]\n    config_path = ${q(options.certsDir)}\n`}`;
}
