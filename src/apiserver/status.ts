import { Failure, messageOf, type Code } from "#base";

export interface StatusCause {
  readonly reason?: string;
  readonly message: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

/** meta/v1 Status, the body of every error. */
export interface StatusBody {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: object;
  readonly status: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code: number;
}

const GRPC: Readonly<Record<number, Code>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  405: "UNIMPLEMENTED",
  409: "ABORTED",
  410: "OUT_OF_RANGE",
  415: "INVALID_ARGUMENT",
  422: "INVALID_ARGUMENT",
  429: "RESOURCE_EXHAUSTED",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** An answer that is not a success, in the words clients match: HTTP status, reason, message and details. */
export class StatusError extends Failure {
  readonly body: StatusBody;

  constructor(code: number, reason: string, message: string, details?: StatusDetails, metadata: object = {}) {
    super(GRPC[code] ?? "INTERNAL", reason, message);
    this.name = "StatusError";
    this.body = {
      kind: "Status",
      apiVersion: "v1",
      metadata,
      status: "Failure",
      message,
      ...(reason === "" ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    };
  }
}

/** A resource as error details name it: the plural, and the group where it is not the core one. */
export interface ResourceName {
  readonly group: string;
  readonly resource: string;
}

const detailsOf = (of: ResourceName, name: string): StatusDetails => ({
  name,
  ...(of.group === "" ? {} : { group: of.group }),
  kind: of.resource,
});
const qualified = (of: ResourceName): string => (of.group === "" ? of.resource : `${of.resource}.${of.group}`);

export const core = (resource: string): ResourceName => ({ group: "", resource });

export function notFound(of: ResourceName, name: string): StatusError {
  return new StatusError(404, "NotFound", `${qualified(of)} "${name}" not found`, detailsOf(of, name));
}

/** What the server says to a path that names no resource it has. */
export function unknownResource(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

export function alreadyExists(of: ResourceName, name: string, terminating = false): StatusError {
  const prefix = terminating ? "object is being deleted: " : "";
  return new StatusError(
    409,
    "AlreadyExists",
    `${prefix}${qualified(of)} "${name}" already exists`,
    detailsOf(of, name),
  );
}

export function conflict(of: ResourceName, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualified(of)} "${name}": ${why}`;
  return new StatusError(409, "Conflict", message, detailsOf(of, name));
}

export const CHANGED =
  "the object has been modified; please apply your changes to the latest version and try again" as const;

export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

export function methodNotAllowed(): StatusError {
  return new StatusError(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );
}

export function forbidden(of: ResourceName, name: string, why: string): StatusError {
  const who = name === "" ? qualified(of) : `${qualified(of)} "${name}"`;
  const details = { ...(name === "" ? {} : { name }), ...(of.group ? { group: of.group } : {}), kind: of.resource };
  return new StatusError(403, "Forbidden", `${who} is forbidden: ${why}`, details);
}

export function unauthorized(): StatusError {
  return new StatusError(401, "Unauthorized", "Unauthorized");
}

/** `metadata` may say how to go on all the same. */
export function expired(message: string, metadata: { readonly continue?: string } = {}): StatusError {
  return new StatusError(410, "Expired", message, undefined, metadata);
}

/** The Status of anything thrown. What is no StatusError is an internal error, and keeps its one-line message. */
export function statusOf(error: unknown): StatusBody {
  if (error instanceof StatusError) return error.body;
  const message = `Internal error occurred: ${messageOf(error)}`;
  return new StatusError(500, "InternalError", message, { causes: [{ message: messageOf(error) }] }).body;
}
