/** daemon: the one place that constructs and wires. What a command needs is loaded when it is called. */
import type { Parts } from "#cli";
import { version } from "./version.ts";

export const parts: Parts = {
  version,
  openEngine: async (places) => {
    const [{ openEngine }, { plainLog }] = await Promise.all([import("./engine.ts"), import("./log.ts")]);
    return openEngine(places, plainLog());
  },
  up: async (places, flags, say, signal) => (await import("./up.ts")).up(places, flags, say, signal),
  apiserver: async (places, flags, say, signal) => (await import("./alone.ts")).apiserver(places, flags, say, signal),
  kubelet: async (places, flags, say, signal) => (await import("./alone.ts")).kubelet(places, flags, say, signal),
  cri: async (places, flags, say, signal) => (await import("./alone.ts")).cri(places, flags, say, signal),
  doctor: async (places) => (await import("./doctor.ts")).doctor(places),
};
