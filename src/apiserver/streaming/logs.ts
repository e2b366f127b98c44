import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { ApiHost } from "../ports.ts";
import type { ApiRequest } from "../router.ts";
import { badRequest, StatusError, type StatusCause } from "../status.ts";
import { askKubelet, errorText, kubeletPath, type KubeletAccess } from "./kubelet-request.ts";
import { locateContainer } from "./location.ts";

const FLAGS = ["follow", "previous", "timestamps"];
const NUMBERS: Readonly<Record<string, number>> = { sinceSeconds: 1, tailLines: 0, limitBytes: 1 };

/** `GET …/pods/{name}/log`: the lines as the kubelet sends them, for as long as it does. */
export async function serveLogs(
  host: ApiHost,
  access: KubeletAccess,
  request: ApiRequest,
  response: ServerResponse,
): Promise<void> {
  const { namespace = "", name = "" } = request.params;
  const query = logOptions(request.query, name);
  const { container, kubelet } = locateContainer(host, namespace, name, request.query.get("container") ?? "");
  response.setHeader("Content-Type", "text/plain");
  if (kubelet === undefined) {
    response.end();
    return;
  }
  const answer = await askKubelet(access, kubelet, {
    method: "GET",
    path: kubeletPath("containerLogs", [namespace, name, container], query),
    signal: request.signal,
  });
  const { statusCode = 500 } = answer.response;
  if (statusCode !== 200) throw await refusal(answer.response, statusCode, name);
  response.flushHeaders();
  // A client that leaves, and a kubelet that does, both end the flow; nothing is left to tell anyone.
  await pipeline(answer.response, response).catch(() => response.destroy());
}

/** The query as a kubelet takes it. @throws StatusError 422, or 400 for what does not parse */
function logOptions(query: URLSearchParams, pod: string): URLSearchParams {
  const causes: StatusCause[] = [];
  const kept = new URLSearchParams();
  for (const name of FLAGS) {
    const value = query.get(name);
    if (value === null) continue;
    const flag = value === "" || /^(?:1|t|true)$/i.test(value);
    if (!flag && !/^(?:0|f|false)$/i.test(value))
      throw badRequest(`strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
    if (flag) kept.set(name, "true");
  }
  for (const [name, least] of Object.entries(NUMBERS)) {
    const value = query.get(name);
    if (value === null) continue;
    if (!/^[-+]?\d+$/.test(value))
      throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
    if (Number(value) < least) {
      const must = least === 0 ? "greater than or equal to 0" : "greater than 0";
      causes.push(invalid(name, `Invalid value: ${Number(value)}: must be ${must}`));
    }
    kept.set(name, String(Number(value)));
  }
  const since = query.get("sinceTime");
  if (since !== null) {
    if (Number.isNaN(Date.parse(since)))
      throw badRequest(`parsing time ${JSON.stringify(since)} as "2006-01-02T15:04:05Z07:00": cannot parse`);
    if (kept.has("sinceSeconds"))
      causes.push({
        reason: "FieldValueForbidden",
        message: "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        field: "",
      });
    kept.set("sinceTime", since);
  }
  const stream = query.get("stream");
  if (stream !== null) {
    if (!["All", "Stdout", "Stderr"].includes(stream))
      causes.push({
        reason: "FieldValueNotSupported",
        message: `Unsupported value: ${JSON.stringify(stream)}: supported values: "All", "Stderr", "Stdout"`,
        field: "stream",
      });
    kept.set("stream", stream);
  }
  if (causes.length > 0) {
    const said = causes.map((one) => (one.field ? `${one.field}: ${one.message}` : one.message));
    const list = said.length === 1 ? said.join("") : `[${said.join(", ")}]`;
    throw new StatusError(422, "Invalid", `PodLogOptions ${JSON.stringify(pod)} is invalid: ${list}`, {
      name: pod,
      kind: "PodLogOptions",
      causes,
    });
  }
  return kept;
}

function invalid(field: string, message: string): StatusCause {
  return { reason: "FieldValueInvalid", message, field };
}

const REASONS: Readonly<Record<number, string>> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
};

async function refusal(from: Parameters<typeof errorText>[0], status: number, pod: string): Promise<StatusError> {
  const text = await errorText(from);
  if (status === 400) return badRequest(text);
  if (status === 500) return new StatusError(500, "InternalError", `Internal error occurred: ${text}`);
  return new StatusError(status, REASONS[status] ?? "InternalError", text, { name: pod, kind: "pods" });
}
