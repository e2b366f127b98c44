import { bytesOf } from "#base";
import { unsafe } from "./refuse.ts";

/** NAME_MAX of Linux, and of EROFS. Bytes. */
const NAME_BYTES = 255;
/** PATH_MAX of Linux: nobody could open what has a longer name, and no unpacker makes it. Bytes. */
const PATH_BYTES = 4095;

/**
 * The components of a name: without empty ones and `.`, so that `./a//b/` is `a`, `b`. A name for the root has none.
 *
 * @throws Failure UNSAFE_PATH for `..`, for NUL, and for what no file system can hold.
 */
export function componentsOf(path: string, where: string): string[] {
  if (path.length > PATH_BYTES / 3 && bytesOf(path).length > PATH_BYTES)
    throw unsafe(path, `it is longer than ${PATH_BYTES} bytes`, where);
  const components = path.split("/");
  let length = 0;
  for (const component of components) {
    if (component === "" || component === ".") continue;
    if (component === "..") throw unsafe(path, "it leads out of the tree with ..", where);
    if (component.length > NAME_BYTES / 3 && bytesOf(component).length > NAME_BYTES)
      throw unsafe(path, `a part of it is longer than ${NAME_BYTES} bytes`, where);
    components[length++] = component;
  }
  components.length = length;
  if (path.includes("\0")) throw unsafe(path, "it contains a NUL byte", where);
  return components;
}

/** Whether a name without slashes is one that `componentsOf` would return as it is. It may say no too often. */
export function isPlain(name: string): boolean {
  return name !== "" && name.length <= NAME_BYTES / 3 && name !== "." && name !== ".." && !name.includes("\0");
}
