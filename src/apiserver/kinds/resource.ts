import type { KubeObject, ObjectMeta } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import type { PodRules } from "../pods/rules.ts";
import type { ResourceName } from "../status.ts";

/** How the server was started, as far as objects are concerned. */
export interface Policy {
  readonly imageVolume: boolean;
  readonly alwaysPullImages: boolean;
  readonly podRules: PodRules;
}

export interface Column {
  readonly name: string;
  readonly type: "string" | "integer";
  readonly format?: string;
  readonly description: string;
  /** Columns above 0 show with `-o wide` only. */
  readonly priority?: number;
}

/** An object of any kind that may be changed. */
export type AnyObject = Omit<KubeObject, "metadata"> & Record<string, unknown> & { metadata: MutableMeta };

export type MutableMeta = { -readonly [K in keyof ObjectMeta]: ObjectMeta[K] };

export type Verb = "create" | "delete" | "deletecollection" | "get" | "list" | "patch" | "update" | "watch";

export const ALL_VERBS: readonly Verb[] = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
];

/** One resource of one API group: how it is named, what it holds, and what happens to its objects on their way in. */
export interface Resource extends ResourceName {
  readonly version: string;
  readonly singular: string;
  readonly kind: string;
  /** The type in the schema (`v1.Pod`). */
  readonly type: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly namespaced: boolean;
  readonly verbs: readonly Verb[];
  /** Its name in storage; the two groups of events share one. */
  readonly storedAs: string;
  readonly hasStatus: boolean;
  /** True where the server counts generations. */
  readonly generations: boolean;
  /** A deletion answers with the object rather than with a Status. */
  readonly returnsDeleted: boolean;
  /** An update must say which version it is made from. */
  readonly needsVersion?: boolean;
  /** An update may create the object. */
  readonly createsOnUpdate?: boolean;
  /** From the version of this group to the stored one, and back. */
  readonly toStored?: (object: AnyObject) => AnyObject;
  readonly fromStored?: (object: KubeObject) => AnyObject;
  readonly nameErrors: (name: string) => string[];
  /** Fills in what is open: runs on everything decoded. */
  default?(object: AnyObject, policy: Policy): void;
  /** Runs on a new object before its validation. */
  prepareCreate?(object: AnyObject, policy: Policy): void;
  /** Completes a new, valid object from other stored ones. No manager owns what it adds. */
  admit?(object: AnyObject, find: (storedAs: string, namespace: string, name: string) => KubeObject | undefined): void;
  /** Runs on an update before its validation. */
  prepareUpdate?(object: AnyObject, before: AnyObject, policy: Policy): void;
  /** Runs on an update of the status before its validation. */
  prepareStatus?(object: AnyObject, before: AnyObject): void;
  /** The same for an update of the ephemeral containers alone. */
  prepareEphemeral?(object: AnyObject, before: AnyObject): void;
  validateEphemeral?(object: AnyObject, before: AnyObject, errors: FieldErrors, policy: Policy): void;
  validateStatus?(object: AnyObject, before: AnyObject, errors: FieldErrors): void;
  /** Runs on every write of the whole object; a Pod's update is judged by `validateUpdate` alone. */
  validate?(object: AnyObject, errors: FieldErrors, policy: Policy): void;
  /** What is asked of a new object besides. */
  validateNew?(object: AnyObject, errors: FieldErrors): void;
  validateUpdate?(object: AnyObject, before: AnyObject, errors: FieldErrors, policy: Policy): void;
  /** What an object does that this node cannot: told to the client, never refused. */
  warnings?(object: AnyObject): string[];
  /** The fields a field selector may name, beside `metadata.name` and `metadata.namespace`. */
  fields?(object: KubeObject): Readonly<Record<string, string>>;
  readonly columns: readonly Column[];
  cells(object: KubeObject, now: Date): unknown[];
}

export const apiVersionOf = (resource: { readonly group: string; readonly version: string }): string =>
  resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
