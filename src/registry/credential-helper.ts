import { execFile } from "node:child_process";
import { errnoOf, Failure } from "#base";
import type { Credentials } from "#oci";

/** A helper that waits for a person is not for us. Milliseconds. */
const PATIENCE = 30_000;

/**
 * Asks `docker-credential-<helper> get` for a registry: its name goes in, `{"Username": …, "Secret": …}` comes out. The
 * username `<token>` says that the secret is an identity token. Undefined where the helper has nothing.
 * https://github.com/docker/docker-credential-helpers#development
 *
 * @throws Failure CREDENTIAL_HELPER_FAILED naming the program; nothing that it wrote.
 */
export async function askHelper(
  helper: string,
  registry: string,
  path: string | undefined,
): Promise<Credentials | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(helper)) throw failed(helper, "that is not the name of a program");
  const program = `docker-credential-${helper}`;
  const server = registry === "docker.io" ? "https://index.docker.io/v1/" : registry;
  const env = path === undefined ? process.env : { ...process.env, PATH: path };
  const output = await new Promise<string | undefined>((resolve, reject) => {
    const child = execFile(program, ["get"], { env, timeout: PATIENCE, maxBuffer: 1 << 20 }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else if (/credentials not found|no credentials/i.test(stdout)) resolve(undefined);
      else if (errnoOf(error) === "ENOENT") reject(failed(helper, "the program is not installed"));
      else reject(failed(helper, error.killed === true ? "it took too long" : `it ended with ${String(error.code)}`));
    });
    // A program that ends without reading has closed the pipe: how it ended says the rest.
    child.stdin?.on("error", () => undefined).end(server);
  });
  if (output === undefined) return undefined;
  let answer: { readonly Username?: unknown; readonly Secret?: unknown };
  try {
    answer = (JSON.parse(output) ?? {}) as typeof answer;
  } catch {
    throw failed(helper, "its answer is not JSON");
  }
  const { Username: username, Secret: secret } = answer;
  if (typeof username !== "string" || typeof secret !== "string" || secret === "") return undefined;
  return username === "<token>" ? { identityToken: secret } : { username, password: secret };
}

function failed(helper: string, why: string): Failure {
  return new Failure(
    "FAILED_PRECONDITION",
    "CREDENTIAL_HELPER_FAILED",
    `docker-credential-${helper} cannot be asked: ${why}`,
  );
}
