// Compiles src/ to dist/, file by file. dist/package.json makes `#room` point into dist.
import { execFileSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});
for (const file of globSync("**/*.{json,gz}", { cwd: join(root, "src") })) {
  mkdirSync(dirname(join(dist, file)), { recursive: true });
  cpSync(join(root, "src", file), join(dist, file));
}
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
writeFileSync(
  join(dist, "package.json"),
  `${JSON.stringify({ type: "module", version, imports: { "#*": "./*/index.js" } }, null, 2)}\n`,
);
