import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { filesIn } from "../../test/support/files.ts";
import { sourceContract, type Content } from "../oci/source.contract.ts";
import { openLayout } from "./index.ts";

async function layoutIn(t: TestContext, { bytes, reference, manifest, referrer }: Content): Promise<string> {
  const annotations = { "org.opencontainers.image.ref.name": reference.tag };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }, referrer] };
  const dir = await filesIn(t, {
    "layout/oci-layout": '{"imageLayoutVersion":"1.0.0"}',
    "layout/index.json": JSON.stringify(index),
  });
  await mkdir(join(dir, "layout/blobs/sha256"), { recursive: true });
  for (const [digest, content] of bytes) await writeFile(join(dir, "layout/blobs", digest.replace(":", "/")), content);
  return dir;
}

sourceContract("oci", async (t, content) => {
  const layout = await openLayout({ kind: "oci", path: join(await layoutIn(t, content), "layout") });
  t.after(() => layout[Symbol.asyncDispose]());
  return layout;
});

sourceContract("oci-archive", async (t, content) => {
  const dir = await layoutIn(t, content);
  const path = join(dir, "layout.tar");
  execFileSync("tar", ["-C", join(dir, "layout"), "-cf", path, "."]);
  const layout = await openLayout({ kind: "oci-archive", path });
  t.after(() => layout[Symbol.asyncDispose]());
  return layout;
});
