/** apiserver: the Kubernetes API for what a Pod with image volumes needs, over HTTPS, stored in SQLite. */
export type { ApiServerOptions } from "./options.ts";
export type { ApiHost, SignedToken, TokenClaims, Tokens } from "./ports.ts";
export type { User } from "./router.ts";
export { startApiServer, type ApiServer } from "./server.ts";
