import { readFile } from "node:fs/promises";

/** What went through one network interface. */
export interface Interface {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txBytes: number;
  readonly txErrors: number;
}

/** The interfaces of the network namespace that process `pid` is in, but the loopback; none where there is no such process. */
export async function interfacesOf(pid: number | "self"): Promise<Interface[]> {
  const text = await readFile(`/proc/${pid}/net/dev`, "utf8").catch(() => "");
  return parseNetDev(text).filter(({ name }) => name !== "lo");
}

/** The interface of the default route. proc(5), /proc/net/route */
export async function defaultInterface(pid: number | "self"): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/net/route`, "utf8").catch(() => "");
  const routes = text.split("\n").map((line) => line.split("\t"));
  return routes.find(([, destination]) => destination === "00000000")?.[0];
}

/** proc(5), /proc/net/dev: two lines of headings, then the name and sixteen numbers each. */
export function parseNetDev(text: string): Interface[] {
  return text
    .split("\n")
    .slice(2)
    .flatMap((line) => {
      const [name = "", rest = ""] = line.split(":");
      const numbers = rest.trim().split(/\s+/).map(Number);
      const [rxBytes = 0, , rxErrors = 0] = numbers;
      const [txBytes = 0, , txErrors = 0] = numbers.slice(8);
      return name.trim() === "" || numbers.length < 16
        ? []
        : [{ name: name.trim(), rxBytes, rxErrors, txBytes, txErrors }];
    });
}
