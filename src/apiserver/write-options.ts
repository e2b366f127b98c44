import { messageOf } from "#base";
import { decode } from "#k8s";
import { readBody } from "./body.ts";
import { FieldErrors } from "./field-errors.ts";
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

/** The options of a deletion, from a `DeleteOptions` or a query. Throws 400 and 422. */
export function deleteOptionsFrom(value: unknown, query: URLSearchParams): DeleteOptions {
  let given: Record<string, unknown> = {};
  if (value !== undefined)
    try {
      given = decode(value, "metav1.DeleteOptions").value;
    } catch (cause) {
      throw badRequest(messageOf(cause));
    }
  const grace =
    given["gracePeriodSeconds"] ??
    (query.has("gracePeriodSeconds") ? Number(query.get("gracePeriodSeconds")) : undefined);
  if (grace !== undefined && !Number.isInteger(grace)) throw badRequest("gracePeriodSeconds must be a whole number");
  const policy = (given["propagationPolicy"] as string | undefined) ?? query.get("propagationPolicy") ?? undefined;
  const policies = ["Foreground", "Background", "Orphan"];
  if (policy !== undefined && !policies.includes(policy)) {
    const errors = new FieldErrors();
    errors.unsupported("propagationPolicy", policy, [...policies, "nil"]);
    errors.check("DeleteOptions", "meta.k8s.io", "");
  }
  const dry = given["dryRun"] as string[] | undefined;
  for (const value of dry ?? []) if (value !== "All") throw invalidDryRun(value);
  return {
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace as number }),
    ...(given["preconditions"] === undefined ? {} : { preconditions: given["preconditions"] as { uid?: string } }),
    ...(policy === undefined ? {} : { propagationPolicy: policy }),
    dryRun: (dry ?? []).length > 0 || isDryRun(query),
  };
}
