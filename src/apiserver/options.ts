import { Failure, type Log } from "#base";
import type { Pki } from "#wire";
import type { Policy } from "./kinds/resource.ts";
import type { Tokens } from "./ports.ts";
import type { Keep } from "./retention.ts";
import type { User } from "./router.ts";
import { minorOf } from "./versions.ts";

export interface ApiServerOptions {
  /** Holds `apiserver.db` and the keys of service-account tokens. */
  readonly dataDir: string;
  /** The address to listen at; 127.0.0.1 by default. */
  readonly host?: string;
  /** 0 or none for any free port. */
  readonly port?: number;
  /** Who signs the server's certificate and its clients'. Without it the server speaks plain HTTP, on loopback only. */
  readonly pki?: Pki;
  /** PEM: who signs the kubelets' certificates. Without it they are not checked, as a kube-apiserver does that is given none. */
  readonly kubeletCa?: string;
  /** Further names and addresses the server's certificate is for. */
  readonly names?: readonly string[];
  /** `ImageVolume=false,…`, as `--feature-gates` has it. */
  readonly featureGates?: string;
  /** `AlwaysPullImages,…`, as `--enable-admission-plugins` has it. */
  readonly admissionPlugins?: string;
  /** `1.31`, as `--emulated-version` has it. */
  readonly emulatedVersion?: string;
  /** Signs and checks service-account tokens; by default with a key of its own, kept in `dataDir`. */
  readonly tokens?: Tokens;
  /** Fixed bearer tokens and whom they stand for. */
  readonly bearers?: ReadonlyMap<string, User>;
  /** Milliseconds after which a node is Unknown whose Lease is not renewed, as `--node-monitor-grace-period`; 40,000 by default. */
  readonly nodeMonitorGracePeriod?: number;
  /** Milliseconds after which Pods are removed that are bound to a node that is not there; 40,000 by default. */
  readonly missingNodeGracePeriod?: number;
  /** How far back lists and watches may go; five minutes by default, as long as that is no more than 256 MiB. */
  readonly history?: Keep;
  readonly log?: Log;
}

/** From this minor version on, the gate ImageVolume is on by default. */
const IMAGE_VOLUME_ON = 35;
const IMAGE_SUB_PATH = 33;
const OLDEST = 31;
const NEWEST = 36;

/** Plugins that say nothing here, or whose work is always done: they may be named. */
const QUIET = [
  "DefaultTolerationSeconds",
  "NamespaceLifecycle",
  "NodeRestriction",
  "Priority",
  "TaintNodesByCondition",
];

/** What the flags mean for objects. Throws Failure `INVALID_FLAG`. */
export function policyOf({ featureGates = "", admissionPlugins = "", emulatedVersion }: ApiServerOptions): Policy {
  const minor = minorOf(emulatedVersion);
  if (!(minor >= OLDEST && minor <= NEWEST))
    throw invalid(`--emulated-version=${emulatedVersion}: expected a version from 1.${OLDEST} to 1.${NEWEST}`);
  let imageVolume = minor >= IMAGE_VOLUME_ON;
  for (const gate of list(featureGates)) {
    const [name = "", value = ""] = gate.split("=");
    if (!/^(true|false)$/i.test(value)) throw invalid(`--feature-gates=${gate}: expected NAME=true or NAME=false`);
    if (name !== "ImageVolume" && name !== "AllAlpha" && name !== "AllBeta") continue;
    const on = value.toLowerCase() === "true";
    // From 1.36 on a kube-apiserver refuses to turn it off. Here it can be, so that one flag shows what it does.
    if (name === "ImageVolume") imageVolume = on;
  }
  const plugins = list(admissionPlugins);
  for (const plugin of plugins)
    if (plugin !== "AlwaysPullImages" && !QUIET.includes(plugin))
      throw invalid(`--enable-admission-plugins=${plugin}: this server has AlwaysPullImages only`);
  return {
    imageVolume,
    alwaysPullImages: plugins.includes("AlwaysPullImages"),
    podRules: { imageSubPath: minor >= IMAGE_SUB_PATH, isPod: true },
  };
}

const list = (text: string): string[] =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

const invalid = (message: string): Failure => new Failure("INVALID_ARGUMENT", "INVALID_FLAG", message);
