import type { Duplex } from "node:stream";
import { asksForWebSocket, chooseSubprotocol } from "#wire";
import type { ApiHost } from "../ports.ts";
import type { Access, ApiRequest, Route } from "../router.ts";
import { badRequest } from "../status.ts";
import { kubeletPath, type KubeletAccess } from "./kubelet-request.ts";
import { assigned, locateContainer, locatePod, type KubeletAddress } from "./location.ts";
import { serveLogs } from "./logs.ts";
import { forwardPorts, TUNNELLED } from "./port-forward.ts";
import { COMMAND_PROTOCOLS, translate, type Streams } from "./remote-command.ts";
import { tunnel } from "./tunnel.ts";

interface Destination {
  readonly at: KubeletAddress;
  readonly path: string;
  readonly streams?: Streams;
}

/** The subresources of a Pod that are the kubelet's to answer: log, exec, attach, portforward. */
export function streamingRoutes(host: ApiHost, access: KubeletAccess): Route[] {
  return [
    {
      methods: ["GET"],
      path: "/api/v1/namespaces/{namespace}/pods/{name}/log",
      access: allowed("get", "log"),
      handle: (request, response) => serveLogs(host, access, request, response),
    },
    upgrading("exec", access, (request) => commandDestination(host, request, "exec")),
    upgrading("attach", access, (request) => commandDestination(host, request, "attach")),
    upgrading("portforward", access, (request) => {
      const { namespace = "", name = "" } = request.params;
      const { kubelet } = locatePod(host, namespace, name);
      const query = new URLSearchParams();
      for (const port of request.query.getAll("ports").flatMap((ports) => ports.split(","))) {
        if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535)
          throw badRequest(`${JSON.stringify(port)} is not a port; use 1 to 65535`);
        query.append("port", port);
      }
      return { at: kubelet, path: kubeletPath("portForward", [namespace, name], query) };
    }),
  ];
}

/** Opening a stream creates something that runs, whatever the method. */
function allowed(verb: string, subresource: string): (params: Readonly<Record<string, string>>) => Access {
  return ({ namespace = "", name = "" }) => ({
    kind: "resource",
    verb,
    group: "",
    resource: "pods",
    subresource,
    namespace,
    name,
  });
}

function upgrading(subresource: string, access: KubeletAccess, find: (request: ApiRequest) => Destination): Route {
  return {
    methods: ["GET", "POST"],
    path: `/api/v1/namespaces/{namespace}/pods/{name}/${subresource}`,
    access: allowed("create", subresource),
    handle: (request) => {
      find(request);
      throw badRequest("Upgrade request required");
    },
    upgrade: async (request: ApiRequest, socket: Duplex, head: Buffer) => {
      const { at, path, streams } = find(request);
      if (!asksForWebSocket(request.raw) || isRuntimes(request, streams !== undefined))
        await tunnel(request, socket, head, access, at, path);
      else if (streams === undefined) await forwardPorts(request, socket, head, access, at, path);
      else await translate(request, socket, head, access, at, path, streams);
    },
  };
}

/** Subprotocols of WebSocket that a runtime speaks itself. One that offers none means the first of them. */
const COMMAND = ["channel.k8s.io", "base64.channel.k8s.io", "v4.base64.channel.k8s.io"];
const FORWARD = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/** Whether the client speaks none of the subprotocols that are served here, but one that its kubelet passes on. */
function isRuntimes({ raw }: ApiRequest, command: boolean): boolean {
  if (chooseSubprotocol(raw, command ? COMMAND_PROTOCOLS : [TUNNELLED]) !== undefined) return false;
  const offered = raw.headers["sec-websocket-protocol"] ?? "";
  const named = offered.split(",").some((one) => one.trim() !== "" && !one.includes(".authorization."));
  return !named || chooseSubprotocol(raw, command ? COMMAND : FORWARD) !== undefined;
}

function commandDestination(host: ApiHost, request: ApiRequest, endpoint: "exec" | "attach"): Destination {
  const { namespace = "", name = "" } = request.params;
  const location = locateContainer(host, namespace, name, request.query.get("container") ?? "");
  const flag = (option: string, fallback = false): boolean => {
    const value = request.query.get(option);
    return value === null ? fallback : /^(?:|1|t|true)$/i.test(value);
  };
  // Attach shows output unless it is told not to.
  const shown = endpoint === "attach" && !request.query.has("stdout") && !request.query.has("stderr");
  const streams = {
    stdin: flag("stdin"),
    stdout: flag("stdout", shown),
    stderr: flag("stderr", shown),
    tty: flag("tty"),
  };
  if (!streams.stdin && !streams.stdout && !streams.stderr)
    throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  const commands = request.query.getAll("command");
  if (endpoint === "exec" && commands.length === 0)
    throw badRequest("you must specify at least one command for the container");
  const query = new URLSearchParams();
  for (const command of endpoint === "exec" ? commands : []) query.append("command", command);
  if (streams.stdin) query.set("input", "1");
  if (streams.stdout) query.set("output", "1");
  if (streams.stderr) query.set("error", "1");
  if (streams.tty) query.set("tty", "1");
  return {
    at: assigned(location.kubelet, name),
    path: kubeletPath(endpoint, [namespace, name, location.container], query),
    streams,
  };
}
