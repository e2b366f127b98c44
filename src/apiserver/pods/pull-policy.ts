/** The pull policy of an image whose Pod names none: Always where the tag is `latest`, given or implied. */
export function defaultPullPolicy(image: string): "Always" | "IfNotPresent" {
  return tagOf(image) === "latest" ? "Always" : "IfNotPresent";
}

const NAME =
  /^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)\/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})$/;
/** What could be an image ID is no name. */
const ID = /^[a-f0-9]{64}$/;

/** The tag of a reference: `latest` where it has neither tag nor digest, undefined where it cannot be parsed. */
function tagOf(image: string): string | undefined {
  const [rest = "", digest] = image.split(/@(.*)/s);
  if ((digest !== undefined && !DIGEST.test(digest)) || ID.test(image)) return undefined;
  const colon = rest.lastIndexOf(":");
  const tagged = colon > rest.lastIndexOf("/");
  const name = tagged ? rest.slice(0, colon) : rest;
  const tag = tagged ? rest.slice(colon + 1) : undefined;
  if (!NAME.test(name) || name.length > 255 || (tag !== undefined && !TAG.test(tag))) return undefined;
  return tag ?? (digest === undefined ? "latest" : undefined);
}
