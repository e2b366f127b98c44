import {
  GO_MAP,
  goSyntaxError,
  goTypeError,
  isRecord,
  jsonEqual,
  type ConfigMap,
  type Secret,
  type ServiceAccount,
} from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { subdomainName } from "../meta.ts";
import { configKeyErrors } from "../names.ts";
import { AGE, NAME, ageOf, column } from "./columns.ts";
import { ALL_VERBS, type Resource } from "./resource.ts";

const MAX_DATA = 1024 * 1024;
const IMMUTABLE = "field is immutable when `immutable` is set";

const common = {
  group: "",
  version: "v1",
  namespaced: true,
  verbs: ALL_VERBS,
  hasStatus: false,
  generations: false,
  nameErrors: subdomainName,
} as const;

/** Why Go cannot read a text as a JSON object; undefined where it can. */
function unreadable(text: string): string | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return value === null || isRecord(value) ? undefined : goTypeError(value, GO_MAP);
  } catch {
    return goSyntaxError(text);
  }
}

function dockerConfig(secret: Secret, key: string, errors: FieldErrors): void {
  const value = secret.data?.[key];
  const field = `data[${key}]`;
  if (value === undefined) return errors.required(field);
  const why = unreadable(Buffer.from(value, "base64").toString());
  if (why !== undefined) errors.invalid(field, "<secret contents redacted>", why);
}

export const secrets: Resource = {
  ...common,
  resource: "secrets",
  singular: "secret",
  kind: "Secret",
  type: "v1.Secret",
  storedAs: "secrets",
  returnsDeleted: false,
  default(object) {
    const secret = object as Secret;
    if (!secret.type) secret.type = "Opaque";
    if (secret.stringData === undefined) return;
    const data = { ...secret.data };
    for (const [key, value] of Object.entries(secret.stringData)) data[key] = Buffer.from(value).toString("base64");
    secret.data = data;
    delete secret.stringData;
  },
  validate(object, errors) {
    const secret = object as Secret;
    let size = 0;
    for (const [key, value] of Object.entries(secret.data ?? {})) {
      for (const error of configKeyErrors(key)) errors.invalid(`data[${key}]`, key, error);
      size += Buffer.byteLength(value, "base64");
    }
    if (size > MAX_DATA) errors.tooLong("data", MAX_DATA);
    switch (secret.type) {
      case "kubernetes.io/dockerconfigjson":
        return dockerConfig(secret, ".dockerconfigjson", errors);
      case "kubernetes.io/dockercfg":
        return dockerConfig(secret, ".dockercfg", errors);
      case "kubernetes.io/tls":
        for (const key of ["tls.crt", "tls.key"]) if (secret.data?.[key] === undefined) errors.required(`data[${key}]`);
        return;
      case "kubernetes.io/basic-auth":
        if (secret.data?.["username"] === undefined && secret.data?.["password"] === undefined) {
          errors.required("data[username]");
          errors.required("data[password]");
        }
        return;
      case "kubernetes.io/ssh-auth":
        if (!secret.data?.["ssh-privatekey"]) errors.required("data[ssh-privatekey]");
        return;
      case "kubernetes.io/service-account-token":
        if (!secret.metadata?.annotations?.["kubernetes.io/service-account.name"])
          errors.required("metadata.annotations[kubernetes.io/service-account.name]");
        return;
      case undefined:
      default:
    }
  },
  validateUpdate(object, before, errors) {
    const secret = object as Secret;
    const old = before as Secret;
    if (secret.type !== old.type) errors.invalid("type", secret.type ?? "", "field is immutable");
    if (old.immutable !== true) return;
    if (secret.immutable !== true) errors.forbidden("immutable", IMMUTABLE);
    if (!jsonEqual(secret.data ?? {}, old.data ?? {})) errors.forbidden("data", IMMUTABLE);
  },
  fields: (object) => ({ type: (object as Secret).type ?? "" }),
  columns: [
    NAME,
    column(
      "Type",
      "Used to facilitate programmatic handling of secret data. More info: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    ),
    column("Data", "Data contains the secret data."),
    AGE,
  ],
  cells(object, now) {
    const secret = object as Secret;
    const { name, creationTimestamp } = secret.metadata ?? {};
    return [name, secret.type, Object.keys(secret.data ?? {}).length, ageOf(creationTimestamp, now)];
  },
};

export const configMaps: Resource = {
  ...common,
  resource: "configmaps",
  singular: "configmap",
  kind: "ConfigMap",
  type: "v1.ConfigMap",
  shortNames: ["cm"],
  storedAs: "configmaps",
  returnsDeleted: false,
  validate(object, errors) {
    const map = object as ConfigMap;
    let size = 0;
    for (const [key, value] of Object.entries(map.data ?? {})) {
      for (const error of configKeyErrors(key)) errors.invalid(`data[${key}]`, key, error);
      if (map.binaryData?.[key] !== undefined)
        errors.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
      size += Buffer.byteLength(value);
    }
    for (const [key, value] of Object.entries(map.binaryData ?? {})) {
      for (const error of configKeyErrors(key)) errors.invalid(`binaryData[${key}]`, key, error);
      size += Buffer.byteLength(value, "base64");
    }
    if (size > MAX_DATA) errors.tooLong("", MAX_DATA);
  },
  validateUpdate(object, before, errors) {
    const map = object as ConfigMap;
    const old = before as ConfigMap;
    if (old.immutable !== true) return;
    if (map.immutable !== true) errors.forbidden("immutable", IMMUTABLE);
    if (!jsonEqual(map.data ?? {}, old.data ?? {})) errors.forbidden("data", IMMUTABLE);
    if (!jsonEqual(map.binaryData ?? {}, old.binaryData ?? {})) errors.forbidden("binaryData", IMMUTABLE);
  },
  columns: [NAME, column("Data", "Data contains the configuration data."), AGE],
  cells(object, now) {
    const map = object as ConfigMap;
    const keys = Object.keys(map.data ?? {}).length + Object.keys(map.binaryData ?? {}).length;
    return [map.metadata?.name, keys, ageOf(map.metadata?.creationTimestamp, now)];
  },
};

export const serviceAccounts: Resource = {
  ...common,
  resource: "serviceaccounts",
  singular: "serviceaccount",
  kind: "ServiceAccount",
  type: "v1.ServiceAccount",
  shortNames: ["sa"],
  storedAs: "serviceaccounts",
  returnsDeleted: true,
  columns: [
    NAME,
    column(
      "Secrets",
      "Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount are allowed to use.",
    ),
    AGE,
  ],
  cells(object, now) {
    const account = object as ServiceAccount;
    return [account.metadata?.name, (account.secrets ?? []).length, ageOf(account.metadata?.creationTimestamp, now)];
  },
};
