import { messageOf } from "#base";
import { decode } from "#k8s";
import { readBody } from "./body.ts";
import { FieldErrors } from "./field-errors.ts";
import { flag, integer } from "./list-options.ts";
import type { DeleteOptions } from "./objects.ts";
import type { ApiRequest } from "./router.ts";
import { StatusError, badRequest } from "./status.ts";

/** Whether `dryRun=All` was asked; any other value is refused. */
export function isDryRun(query: URLSearchParams): boolean {
  const values = query.getAll("dryRun").filter((value) => value !== "");
  for (const value of values) if (value !== "All") throw invalidDryRun(value);
  return values.length > 0;
}

function invalidDryRun(value: string): StatusError {
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: "All"`;
  return new StatusError(422, "Invalid", `CreateOptions.meta.k8s.io "" is invalid: dryRun: ${message}`, {
    group: "meta.k8s.io",
    kind: "CreateOptions",
    causes: [{ reason: "FieldValueNotSupported", message, field: "dryRun" }],
  });
}

export function invalidPatchOptions(field: string, message: string): StatusError {
  return new StatusError(422, "Invalid", `PatchOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
    group: "meta.k8s.io",
    kind: "PatchOptions",
    causes: [{ reason: "FieldValueRequired", message, field }],
  });
}

/** The options of a deletion, from its body or its query. */
export async function deleteOptions(request: ApiRequest): Promise<DeleteOptions> {
  return deleteOptionsFrom(await readBody(request, { kind: "DeleteOptions" }), request.query);
}

/** The options of a deletion, from a `DeleteOptions`, or without one from a query. Throws 400 and 422. */
export function deleteOptionsFrom(value: unknown, query: URLSearchParams): DeleteOptions {
  const given = value === undefined ? ofQuery(query) : ofBody(value);
  const { gracePeriodSeconds, preconditions, orphanDependents: orphan, dryRun = [] } = given;
  const errors = new FieldErrors();
  const policy = given.propagationPolicy;
  if (orphan !== undefined && policy !== undefined)
    errors.invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set");
  if (policy !== undefined && !POLICIES.includes(policy))
    errors.unsupported("propagationPolicy", policy, [...POLICIES, "nil"]);
  if (dryRun.some((one) => one !== "All")) errors.unsupported("dryRun", dryRun, ["All"]);
  errors.check("DeleteOptions", "meta.k8s.io", "");
  const propagationPolicy = orphan === undefined ? policy : orphan ? "Orphan" : "Background";
  return {
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    ...(preconditions === undefined ? {} : { preconditions }),
    ...(propagationPolicy === undefined ? {} : { propagationPolicy }),
    dryRun: dryRun.length > 0,
  };
}

const POLICIES = ["Foreground", "Background", "Orphan"];

interface Given {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string };
  readonly propagationPolicy?: string;
  readonly orphanDependents?: boolean;
  readonly dryRun?: readonly string[];
}

function ofBody(value: unknown): Given {
  try {
    return decode(value, "metav1.DeleteOptions").value;
  } catch (cause) {
    throw badRequest(messageOf(cause));
  }
}

function ofQuery(query: URLSearchParams): Given {
  const grace = integer(query, "gracePeriodSeconds");
  const orphan = flag(query, "orphanDependents");
  const policy = query.get("propagationPolicy");
  return {
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    ...(orphan === undefined ? {} : { orphanDependents: orphan }),
    ...(policy === null ? {} : { propagationPolicy: policy }),
    dryRun: query.getAll("dryRun"),
  };
}
