import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEngine, type Engine, type EngineOptions } from "#engine";
import { linuxKernel } from "#kernel";
import { createRegistry, noCredentials } from "#registry";

export interface TestEngine extends AsyncDisposable {
  readonly engine: Engine;
  /** Everything of it: `data`, `run`, and room for the test's own files. */
  readonly dir: string;
}

/** An engine over directories of its own, with the real kernel. Disposal unmounts and removes everything. */
export async function startEngine(
  options: Partial<EngineOptions> & { readonly dir?: string } = {},
): Promise<TestEngine> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "orlop-engine-"));
  const registry = createRegistry({ hosts: {}, credentials: noCredentials, userAgent: "orlop/test" });
  const kernel = options.kernel ?? linuxKernel();
  const removed = async (): Promise<void> => {
    await registry[Symbol.asyncDispose]();
    if (options.dir !== undefined) return;
    for (const { target } of kernel.mounts().toReversed()) if (target.startsWith(`${dir}/`)) kernel.unmount(target);
    rmSync(dir, { recursive: true, force: true });
  };
  const engine = await createEngine({
    dataDir: join(dir, "data"),
    runDir: join(dir, "run"),
    kernel,
    registry,
    platform: { os: "linux", architecture: "amd64" },
    ...options,
  }).catch(async (error: unknown) => {
    await removed();
    throw error;
  });
  return {
    engine,
    dir,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await removed();
    },
  };
}
