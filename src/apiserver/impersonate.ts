import type { IncomingMessage } from "node:http";
import { ANONYMOUS } from "./authenticate.ts";
import type { Access, User } from "./router.ts";
import { StatusError } from "./status.ts";

const AUTHENTICATED = "system:authenticated";
const UNAUTHENTICATED = "system:unauthenticated";
const EXTRA = "impersonate-extra-";

/**
 * Whom a request is made as: its user, or whom the headers `Impersonate-*` name (`kubectl --as`). `admit` throws where the user
 * may not be that.
 * https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
 */
export function actingUser(
  user: User,
  { headersDistinct: headers }: Pick<IncomingMessage, "headersDistinct">,
  admit: (access: Access) => void,
): User {
  const [name] = headers["impersonate-user"] ?? [];
  const groups = headers["impersonate-group"] ?? [];
  const [uid] = headers["impersonate-uid"] ?? [];
  const extra = Object.fromEntries(
    Object.entries(headers)
      .filter(([header]) => header.startsWith(EXTRA))
      .map(([header, values = []]) => [decoded(header.slice(EXTRA.length)), values]),
  );
  if (!name) {
    if (groups.length > 0 || uid !== undefined || Object.keys(extra).length > 0)
      throw new StatusError(500, "InternalError", "requested a group, uid or extra without impersonating a user");
    return user;
  }
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  const [, namespace = "", accountName = ""] = account ?? [];
  const may = (group: string, resource: string, of: string, more: object = {}): void =>
    admit({ kind: "resource", verb: "impersonate", group, resource, name: of, ...more });
  if (account !== null) may("", "serviceaccounts", accountName, { namespace });
  else may("", "users", name);
  for (const group of groups) may("", "groups", group);
  if (uid !== undefined) may("authentication.k8s.io", "uids", uid);
  for (const [key, values] of Object.entries(extra))
    for (const value of values) may("authentication.k8s.io", "userextras", value, { subresource: key });
  const own =
    account === null || groups.length > 0 ? groups : ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
  const said = own.includes(AUTHENTICATED) || own.includes(UNAUTHENTICATED);
  const known = name === ANONYMOUS.name ? UNAUTHENTICATED : AUTHENTICATED;
  return {
    name,
    groups: said ? own : [...own, known],
    ...(uid === undefined ? {} : { uid }),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
