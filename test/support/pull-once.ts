// A process that pulls one object and may be killed at any moment: `pull-once.ts DIR REFERENCE`. It loads everything, says
// `ready`, and begins when it is told to; says `done DIGEST` at the end.
import { once } from "node:events";
import { startEngine } from "./engine.ts";

const [dir = "", reference = ""] = process.argv.slice(2);
process.stdout.write("ready\n");
await once(process.stdin, "data");
await using node = await startEngine({ dir });
const { digest } = await node.engine.pull({ reference });
process.stdout.write(`done ${digest}\n`);
process.stdin.destroy();
