/** openapi: the API as clients ask to learn it, made from the types of #k8s and the words of the published client. */
export { openApiRoutes } from "./routes.ts";
export type { ServedResource, ServedSubresource } from "./paths.ts";
