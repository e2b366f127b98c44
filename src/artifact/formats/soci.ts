import { Failure } from "#base";
import type { ArtifactFormat } from "../part.ts";

const SOCI = /^application\/vnd\.amazon\.soci\.index\.v[12]\+json$/;

/** An index for lazy loading that lies beside an image in the registry: it has no files of its own, so nothing to mount. */
export const soci: ArtifactFormat = {
  name: "soci",
  claims: ({ artifactType, config }) => SOCI.test(artifactType ?? "") || SOCI.test(config.mediaType),
  plan({ subject, config }) {
    const image = subject === undefined ? "the image it belongs to" : `its image, ${subject.digest}`;
    const what = `the manifest with config ${config.digest} is a SOCI index, which has no files: mount ${image}`;
    throw new Failure("INVALID_ARGUMENT", "UNSUPPORTED_ARTIFACT", what);
  },
};
