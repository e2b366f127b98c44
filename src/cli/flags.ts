import { hostname } from "node:os";
import { InvalidArgumentError, Option, type Command } from "commander";
import type { Places } from "./parts.ts";

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

export function withNodeName(command: Command): Command {
  return command.addOption(
    new Option("--node-name <name>", "the name of this node").argParser(nodeName).default(defaultNodeName()),
  );
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
