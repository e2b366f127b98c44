import { Failure, type CallOptions } from "#base";
import { algorithmOf, hexOf, MANIFEST_LIMIT, MEDIA, parseManifest, type Descriptor, type Digest } from "#oci";
import { readAll } from "./body.ts";
import type { ApiResponse, EndpointClient } from "./endpoint-client.ts";
import { refused } from "./upload-answer.ts";

/** distribution-spec, "Referrers Tag Schema". */
export function referrersTag(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest).slice(0, 64)}`;
}

/** The answer's body is dumped. @throws Failure for every status but success */
export async function putManifest(
  client: EndpointClient,
  name: string,
  mediaType: string,
  bytes: Uint8Array,
  call: CallOptions | undefined,
): Promise<ApiResponse> {
  const answer = await client.send({
    method: "PUT",
    path: `/${client.endpoint.repository}/manifests/${name}`,
    headers: { "content-type": mediaType, "content-length": String(bytes.byteLength) },
    body: () => bytes,
    signal: call?.signal,
  });
  if (answer.response.statusCode !== 201 && answer.response.statusCode !== 200)
    throw await refused("PUT", answer, client);
  await answer.response.body.dump();
  return answer;
}

/**
 * For a manifest with a subject in a registry that has no referrers API: lists it under the subject's tag. Two clients that do
 * this at one moment may lose one entry; the specification has nothing against it. distribution-spec, "Pushing Manifests with Subject"
 */
export async function addToReferrersTag(
  client: EndpointClient,
  descriptor: Descriptor,
  bytes: Uint8Array,
  call: CallOptions | undefined,
): Promise<void> {
  const manifest = parseManifest(bytes, descriptor.mediaType);
  if (manifest.kind !== "manifest" || manifest.subject === undefined) return;
  const tag = referrersTag(manifest.subject.digest);
  const known = await readIndex(client, tag, call);
  if (known.some(({ digest }) => digest === descriptor.digest)) return;
  const artifactType = manifest.artifactType ?? manifest.config.mediaType;
  const { annotations } = manifest;
  const entry = { ...descriptor, artifactType, ...(annotations === undefined ? {} : { annotations }) };
  const index = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [...known, entry] };
  await putManifest(client, tag, MEDIA.index, Buffer.from(JSON.stringify(index)), call);
}

async function readIndex(
  client: EndpointClient,
  tag: string,
  call: CallOptions | undefined,
): Promise<readonly Descriptor[]> {
  const path = `/${client.endpoint.repository}/manifests/${tag}`;
  const answer = await client.send({ method: "GET", path, headers: { accept: MEDIA.index }, signal: call?.signal });
  const { response, url } = answer;
  if (response.statusCode === 404) {
    await response.body.dump();
    return [];
  }
  if (response.statusCode !== 200) throw await refused("GET", answer, client);
  const index = parseManifest(await readAll(response, url, MANIFEST_LIMIT, call?.signal), MEDIA.index);
  if (index.kind === "index") return index.manifests;
  throw new Failure("FAILED_PRECONDITION", "INVALID_MANIFEST", `${url.host}: the tag ${tag} is no index of referrers`);
}
