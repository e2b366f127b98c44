import { namer } from "../naming.ts";
import type { ArtifactFormat } from "../part.ts";
import { partOf } from "./generic.ts";

const CONFIG = /^application\/vnd\.wasm\.config\.v[01]\+json$/;
const MODULES: readonly string[] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/** WebAssembly modules and components, of the CNCF's layout and of the older one: `module.wasm` unless they have a title. */
export const wasm: ArtifactFormat = {
  name: "wasm",
  claims: ({ config, layers }) =>
    CONFIG.test(config.mediaType) || (layers.length > 0 && layers.every((layer) => MODULES.includes(layer.mediaType))),
  plan({ layers }) {
    const nameOf = namer(layers, [{ name: "module.wasm", is: ({ mediaType }) => MODULES.includes(mediaType) }]);
    return layers.flatMap((blob) => {
      const path = nameOf(blob);
      return path === undefined ? partOf(blob) : [{ kind: "file", blob, path }];
    });
  },
};
