import { join, resolve } from "node:path";
import type { Command } from "commander";
import { Failure } from "#base";
import {
  DESK_THRESHOLDS,
  imageAccessOf,
  placesOf,
  watermarksOf,
  withApiServer,
  withNode,
  withOutput,
  withPlaces,
  withVolumes,
} from "./flags.ts";
import { formatTable, type Streams } from "./output.ts";
import type { ApiServerFlags, NodeFlags, Parts, Places, VolumeFlags } from "./parts.ts";

type Options = Readonly<Record<string, unknown>>;

const SANDBOX_IMAGE = "registry.k8s.io/pause:3.10";

/** The commands that run something until they are told to stop, and `doctor`. */
export function addNodeCommands(program: Command, parts: Parts, streams: Streams, signal: AbortSignal): void {
  const say = (line: string): void => void streams.out.write(`${line}\n`);

  withVolumes(withNode(withApiServer(withPlaces(program.command("up"))), DESK_THRESHOLDS))
    .description("run a whole node: API server, scheduler, kubelet, CRI endpoint and containerd")
    .option("--containerd <socket>", "use this containerd (1.6 or later) instead of one of our own")
    .option("--sandbox-image <reference>", "the pause image of Pods", SANDBOX_IMAGE)
    .action(async (options: Options) => {
      const places = absolute(placesOf(options));
      await parts.up(
        places,
        {
          ...apiServerFlags(places, options),
          ...volumeFlags(options),
          ...nodeFlags(options),
          sandboxImage: String(options["sandboxImage"]),
          ...(typeof options["containerd"] === "string" ? { containerd: socketOf(options["containerd"]) } : {}),
        },
        say,
        signal,
      );
    });

  withApiServer(withPlaces(program.command("apiserver")))
    .description("run the API server alone")
    .action(async (options: Options) => {
      const places = absolute(placesOf(options));
      await parts.apiserver(places, apiServerFlags(places, options), say, signal);
    });

  withNode(withPlaces(program.command("kubelet")))
    .description("run the kubelet alone, against any API server and any CRI runtime")
    .requiredOption("--kubeconfig <file>", "how to reach the API server, and as whom")
    .option("--container-runtime-endpoint <socket>", "the CRI socket (default: <run-dir>/cri.sock)")
    .action(async (options: Options) => {
      const places = absolute(placesOf(options));
      await parts.kubelet(
        places,
        {
          kubeconfig: resolve(String(options["kubeconfig"])),
          criSocket: socketOf(options["containerRuntimeEndpoint"] ?? join(places.runDir, "cri.sock")),
          ...nodeFlags(options),
        },
        say,
        signal,
      );
    });

  withVolumes(withPlaces(program.command("cri")))
    .description("run the CRI endpoint alone: image and artifact volumes for the containerd behind it")
    .option("--listen <socket>", "where the kubelet finds us (default: <run-dir>/cri.sock)")
    .option("--containerd <socket>", "the containerd behind us", "/run/containerd/containerd.sock")
    .action(async (options: Options) => {
      const places = absolute(placesOf(options));
      const listen = socketOf(options["listen"] ?? join(places.runDir, "cri.sock"));
      const containerd = socketOf(options["containerd"]);
      await parts.cri(places, { ...volumeFlags(options), listen, containerd }, say, signal);
    });

  withOutput(withPlaces(program.command("doctor")))
    .description("look at this machine: what is there, and what each lack costs")
    .action(async (options: Options) => {
      const checks = await parts.doctor(absolute(placesOf(options)));
      if (options["output"] === "json") say(JSON.stringify(checks, null, 2));
      else {
        const rows = checks.map((c) => [c.state, c.name, c.cost === "" ? c.found : `${c.found}: ${c.cost}`]);
        streams.out.write(formatTable([["STATE", "CHECK", "FOUND"], ...rows]));
      }
      const bad = checks.filter((c) => c.state === "error");
      if (bad.length > 0)
        throw new Failure(
          "FAILED_PRECONDITION",
          "DOCTOR",
          `this machine cannot run Orlop yet: ${bad.map((c) => c.name).join(", ")}`,
        );
    });
}

function nodeFlags(options: Options): NodeFlags {
  const evictionHard = options["evictionHard"] as NodeFlags["evictionHard"];
  return {
    nodeName: String(options["nodeName"]),
    imageAccess: imageAccessOf(options),
    ...(evictionHard === undefined ? {} : { evictionHard }),
  };
}

function volumeFlags(options: Options): VolumeFlags {
  const watermarks = watermarksOf(options);
  return { allowExec: options["forbidExec"] !== true, ...(watermarks === undefined ? {} : { watermarks }) };
}

function apiServerFlags(places: Places, options: Options): ApiServerFlags {
  const text = (name: string): string | undefined => options[name] as string | undefined;
  const [featureGates, admissionPlugins, emulatedVersion] = [
    text("featureGates"),
    text("enableAdmissionPlugins"),
    text("emulatedVersion"),
  ];
  return {
    host: "127.0.0.1",
    port: options["port"] as number,
    kubeconfig: resolve(text("kubeconfig") ?? join(places.dataDir, "admin.kubeconfig")),
    ...(featureGates === undefined ? {} : { featureGates }),
    ...(admissionPlugins === undefined ? {} : { admissionPlugins }),
    ...(emulatedVersion === undefined ? {} : { emulatedVersion }),
  };
}

function absolute(places: Places): Places {
  return { dataDir: resolve(places.dataDir), runDir: resolve(places.runDir), certsDir: resolve(places.certsDir) };
}

/** `unix:///run/x.sock`, as Kubernetes writes endpoints, or the path alone. */
function socketOf(text: unknown): string {
  return resolve(String(text).replace(/^unix:\/\//, ""));
}
