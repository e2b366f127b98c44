import { enableCompileCache } from "node:module";

// Before the rooms are loaded, or they are compiled anew at each start.
enableCompileCache();
const [{ run }, { parts }] = await Promise.all([import("#cli"), import("#daemon")]);

// The first Ctrl-C ends things in order; a second one ends the process where it stands.
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort(new Error(`stopped by ${name}`));
  });
// A reader such as `head` that goes away early is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await run(process.argv.slice(2), parts, { out: process.stdout, err: process.stderr }, stop.signal);
