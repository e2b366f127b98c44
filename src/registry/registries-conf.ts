import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parse } from "smol-toml";
import { errnoOf, Failure, messageOf } from "#base";
import type { Reference } from "#oci";
import { originEndpoint, type Endpoint } from "./endpoint.ts";
import { tomlMessage } from "./toml-message.ts";

interface Location {
  readonly location: string;
  readonly insecure: boolean;
}

interface Mirror extends Location {
  readonly serves: Endpoint["serves"];
}

interface Rule extends Location {
  readonly prefix: string;
  readonly blocked: boolean;
  readonly mirrors: readonly Mirror[];
}

const SERVES: Readonly<Record<string, Endpoint["serves"]>> = { all: "all", "digest-only": "digest", "tag-only": "tag" };

/**
 * What podman's and CRI-O's registries.conf says about a reference: the mirrors of the rule with the longest prefix, and
 * the rule's own location last. Undefined where no rule is for it. A drop-in directory's rules replace those with the same
 * prefix, by file name. https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
 *
 * @throws Failure INVALID_HOSTS_CONFIG naming the file; REGISTRY_BLOCKED
 */
export async function readRegistriesConf(file: string, reference: Reference): Promise<readonly Endpoint[] | undefined> {
  const name = `${reference.registry}/${reference.repository}`;
  const rules = new Map<string, Rule>();
  for (const path of [file, ...(await dropIns(`${file}.d`))])
    for (const rule of await readRules(path)) rules.set(rule.prefix, rule);
  const matching = [...rules.values()].filter(({ prefix }) => restOf(name, prefix) !== undefined);
  const rule = matching.sort((a, b) => b.prefix.length - a.prefix.length)[0];
  if (rule === undefined) return undefined;
  if (rule.blocked)
    throw new Failure("PERMISSION_DENIED", "REGISTRY_BLOCKED", `${name}: ${file} blocks ${rule.prefix}`);

  const rest = restOf(name, rule.prefix) ?? "";
  const mirrors = rule.mirrors.map((mirror): Endpoint => {
    const { serves } = mirror;
    return { ...endpoint(mirror, rest, reference), capabilities: new Set(["pull", "resolve"]), serves };
  });
  const own = rule.location === "" ? { ...rule, location: name } : rule;
  return [...mirrors, endpoint(own, rule.location === "" ? "" : rest, reference)];
}

/** `insecure` means what it means there: an unchecked certificate, or no TLS at all. */
function endpoint({ location, insecure }: Location, rest: string, { registry }: Reference): Endpoint {
  const [host = "", ...path] = `${location}${rest}`.split("/");
  const origin = { ...originEndpoint(host, path.join("/")), isOrigin: host === registry };
  return insecure ? { ...origin, tls: { ...origin.tls, skipVerify: true }, mayFallBackToHttp: true } : origin;
}

/** What follows the prefix, with its slash; undefined where the name does not begin with it. `*.example` stands for any host below. */
function restOf(name: string, prefix: string): string | undefined {
  if (prefix.startsWith("*.")) {
    const [host = ""] = name.split("/", 1);
    return host.endsWith(prefix.slice(1)) ? name.slice(host.length) : undefined;
  }
  if (name === prefix) return "";
  return name.startsWith(`${prefix}/`) ? name.slice(prefix.length) : undefined;
}

async function dropIns(dir: string): Promise<readonly string[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw invalid(dir, messageOf(error), error);
  });
  const files = names.filter((name) => name.endsWith(".conf")).map((name) => join(dir, name));
  return files.sort((a, b) => (basename(a) < basename(b) ? -1 : 1));
}

async function readRules(file: string): Promise<readonly Rule[]> {
  let root: Record<string, unknown>;
  try {
    root = parse(await readFile(file, "utf8"));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw invalid(file, errnoOf(error) === undefined ? tomlMessage(error) : messageOf(error), error);
  }
  if (root["registries"] !== undefined)
    throw invalid(file, "it has the format of version 1: write [[registry]] tables");
  return list(root["registry"], file, "registry").map((table) => readRule(table, file));
}

function readRule(table: Readonly<Record<string, unknown>>, file: string): Rule {
  const location = text(table["location"], file, "location");
  const prefix = text(table["prefix"], file, "prefix") || location;
  if (prefix === "") throw invalid(file, "a [[registry]] has neither prefix nor location");
  if (prefix.slice(1).includes("*") || (prefix.startsWith("*") && !/^\*\.[^/]+$/.test(prefix)))
    throw invalid(file, `the prefix ${JSON.stringify(prefix)} may have a wildcard only as *.host`);
  if (location === "" && !prefix.startsWith("*."))
    throw invalid(file, `the registry ${JSON.stringify(prefix)} has no location`);
  const byDigest = flag(table["mirror-by-digest-only"], file, "mirror-by-digest-only");
  const mirrors = list(table["mirror"], file, "registry.mirror").map((mirror): Mirror => {
    const kind = text(mirror["pull-from-mirror"], file, "pull-from-mirror");
    const serves = kind === "" ? (byDigest ? "digest" : "all") : SERVES[kind];
    if (serves === undefined || (kind !== "" && byDigest))
      throw invalid(
        file,
        `pull-from-mirror = ${JSON.stringify(kind)}: it is all, digest-only or tag-only, without mirror-by-digest-only`,
      );
    const to = text(mirror["location"], file, "registry.mirror.location");
    if (to === "") throw invalid(file, "a [[registry.mirror]] has no location");
    return { location: to, insecure: flag(mirror["insecure"], file, "insecure"), serves };
  });
  const blocked = flag(table["blocked"], file, "blocked");
  return { prefix, location, insecure: flag(table["insecure"], file, "insecure"), blocked, mirrors };
}

function list(value: unknown, file: string, field: string): readonly Readonly<Record<string, unknown>>[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalid(file, `${field} is not a list of tables`);
  return value as readonly Record<string, unknown>[];
}

function text(value: unknown, file: string, field: string): string {
  if (value === undefined) return "";
  if (typeof value !== "string") throw invalid(file, `${field} is not a string`);
  return value.replace(/\/+$/, "");
}

function flag(value: unknown, file: string, field: string): boolean {
  if (value !== undefined && typeof value !== "boolean") throw invalid(file, `${field} is not true or false`);
  return value === true;
}

function invalid(file: string, what: string, cause?: unknown): Failure {
  return new Failure("FAILED_PRECONDITION", "INVALID_HOSTS_CONFIG", `${file} cannot be used: ${what}`, {
    cause,
  });
}
