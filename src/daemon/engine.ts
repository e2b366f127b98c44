import type { Log } from "#base";
import type { Places } from "#cli";
import { createEngine, type Engine, type Watermarks } from "#engine";
import { linuxKernel } from "#kernel";
import { hostPlatform } from "#oci";
import { createRegistry, credentialFiles } from "#registry";
import { credentialPaths, proxiesOf } from "./environment.ts";
import { makePlaces } from "./places.ts";
import { version } from "./version.ts";

/** The engine over this machine's kernel, disk and network. Disposal closes its connections too. */
export async function openEngine(places: Places, log: Log, watermarks?: Watermarks): Promise<Engine> {
  makePlaces(places);
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(
    createRegistry({
      hosts: { certsDir: places.certsDir, registriesConf: "/etc/containers/registries.conf" },
      credentials: credentialFiles({ files: credentialPaths(process.env), log }),
      userAgent: `orlop/${version}`,
      proxies: proxiesOf(process.env),
      log,
    }),
  );
  const engine = stack.use(
    await createEngine({
      dataDir: places.dataDir,
      runDir: places.runDir,
      kernel: linuxKernel(),
      registry,
      platform: hostPlatform(process.arch),
      log,
      ...(watermarks === undefined ? {} : { watermarks }),
    }),
  );
  const owned = stack.move();
  return { ...engine, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
