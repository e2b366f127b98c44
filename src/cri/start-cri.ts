import { join } from "node:path";
import type { Log } from "#base";
import type { Engine } from "#engine";
import { createContentClient, createCriClient, cri, serveGrpcProxy, take } from "#wire";
import { ContainerdContent } from "./containerd-content.ts";
import { ImageFinder } from "./find-image.ts";
import { imageHandlers } from "./images.ts";
import { reconcile } from "./reconcile.ts";
import { runtimeHandlers } from "./runtime.ts";
import { SandboxVolumes } from "./sandbox-volumes.ts";

export interface CriOptions {
  readonly engine: Engine;
  /** Unix socket to serve CRI on. */
  readonly listen: string;
  /** Unix socket of containerd. It need not answer yet. */
  readonly upstream: string;
  /** Volumes are mounted in `volumes/<sandbox id>` below it. The same at every start, or running volumes are lost sight of. */
  readonly runDir: string;
  readonly log: Log;
  /** False: no Pod may run programs from an image volume, whatever its annotations ask. Absent: true. */
  readonly allowExec?: boolean;
}

/**
 * Serves CRI: artifacts are answered for from the engine, image volumes become mounts, and everything else is containerd's.
 * Containers, their mounts and their streams go on while this is away. Volumes of sandboxes that went away meanwhile are
 * unmounted once containerd answers.
 */
export async function startCri(options: CriOptions): Promise<AsyncDisposable> {
  const { engine, listen, upstream, runDir, log } = options;
  await using stack = new AsyncDisposableStack();
  const ending = new AbortController();
  const containerd = stack.use(createCriClient(upstream));
  const content = stack.use(createContentClient(upstream));
  const volumes = new SandboxVolumes(engine, join(runDir, "volumes"));
  const finder = new ImageFinder(engine, containerd, new ContainerdContent(content));
  const { allowExec = true } = options;
  stack.use(
    await serveGrpcProxy({
      listen,
      upstream,
      upstreamName: "containerd",
      log,
      taken: [
        take(cri.ImageService, imageHandlers({ engine, log, ending: ending.signal })),
        take(
          cri.RuntimeService,
          runtimeHandlers({ volumes, finder, allowExec, containerd, log, ending: ending.signal }),
        ),
      ],
    }),
  );
  const reconciled = reconcile(containerd, volumes, log, ending.signal);
  // Before the engine is closed by whoever opened it, nobody may be using it.
  stack.defer(() => reconciled);
  stack.defer(() => ending.abort());
  const owned = stack.move();
  return { [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
