import { Failure } from "#base";
import type { ApiResponse, EndpointClient } from "./endpoint-client.ts";
import { statusFailure } from "./status-failure.ts";

/** The `Location` of an upload, resolved. @throws Failure INVALID_LOCATION */
export function locationOf(answer: ApiResponse): URL {
  const location = answer.response.headers["location"];
  if (typeof location === "string" && URL.canParse(location, answer.url.href)) {
    const url = new URL(location, answer.url);
    // A registry behind a proxy that ends TLS names itself with http.
    if (answer.url.protocol === "https:" && url.hostname === answer.url.hostname) url.protocol = "https:";
    return url;
  }
  throw new Failure(
    "UNAVAILABLE",
    "INVALID_LOCATION",
    `${answer.url.host} accepted an upload without saying where to send it`,
  );
}

export function refused(method: string, answer: ApiResponse, client: EndpointClient): Promise<Failure> {
  return statusFailure(method, answer.url, answer.response, { secrets: client.secrets, refused: client.refused });
}
