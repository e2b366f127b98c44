import { Command, CommanderError } from "commander";
import { isFailure, messageOf } from "#base";
import { addNodeCommands } from "./node.ts";
import { addObjectCommands } from "./objects.ts";
import type { Streams } from "./output.ts";
import type { Parts } from "./parts.ts";

/** Exit codes: 0 all is well, 1 it failed, 2 it was called wrongly, 130 it was interrupted. */
export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;

const WRONG_CALLS = ["USAGE", "INVALID_FLAG", "INVALID_REFERENCE", "INVALID_DIGEST", "INVALID_WATERMARKS"];

/** Runs one command line, without the program's own name, and returns the exit code. Never throws. */
export async function run(
  argv: readonly string[],
  parts: Parts,
  streams: Streams,
  signal: AbortSignal,
): Promise<number> {
  const program = new Command("orlop")
    .description("Any OCI object as a read-only directory: in a Kubernetes Pod, or on this machine.")
    .version(parts.version, "-V, --version")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void streams.out.write(text),
      writeErr: (text) => void streams.err.write(text),
      outputError: (text, write) =>
        write(
          `${text
            .replace(/^error: /, "orlop: ")
            .trim()
            .replaceAll("\n", " ")}\n`,
        ),
    })
    .helpCommand(true)
    .showSuggestionAfterError();
  addObjectCommands(program, parts, streams, signal);
  addNodeCommands(program, parts, streams, signal);
  for (const command of program.commands) command.copyInheritedSettings(program);

  try {
    if (argv.length === 0) {
      streams.err.write(program.helpInformation());
      return EXIT.usage;
    }
    await program.parseAsync([...argv], { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (signal.aborted) {
      streams.err.write(`orlop: ${isFailure(error, "INTERRUPTED") ? error.message : "interrupted"}\n`);
      return EXIT.interrupted;
    }
    streams.err.write(`orlop: ${messageOf(error)}\n`);
    return isFailure(error, ...WRONG_CALLS) ? EXIT.usage : EXIT.failure;
  }
}
