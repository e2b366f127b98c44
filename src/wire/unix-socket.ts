import { chmodSync, rmSync } from "node:fs";
import { connect, type Server } from "node:net";
import { Failure, errnoOf, messageOf } from "#base";

/** `sun_path` of unix(7) less its closing zero. Bytes. */
const PATH_LIMIT = 107;

/** @throws Failure SOCKET_PATH_TOO_LONG: the kernel takes no longer path, and some programs cut it silently. */
export function checkSocketPath(path: string): string {
  const length = Buffer.byteLength(path);
  if (length <= PATH_LIMIT) return path;
  throw new Failure(
    "INVALID_ARGUMENT",
    "SOCKET_PATH_TOO_LONG",
    `the socket path ${path} has ${length} bytes and Linux allows ${PATH_LIMIT}: choose a shorter run directory`,
  );
}

/**
 * Listens on a unix socket that only its owner may use. A socket that nobody answers on, left by a process that was killed,
 * is replaced.
 *
 * @throws Failure SOCKET_IN_USE when somebody answers on it.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  checkSocketPath(path);
  await refuseUsedSocket(path);
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(new Failure("UNAVAILABLE", "LISTEN_FAILED", `cannot listen on ${path}: ${messageOf(cause)}`, { cause }));
    server.once("error", fail);
    server.listen(path, () => {
      server.off("error", fail);
      resolve();
    });
  });
  chmodSync(path, 0o600);
}

/** @throws Failure SOCKET_IN_USE when somebody answers on it: many programs would simply take its place. */
export async function refuseUsedSocket(path: string): Promise<void> {
  if (await answers(path))
    throw new Failure(
      "ALREADY_EXISTS",
      "SOCKET_IN_USE",
      `${path} is in use by a running process: stop it, or choose another run directory`,
    );
}

/** True if a process accepts connections on this socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(true)).once("connect", () => socket.destroy());
    socket.once("error", (error) =>
      ["ENOENT", "ECONNREFUSED", "ENOTSOCK"].includes(errnoOf(error) ?? "") ? resolve(false) : reject(error),
    );
  });
}
