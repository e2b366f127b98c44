import { MEDIA } from "#oci";
import { startFakeRegistry } from "../../test/support/fake-registry.ts";
import { filesIn } from "../../test/support/files.ts";
import { sourceContract } from "../oci/source.contract.ts";
import { createRegistry, noCredentials } from "./index.ts";

sourceContract("registry", async (t, { bytes, reference, manifest, referrer }) => {
  const server = await startFakeRegistry({ referrers: true });
  for (const [digest, content] of bytes) server.blobs.set(digest, Buffer.from(content));
  for (const { digest } of [manifest, referrer]) {
    const stored = { mediaType: MEDIA.manifest, bytes: Buffer.from(bytes.get(digest) ?? []) };
    server.manifests.set(`${reference.repository}@${digest}`, stored);
    if (digest === manifest.digest) server.manifests.set(`${reference.repository}:${reference.tag}`, stored);
  }
  const dir = await filesIn(t, { [`${reference.registry}/hosts.toml`]: `server = "${server.url}"` });
  const registry = createRegistry({ hosts: { certsDir: dir }, credentials: noCredentials, userAgent: "orlop/test" });
  t.after(async () => {
    await registry[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  return registry.source(reference);
});
