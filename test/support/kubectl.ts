import { debianCommand } from "./debian.ts";

/** The kubectl of Debian 12 (1.20, which speaks SPDY only), whatever the machine has. */
export const debianKubectl = (): string => debianCommand("bookworm", "kubernetes-client", "usr/bin/kubectl");

/** The newest kubectl that Debian has. */
export const newestKubectl = (): string => debianCommand("sid", "kubernetes-client", "usr/bin/kubectl");
