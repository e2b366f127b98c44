import { resolve } from "node:path";
import { Option, type Command } from "commander";
import { Failure, isFailure } from "#base";
import { hexOf, type Platform } from "#oci";
import {
  referenceOf,
  type Engine,
  type PruneRequest,
  type PushRequest,
  type StoredObject,
  type Volume,
  type Watermark,
} from "#engine";
import { placesOf, watermarksOf, withOutput, withPlaces, withWatermarks } from "./flags.ts";
import { formatAge, formatBytes, formatTable, withProgress, type Streams } from "./output.ts";
import type { Parts } from "./parts.ts";

type Options = Readonly<Record<string, unknown>>;

/** The commands that need no Kubernetes: pull, mount, umount, push, ls, inspect, rm, prune, fsck. */
export function addObjectCommands(program: Command, parts: Parts, streams: Streams, signal: AbortSignal): void {
  const print = (text: string): void => void streams.out.write(text);
  const json = (value: unknown): void => print(`${JSON.stringify(value, null, 2)}\n`);
  const withEngine = async (options: Options, work: (engine: Engine) => Promise<void>): Promise<void> => {
    await using engine = await parts.openEngine(placesOf(options), signal);
    await work(engine);
  };
  const pull = (engine: Engine, named: string, options: Options): Promise<StoredObject> => {
    refuseScheme(named);
    const given = options["from"] as string | undefined;
    const located = given === undefined ? referenceOf(named) : undefined;
    const from = given ?? (located === undefined ? undefined : named);
    const request = {
      reference: located ?? named,
      ...(from === undefined ? {} : { from }),
      ...(options["platform"] === undefined ? {} : { platform: platformOf(options["platform"]) }),
    };
    const pulled = withProgress(streams, named, (onProgress) => engine.pull(request, { signal, onProgress }));
    return pulled.catch((error: unknown) => {
      if (!signal.aborted) throw error;
      const kept = "interrupted: what was fetched stays, and the next pull goes on there";
      throw new Failure("CANCELLED", "INTERRUPTED", kept, { cause: error });
    });
  };

  withOutput(withPlaces(program.command("pull <reference>")))
    .description(
      "bring an object into the store, verified: from its registry, or from oci:DIR, oci-archive:FILE, docker-archive:FILE",
    )
    .option("--from <location>", "read it from there instead, and keep it under the reference")
    .option("--platform <os/arch>", "which entry of an index (default: this machine's)")
    .action((reference: string, options: Options) =>
      withEngine(options, async (engine) => {
        const object = await pull(engine, reference, options);
        if (options["output"] === "json") json(object);
        else print(`${object.digest}\n`);
      }),
    );

  withOutput(withPlaces(program.command("mount <reference> <dir>")))
    .description("mount an object read-only at an empty directory, pulling it first if need be")
    .option("--sub-path <path>", "mount this directory or file of it only")
    .option("--exec", "allow programs in it to be run")
    .addOption(
      new Option("--pull <policy>", "when to ask the registry")
        .choices(["always", "missing", "never"])
        .default("missing"),
    )
    .action((reference: string, dir: string, options: Options) =>
      withEngine(options, async (engine) => {
        const stored =
          options["pull"] === "always" ? undefined : await engine.find(referenceOf(reference) ?? reference);
        if (stored === undefined && options["pull"] === "never")
          throw new Failure(
            "NOT_FOUND",
            "NOT_STORED",
            `${reference} is not in the store, and --pull=never forbids to ask`,
          );
        const target = resolve(dir);
        const publish = ({ digest }: StoredObject): Promise<Volume> =>
          engine.publish(
            {
              owner: ownerOf(target),
              digest,
              target,
              exec: options["exec"] === true,
              ...(typeof options["subPath"] === "string" ? { subPath: options["subPath"] } : {}),
            },
            { signal },
          );
        const volume = await publish(stored ?? (await pull(engine, reference, options))).catch(
          async (error: unknown) => {
            // Until it is mounted nobody holds it, and whoever prunes at that moment takes it away.
            if (!isFailure(error, "NOT_FOUND") || options["pull"] === "never") throw error;
            return await publish(await pull(engine, reference, options));
          },
        );
        if (options["output"] === "json") json(volume);
        else print(`${volume.digest} on ${target}\n`);
      }),
    );

  withPlaces(program.command("umount <dir>"))
    .description("undo a mount")
    .action((dir: string, options: Options) =>
      withEngine(options, async (engine) => {
        const target = resolve(dir);
        const volume = (await engine.volumes()).find((v) => v.target === target);
        if (volume === undefined)
          throw new Failure(
            "NOT_FOUND",
            "NOT_MOUNTED",
            `nothing of Orlop's is mounted at ${target}: see orlop ls --volumes`,
          );
        if (volume.owner !== ownerOf(target))
          throw new Failure(
            "FAILED_PRECONDITION",
            "IN_USE",
            `${target} belongs to ${volume.owner}: delete the Pod that uses it`,
          );
        await engine.unpublish(volume.owner, target);
      }),
    );

  withOutput(withPlaces(program.command("push <paths...>")))
    .usage("[options] <path>… <reference>")
    .description("put files and directories into a registry as one artifact, or with --image as an image")
    .option("--artifact-type <type>", "the manifest's artifactType")
    .addOption(new Option("--compression <how>", "of directories and layers").choices(["gzip", "zstd", "none"]))
    .option("--annotation <key=value>", "on the manifest; may be repeated", repeated)
    .option("--image", "make an image whose only layer holds the paths")
    .option("--entrypoint <word>", "with --image; may be repeated", repeated)
    .option("--cmd <word>", "with --image; may be repeated", repeated)
    .option("--env <key=value>", "with --image; may be repeated", repeated)
    .option("--user <user>", "with --image")
    .option("--workdir <dir>", "with --image")
    .action((words: string[], options: Options, command: Command) => {
      const reference = words.at(-1) ?? "";
      if (words.length < 2) command.error("error: push needs at least one path, and the reference last");
      refuseScheme(reference);
      return withEngine(options, async (engine) => {
        const pushed = await withProgress(streams, reference, (onProgress) =>
          engine.push(pushRequest(words.slice(0, -1), reference, options), { signal, onProgress }),
        );
        if (options["output"] === "json") json({ reference, ...pushed });
        else print(`${reference}@${pushed.digest}\n`);
      });
    });

  withOutput(withPlaces(program.command("ls")))
    .description("list the objects in the store")
    .option("--volumes", "list what is mounted instead")
    .action((options: Options) =>
      withEngine(options, async (engine) => {
        if (options["volumes"] === true) {
          const volumes = await engine.volumes();
          if (options["output"] === "json") return json(volumes);
          const rows = volumes.map((v) => [v.target, v.subPath, v.digest, v.owner, v.mounted ? "yes" : "no"]);
          return print(formatTable([["TARGET", "SUBPATH", "DIGEST", "OWNER", "MOUNTED"], ...rows]));
        }
        const objects = await engine.list();
        if (options["output"] === "json") return json(objects);
        const rows = objects.flatMap((object) =>
          (object.references.length === 0 ? ["<none>"] : object.references).map((reference) => [
            reference,
            hexOf(object.digest).slice(0, 12),
            object.packaging,
            formatBytes(object.size),
            formatAge(Date.now() - object.pulledAt),
          ]),
        );
        print(formatTable([["REFERENCE", "DIGEST", "PACKAGING", "SIZE", "AGE"], ...rows]));
      }),
    );

  withOutput(withPlaces(program.command("inspect <reference>")))
    .description("show what an object in the store is, and its files")
    .action((reference: string, options: Options) =>
      withEngine(options, async (engine) => {
        const inspection = await engine.inspect(reference);
        if (options["output"] === "json") return json(inspection);
        const { object, tree } = inspection;
        const head = [
          ["Digest:", object.digest],
          ["References:", object.references.join(", ") || "<none>"],
          ["Packaging:", object.packaging],
          ["Media type:", object.mediaType],
          ["Artifact type:", object.artifactType ?? "<none>"],
          ["Size:", formatBytes(object.size)],
        ];
        const files = tree.map((f) => [
          f.kind,
          f.mode,
          `${f.uid}:${f.gid}`,
          String(f.size),
          f.target === undefined ? f.path : `${f.path} -> ${f.target}`,
        ]);
        print(`${formatTable(head)}\n${formatTable([["KIND", "MODE", "OWNER", "SIZE", "PATH"], ...files])}`);
      }),
    );

  withPlaces(program.command("rm <references...>"))
    .description("forget references, and delete what nothing needs any more")
    .action((references: string[], options: Options) =>
      withEngine(options, async (engine) => {
        for (const reference of references) await engine.remove(reference);
      }),
    );

  withWatermarks(
    withOutput(withPlaces(program.command("prune"))),
    "what --low-watermark says only where the store is above this",
    "delete also what no volume uses, the least recently used first, until the store is below this",
  )
    .description("delete what no reference and no volume needs")
    .action((options: Options) => {
      const request = pruneRequest(options);
      return withEngine(options, async (engine) => {
        const { freed, removed } = await engine.prune(request, { signal });
        if (options["output"] === "json") json({ freed, removed });
        else print(`${formatBytes(freed)} freed\n`);
      });
    });

  withOutput(withPlaces(program.command("fsck")))
    .description("read every blob again, compare it with its digest, and fetch again what is damaged or missing")
    .action((options: Options) =>
      withEngine(options, async (engine) => {
        const findings = await engine.fsck({ signal });
        if (options["output"] === "json") json(findings);
        else for (const f of findings) print(`${f.digest}: ${f.problem} (${f.path})\n`);
        const lost = findings.filter(({ isMended }) => !isMended).length;
        if (lost > 0)
          throw new Failure(
            "DATA_LOSS",
            "CORRUPT",
            `${lost} of the stored blobs ${lost === 1 ? "is" : "are"} damaged or missing, and could not be fetched again`,
          );
      }),
    );
}

function pruneRequest(options: Options): PruneRequest {
  if (options["highWatermark"] === undefined && options["lowWatermark"] !== undefined)
    return { downTo: options["lowWatermark"] as Watermark };
  const marks = watermarksOf(options);
  return marks === undefined ? {} : { above: marks.high, downTo: marks.low };
}

/** A URL is what many try first. */
function refuseScheme(reference: string): void {
  const [, scheme, rest] = /^(https?|docker|oci):\/\/(.*)$/.exec(reference) ?? [];
  if (scheme !== undefined)
    throw new Failure(
      "INVALID_ARGUMENT",
      "INVALID_REFERENCE",
      `${JSON.stringify(reference)} is no reference: leave ${scheme}:// away, and write ${rest}${scheme === "http" ? "; that its host has no TLS is said in its hosts.toml" : ""}`,
    );
}

function ownerOf(target: string): string {
  return `mount:${target}`;
}

function repeated(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

function pushRequest(paths: readonly string[], reference: string, options: Options): PushRequest {
  const words = (name: string): readonly string[] => (options[name] as readonly string[] | undefined) ?? [];
  const text = (name: string): string | undefined => options[name] as string | undefined;
  const [artifactType, compression, user, workingDir] = ["artifactType", "compression", "user", "workdir"].map(text);
  return {
    reference,
    paths,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(compression === undefined ? {} : { compression: compression as "gzip" | "zstd" | "none" }),
    ...(words("annotation").length === 0 ? {} : { annotations: annotationsOf(words("annotation")) }),
    ...(options["image"] === true
      ? {
          image: {
            entrypoint: words("entrypoint"),
            cmd: words("cmd"),
            env: words("env"),
            ...(user === undefined ? {} : { user }),
            ...(workingDir === undefined ? {} : { workingDir }),
          },
        }
      : {}),
  };
}

function annotationsOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf("=");
      if (equals < 1)
        throw new Failure(
          "INVALID_ARGUMENT",
          "USAGE",
          `--annotation ${JSON.stringify(pair)} is not written as key=value`,
        );
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}

function platformOf(text: unknown): Platform {
  const [os, architecture, variant] = String(text).split("/");
  if (!os || !architecture)
    throw new Failure(
      "INVALID_ARGUMENT",
      "USAGE",
      `--platform ${JSON.stringify(text)} is not written as os/architecture`,
    );
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}
