/** cli: the door for people: argv to engine calls, and results to text or JSON. */
export { run } from "./run.ts";
export type { ApiServerFlags, Check, CriFlags, KubeletFlags, Parts, Places, Say, UpFlags } from "./parts.ts";
