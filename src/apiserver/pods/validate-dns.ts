import { isIP } from "node:net";
import type { PodSpec } from "#k8s";
import type { FieldErrors } from "../field-errors.ts";
import { dnsSubdomainErrors, searchDomainErrors } from "../names.ts";

const MAX_SERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_TEXT = 2048;

/** Upstream's validatePodDNSConfig. */
export function validateDns(spec: PodSpec, field: string, errors: FieldErrors): void {
  const { dnsConfig: dns, dnsPolicy } = spec;
  const { nameservers = [], searches = [], options = [] } = dns ?? {};
  if (dnsPolicy === "None") {
    if (dns === undefined) return errors.required(field, "must provide `dnsConfig` when `dnsPolicy` is None");
    if (nameservers.length === 0)
      return errors.required(
        `${field}.nameservers`,
        "must provide at least one DNS nameserver when `dnsPolicy` is None",
      );
  }
  if (nameservers.length > MAX_SERVERS)
    errors.invalid(`${field}.nameservers`, nameservers, `must not have more than ${MAX_SERVERS} nameservers`);
  for (const [i, server] of nameservers.entries()) validateIp(server, `${field}.nameservers[${i}]`, errors);
  if (searches.length > MAX_SEARCHES)
    errors.invalid(`${field}.searches`, searches, `must not have more than ${MAX_SEARCHES} search paths`);
  if (Buffer.byteLength(searches.join(" ")) > MAX_SEARCH_TEXT)
    errors.invalid(
      `${field}.searches`,
      searches,
      `must not have more than ${MAX_SEARCH_TEXT} characters (including spaces) in the search list`,
    );
  for (const [i, search] of searches.entries()) {
    if (search === ".") continue;
    const domain = search.replace(/\.$/, "");
    errors.invalidAll(`${field}.searches[${i}]`, domain, searchDomainErrors(domain));
  }
  for (const [i, option] of options.entries())
    if (!option.name) errors.required(`${field}.options[${i}]`, "must not be empty");
}

/** Upstream's ValidateHostAliases. */
export function validateHostAliases(spec: PodSpec, field: string, errors: FieldErrors): void {
  for (const [i, alias] of (spec.hostAliases ?? []).entries()) {
    validateIp(alias.ip ?? "", `${field}[${i}].ip`, errors);
    for (const [j, name] of (alias.hostnames ?? []).entries())
      errors.invalidAll(`${field}[${i}].hostnames[${j}]`, name, dnsSubdomainErrors(name));
  }
}

/** An IP address; octets with leading zeros and IPv4 in IPv6 are addresses, but refused. */
export function validateIp(value: string, field: string, errors: FieldErrors): void {
  const plain = value.replace(/(^|[.:])0+(?=\d+(?:\.|$))/g, "$1");
  if (isIP(plain) === 0 || plain.includes("%"))
    errors.invalid(field, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  else if (isIP(value) === 0) errors.invalid(field, value, "must not have leading 0s");
  else if (isIP(value) === 6 && /^(?:::|(?:0{1,4}:){5})ffff:[^:]+(?::[^:]+)?$/i.test(value))
    errors.invalid(field, value, "must not be an IPv4-mapped IPv6 address");
}

/** Upstream's validatePodHostName. */
export function validateHostName(spec: PodSpec, field: string, errors: FieldErrors): void {
  const name = spec.hostnameOverride;
  if (name === undefined) return;
  const at = `${field}.hostnameOverride`;
  if (spec.setHostnameAsFQDN === true) errors.forbidden(at, "may not be specified when setHostnameAsFQDN is true");
  if (spec.hostNetwork === true) errors.forbidden(at, "may not be specified when hostNetwork is true");
  if (Buffer.byteLength(name) > 64) errors.tooLong(at, 64);
  errors.invalidAll(at, name, dnsSubdomainErrors(name));
}
