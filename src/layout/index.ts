/** layout: images that lie in files as Sources: `oci:` directories, `oci-archive:` and `docker-archive:` tars. */
export { parseLocation, referenceOf, type Location } from "./location.ts";
export { openLayout, type Layout } from "./open-layout.ts";
