import { createServer as createHttp, type Server } from "node:http";
import { createServer as createHttps } from "node:https";
import { createServer as createNetServer, isIP, type Server as NetServer, type Socket } from "node:net";
import { Failure, errnoOf } from "#base";
import type { ApiServerOptions } from "./options.ts";

/** The server's certificate for every name it answers to. */
export async function certificate({
  pki,
  host = "127.0.0.1",
  names = [],
}: ApiServerOptions): Promise<{ cert: string; key: string }> {
  if (pki === undefined) return { cert: "", key: "" };
  const all = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "127.0.0.1",
    "::1",
    host,
    ...names,
  ];
  const ips = [...new Set(all.filter((name) => isIP(name) !== 0 && name !== "0.0.0.0" && name !== "::"))];
  const dnsNames = [...new Set(all.filter((name) => isIP(name) === 0))];
  return pki.serverCertificate({ dnsNames, ips });
}

/** A server that asks clients for certificates, or one without TLS where there is no authority. */
export async function createServer(options: ApiServerOptions): Promise<Server> {
  const { pki } = options;
  if (pki === undefined) return createHttp({ noDelay: true });
  const credential = await certificate(options);
  return createHttps({
    ...credential,
    ca: pki.ca,
    requestCert: true,
    rejectUnauthorized: false,
    noDelay: true,
    minVersion: "TLSv1.2",
    ALPNProtocols: ["http/1.1"],
  });
}

/** Hands what connects to another address over to `server`, until disposed. Throws Failure `ADDRESS_IN_USE`. */
export async function listenAlso(server: Server, host: string, port: number): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const also = createNetServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    server.emit("connection", socket);
  });
  await listen(also, host, port);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => also.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Binds the port. Throws Failure `ADDRESS_IN_USE`. */
export async function listen(server: NetServer, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  try {
    await promise;
  } catch (cause) {
    if (errnoOf(cause) !== "EADDRINUSE") throw cause;
    const message = `port ${port} of ${host} is in use by another program; choose another with --port, or stop that program`;
    throw new Failure("FAILED_PRECONDITION", "ADDRESS_IN_USE", message, { cause });
  } finally {
    server.off("error", reject);
  }
}
