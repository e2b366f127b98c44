import { hostname } from "node:os";
import { resolve } from "node:path";
import { InvalidArgumentError, Option, type Command } from "commander";
import { Failure } from "#base";
import { checkWatermarks, type Watermark, type Watermarks } from "#engine";
import { VERIFICATION_POLICIES, type ImageAccess, type Places } from "./parts.ts";

/** The flags that every command takes. */
export function withPlaces(command: Command): Command {
  return command
    .option("--data-dir <dir>", "where blobs, snapshots and records are kept", "/var/lib/orlop")
    .option("--run-dir <dir>", "where sockets and mounts are; cleared by a reboot", "/run/orlop")
    .option(
      "--certs-dir <dir>",
      "containerd-style certs.d: which host serves which registry",
      "/etc/containerd/certs.d",
    );
}

export function withOutput(command: Command): Command {
  return command.addOption(
    new Option("-o, --output <format>", "how to print").choices(["text", "json"]).default("text"),
  );
}

export function withApiServer(command: Command): Command {
  return command
    .addOption(new Option("--port <n>", "port of the API server, on 127.0.0.1").argParser(port).default(6443))
    .option(
      "--kubeconfig <file>",
      "where the administrator's kubeconfig is written (default: <data-dir>/admin.kubeconfig)",
    )
    .option("--feature-gates <list>", "such as ImageVolume=false")
    .option("--enable-admission-plugins <list>", "such as AlwaysPullImages")
    .option("--emulated-version <v>", "behave as this version of Kubernetes did: 1.31 to 1.36");
}

/** A person's own machine is often fuller than a node may be. */
export const DESK_THRESHOLDS = "memory.available<100Mi,nodefs.available<1Gi,imagefs.available<1Gi";

/** The flags of whatever runs a kubelet. `evictionHard` is what holds where a user says nothing: absent, the kubelet's own. */
export function withNode(command: Command, evictionHard?: string): Command {
  const what = "evict Pods where less than this is left";
  const evict =
    evictionHard === undefined
      ? new Option("--eviction-hard <list>", `${what} (default: upstream's, such as nodefs.available<10%)`)
      : new Option("--eviction-hard <list>", what).default(thresholds(evictionHard), evictionHard);
  return command
    .addOption(new Option("--node-name <name>", "the name of this node").argParser(nodeName).default(defaultNodeName()))
    .addOption(evict.argParser(thresholds))
    .option(
      "--image-credential-provider-config <file>",
      "a CredentialProviderConfig: which programs give registry logins",
    )
    .option("--image-credential-provider-bin-dir <dir>", "where these programs are")
    .addOption(
      new Option(
        "--image-pull-credentials-verification-policy <policy>",
        "which images that are here a Pod may only use if it shows a login (default: NeverVerifyPreloadedImages)",
      ).choices(VERIFICATION_POLICIES),
    )
    .option(
      "--preloaded-images-verification-allowlist <list>",
      "such as quay.io/team/*: those that NeverVerifyAllowlistedImages lets everybody use",
    );
}

/** @throws Failure INVALID_CREDENTIAL_PROVIDERS */
export function imageAccessOf(options: Readonly<Record<string, unknown>>): ImageAccess {
  const text = (name: string): string | undefined => options[name] as string | undefined;
  const [configFile, binDir] = [text("imageCredentialProviderConfig"), text("imageCredentialProviderBinDir")];
  if ((configFile === undefined) !== (binDir === undefined))
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_CREDENTIAL_PROVIDERS",
      "credential providers need both --image-credential-provider-config and --image-credential-provider-bin-dir",
    );
  const policy = text(
    "imagePullCredentialsVerificationPolicy",
  ) as ImageAccess["imagePullCredentialsVerificationPolicy"];
  const allowlist = text("preloadedImagesVerificationAllowlist");
  return {
    ...(configFile === undefined ? {} : { imageCredentialProviderConfigFile: resolve(configFile) }),
    ...(binDir === undefined ? {} : { imageCredentialProviderBinDir: resolve(binDir) }),
    ...(policy === undefined ? {} : { imagePullCredentialsVerificationPolicy: policy }),
    ...(allowlist === undefined ? {} : { preloadedImagesVerificationAllowlist: allowlist.split(",") }),
  };
}

export function withWatermarks(command: Command, high: string, low: string): Command {
  const how = "bytes (50GiB), or how full its filesystem is (85%)";
  return command
    .addOption(new Option("--high-watermark <mark>", `${high}: ${how}`).argParser(watermark))
    .addOption(new Option("--low-watermark <mark>", `${low}: in the same unit`).argParser(watermark));
}

export function withVolumes(command: Command): Command {
  return withWatermarks(
    command.option("--forbid-exec", "no Pod may run programs from an image volume, whatever its annotations ask"),
    "above this the least recently used objects that no volume uses are deleted",
    "until the store is below this",
  );
}

/** What a node is told to keep below; undefined where it is told nothing. @throws Failure INVALID_WATERMARKS */
export function watermarksOf(options: Readonly<Record<string, unknown>>): Watermarks | undefined {
  const { highWatermark: high, lowWatermark: low } = options as { highWatermark?: Watermark; lowWatermark?: Watermark };
  if (high === undefined && low === undefined) return undefined;
  if (high === undefined || low === undefined)
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_WATERMARKS",
      `--${high === undefined ? "low" : "high"}-watermark says half of it: give --${high === undefined ? "high" : "low"}-watermark too`,
    );
  checkWatermarks({ high, low });
  return { high, low };
}

export function placesOf(options: Readonly<Record<string, unknown>>): Places {
  const { dataDir, runDir, certsDir } = options as { dataDir: string; runDir: string; certsDir: string };
  return { dataDir, runDir, certsDir };
}

export function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65535) throw new InvalidArgumentError("It must be 0 to 65535.");
  return value;
}

const UNITS: Readonly<Record<string, number>> = { K: 1, M: 2, G: 3, T: 4 };

/** `85%`; `50000000000`, `50G`, `50GB` (powers of 1000), `50Gi`, `50GiB` (powers of 1024). */
function watermark(text: string): Watermark {
  const [, number = "", unit = "", i] = /^(\d+(?:\.\d+)?)(%|[KMGT]?)(i?)B?$/i.exec(text) ?? [];
  const value = Number(number);
  if (number === "" || (unit === "%" && (value > 100 || !text.endsWith("%"))) || (unit === "" && i !== ""))
    throw new InvalidArgumentError("It must be bytes, such as 50GiB, or a percentage, such as 85%.");
  if (unit === "%") return `${value}%`;
  return Math.round(value * (i === "" ? 1000 : 1024) ** (UNITS[unit.toUpperCase()] ?? 0));
}

/** An empty list is one too: nothing is evicted then. */
function thresholds(text: string): Record<string, string> {
  const pairs = text.split(",").filter((pair) => pair.trim() !== "");
  const parsed = pairs.map((pair) => /^\s*([\w.]+)\s*<\s*([\w.%]+)\s*$/.exec(pair));
  if (parsed.some((match) => match === null))
    throw new InvalidArgumentError("It must be such as memory.available<100Mi,nodefs.available<10%.");
  return Object.fromEntries(parsed.map((match) => [match?.[1] ?? "", match?.[2] ?? ""]));
}

function nodeName(text: string): string {
  if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(text))
    throw new InvalidArgumentError("It must be lower case letters, digits, '-' and '.'.");
  return text;
}

function defaultNodeName(): string {
  const name = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, "-")
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return name === "" ? "orlop" : name;
}
