import { messageOf } from "#base";
import { decode } from "#k8s";
import { readBody, type Validation } from "./body.ts";
import { FieldErrors } from "./field-errors.ts";
import { flag, integer } from "./list-options.ts";
import type { DeleteOptions } from "./deletion.ts";
import type { ApiRequest } from "./router.ts";
import { badRequest } from "./status.ts";

/** Whether `dryRun=All` was asked; any other value is refused. */
export function isDryRun(query: URLSearchParams): boolean {
  const errors = new FieldErrors();
  const dryRun = dryRunOf(query.getAll("dryRun"), errors);
  errors.check("CreateOptions", META, "");
  return dryRun;
}

/** How an object is written, as the query of a request says. */
export interface WriteQuery {
  readonly dryRun: boolean;
  /** Who writes: as it says, or by the name of its program. */
  readonly manager: string;
  readonly validation: Validation;
  /** Whether an apply takes fields over from others. */
  readonly force: boolean;
}

const META = "meta.k8s.io";
const LONGEST_MANAGER = 128;
const VALIDATIONS = ["", "Ignore", "Strict", "Warn"];

/** The options of a create, an update, a patch or an apply. Throws 422 with all that is wrong with them. */
export function writeQuery(
  { query, raw }: Pick<ApiRequest, "query" | "raw">,
  of: "CreateOptions" | "UpdateOptions" | "PatchOptions" | "ApplyOptions",
): WriteQuery {
  const errors = new FieldErrors();
  const manager = query.get("fieldManager") ?? "";
  if (of === "ApplyOptions" && manager === "") errors.required("fieldManager", "is required for apply patch");
  if (of === "PatchOptions" && query.has("force"))
    errors.forbidden("force", "may not be specified for non-apply patch");
  checkManager(manager, errors);
  const dryRun = dryRunOf(query.getAll("dryRun"), errors);
  const validation = query.get("fieldValidation") ?? "";
  if (!VALIDATIONS.includes(validation)) errors.unsupported("fieldValidation", validation, VALIDATIONS);
  errors.check(of === "ApplyOptions" ? "PatchOptions" : of, META, "");
  const program = (raw.headers["user-agent"] ?? "")
    .split("/")[0]
    ?.replaceAll(UNPRINTABLE, "")
    .slice(0, LONGEST_MANAGER);
  return {
    dryRun,
    manager: manager || program || "unknown",
    validation: validation === "" ? "Warn" : (validation as Validation),
    force: query.has("force") && !/^(0|false)$/i.test(query.get("force") ?? ""),
  };
}

const UNPRINTABLE = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu;

function checkManager(manager: string, errors: FieldErrors): void {
  if (Buffer.byteLength(manager) > LONGEST_MANAGER) errors.tooLong("fieldManager", LONGEST_MANAGER);
  for (const { 0: char, index } of manager.matchAll(UNPRINTABLE)) {
    const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    const at = Buffer.byteLength(manager.slice(0, index));
    errors.invalid("fieldManager", manager, `invalid character U+${code} (at position ${at})`);
  }
}

function dryRunOf(values: readonly string[], errors: FieldErrors): boolean {
  if (values.some((value) => value !== "All")) errors.unsupported("dryRun", values, ["All"]);
  return values.length > 0;
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
