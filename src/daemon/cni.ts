import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Failure, messageOf } from "#base";
import { missingProgram, requireProgram, searchPath } from "./programs.ts";

const execute = promisify(execFile);
const run = (program: string, args: readonly string[]) =>
  execute(program, args, { env: { PATH: searchPath() }, maxBuffer: 64 * 1024 * 1024 });

export interface NetworkOptions {
  /** Which node it is: two nodes on one machine have different ones, and thereby different bridges and subnets. */
  readonly runDir: string;
  /** Which address each sandbox has is kept in `cni` below it. */
  readonly dataDir: string;
  /** Where the CNI configuration is written; nothing else may be in it. */
  readonly confDir: string;
  readonly binDir: string;
}

export interface Network {
  /** Of the network and of its bridge. At most 15 bytes, as Linux wants it. */
  readonly name: string;
  /** `10.88.3.0/24` */
  readonly subnet: string;
}

const PLUGINS = ["bridge", "host-local", "loopback", "portmap"];

/**
 * Writes the configuration of a node's Pod network: a bridge with a subnet of its own that no route of this machine has. A
 * node that had one keeps it.
 *
 * @throws Failure PROGRAM_MISSING, NO_FREE_SUBNET
 */
export function writeNetwork(options: NetworkOptions): Network {
  for (const plugin of PLUGINS)
    if (!existsSync(join(options.binDir, plugin)))
      throw missingProgram(`the CNI plugin ${join(options.binDir, plugin)}`, "containernetworking-plugins");
  requireProgram("iptables", "iptables");
  requireProgram("ip", "iproute2");
  const name = nameOf(options.runDir);
  const file = join(options.confDir, "10-orlop.conflist");
  const subnet = subnetIn(file) ?? freeSubnet(options.runDir, name);
  mkdirSync(options.confDir, { recursive: true });
  const text = JSON.stringify(conflist(name, subnet, join(options.dataDir, "cni")), null, 2);
  // containerd reads the file whenever it is touched, and half of it is an error.
  if (contentOf(file) !== text) {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
  return { name, subnet };
}

/**
 * Lets Pods reach the world under this machine's address: one rule for the whole subnet. It is there after any call; a second
 * one changes nothing.
 *
 * @throws Failure COMMAND_FAILED
 */
export async function masquerade({ name, subnet }: Network): Promise<void> {
  const rule = ["POSTROUTING", "-s", subnet, "!", "-o", name, "!", "-d", "224.0.0.0/4"];
  rule.push("-m", "comment", "--comment", `name: "${name}"`, "-j", "MASQUERADE");
  const known = await run("iptables", ["-w", "5", "-t", "nat", "-C", ...rule]).catch(() => undefined);
  if (!known) await iptables("-A", ...rule);
}

/**
 * Makes the bridge, as the first Pod would, so that something may listen at its address before.
 *
 * @returns the address under which Pods reach this machine
 * @throws Failure COMMAND_FAILED
 */
export async function raiseBridge({ name, subnet }: Network): Promise<string> {
  const gateway = subnet.replace(/\.0\/24$/, ".1");
  if (!existsSync(`/sys/class/net/${name}`))
    await run("ip", ["link", "add", name, "type", "bridge"]).catch(explain("ip link add"));
  await run("ip", ["address", "replace", `${gateway}/24`, "dev", name]).catch(explain("ip address replace"));
  await run("ip", ["link", "set", name, "up"]).catch(explain("ip link set"));
  return gateway;
}

/** Removes the bridge, what is left of the network's iptables rules, and the records of its addresses. Nothing there is a success. */
export async function removeNetwork(options: NetworkOptions): Promise<void> {
  const name = nameOf(options.runDir);
  if (existsSync(`/sys/class/net/${name}`)) await run("ip", ["link", "delete", name]).catch(explain("ip link delete"));
  await removeRules(name);
  rmSync(join(options.dataDir, "cni"), { recursive: true, force: true });
  rmSync(join(options.confDir, "10-orlop.conflist"), { force: true });
  // libcni's own cache, whose place containerd does not let us choose.
  const results = "/var/lib/cni/results";
  if (existsSync(results))
    for (const file of readdirSync(results)) if (file.startsWith(`${name}-`)) rmSync(join(results, file));
}

function nameOf(runDir: string): string {
  return `orlop-${createHash("sha256").update(runDir).digest("hex").slice(0, 8)}`;
}

function conflist(name: string, subnet: string, dataDir: string): object {
  return {
    cniVersion: "0.4.0",
    name,
    plugins: [
      {
        type: "bridge",
        bridge: name,
        isGateway: true,
        // The plugin would run iptables a dozen times for each Pod: see masquerade().
        ipMasq: false,
        hairpinMode: true,
        ipam: { type: "host-local", dataDir, ranges: [[{ subnet }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

function subnetIn(file: string): string | undefined {
  return /"subnet":\s*"([0-9./]+)"/.exec(contentOf(file) ?? "")?.[1];
}

function contentOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

/**
 * One /24 of 10.64.0.0/10 that overlaps no route: the first from where the hash of the node points. What our own bridge has is
 * free: it was left by a node whose run directory was cleared, and has the subnet that is found again here.
 */
function freeSubnet(seed: string, bridge: string): string {
  const routes = ipv4Routes(bridge);
  const first = createHash("sha256").update(seed).digest().readUInt16BE(0);
  for (let i = 0; i < 64 * 256; i++) {
    const at = (first + i) % (64 * 256);
    const address = ((10 << 24) | ((64 + (at >> 8)) << 16) | ((at & 0xff) << 8)) >>> 0;
    const overlaps = routes.some(({ network, mask }) => {
      const shared = mask & 0xffffff00;
      return (address & shared) >>> 0 === (network & shared) >>> 0;
    });
    if (!overlaps) return `10.${64 + (at >> 8)}.${at & 0xff}.0/24`;
  }
  throw new Failure("RESOURCE_EXHAUSTED", "NO_FREE_SUBNET", "no /24 of 10.64.0.0/10 is free of routes on this machine");
}

/** The machine's routes but the default one and those of one interface. /proc/net/route has addresses as little-endian hex. */
function ipv4Routes(except: string): readonly { readonly network: number; readonly mask: number }[] {
  const address = (hex = "0"): number => Buffer.from(hex.padStart(8, "0"), "hex").readUInt32LE(0);
  return readFileSync("/proc/net/route", "latin1")
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t"))
    .filter((fields) => fields.length > 7 && fields[0] !== except)
    .map((fields) => ({ network: address(fields[1]), mask: address(fields[7]) }))
    .filter(({ mask }) => mask !== 0);
}

/** Shared by all users of the portmap plugin on this machine, which makes them when it needs them. */
const PORT_CHAINS = ["CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-DNAT"];

/** The rules that the plugins made carry the network's name in their comment; the chains they lead to are per sandbox. */
async function removeRules(name: string): Promise<void> {
  const ours = (await natRules()).filter((line) => line.includes(`name: \\"${name}\\"`));
  const chains = new Set(
    ours.map(targetOf).filter((chain) => chain.startsWith("CNI-") && !PORT_CHAINS.includes(chain)),
  );
  for (const line of ours) if (!chains.has(chainOf(line))) await iptables("-D", ...words(line).slice(1));
  for (const chain of chains) await removeChain(chain);

  const rules = await natRules();
  const isUsed = rules.some((line) => chainOf(line) === "CNI-HOSTPORT-DNAT");
  if (isUsed) return;
  const jumps = rules.filter((line) => PORT_CHAINS.includes(targetOf(line)));
  for (const line of jumps) await iptables("-D", ...words(line).slice(1));
  const left = new Set([...jumps.map(targetOf), ...rules.map(chainOf)]);
  for (const chain of PORT_CHAINS) if (left.has(chain)) await removeChain(chain);
}

async function natRules(): Promise<readonly string[]> {
  const { stdout } = await run("iptables-save", ["-t", "nat"]).catch(() => ({ stdout: "" }));
  return stdout.split("\n").filter((line) => line.startsWith("-A "));
}

const chainOf = (rule: string): string => rule.split(" ")[1] ?? "";
const targetOf = (rule: string): string => / -j (\S+)/.exec(rule)?.[1] ?? "";

async function removeChain(chain: string): Promise<void> {
  await iptables("-F", chain);
  await iptables("-X", chain);
}

async function iptables(...args: readonly string[]): Promise<void> {
  await run("iptables", ["-w", "5", "-t", "nat", ...args]).catch(explain(`iptables ${args.join(" ")}`));
}

/** The words of a line of iptables-save, whose strings are in double quotes with backslashes. */
function words(line: string): readonly string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(
    ([, quoted, plain]) => quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "",
  );
}

function explain(command: string) {
  return (cause: unknown): never => {
    const stderr = (cause as { stderr?: string }).stderr?.trim() ?? "";
    throw new Failure("INTERNAL", "COMMAND_FAILED", `${command} failed: ${stderr || messageOf(cause)}`, { cause });
  };
}
