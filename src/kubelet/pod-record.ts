import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "#base";
import type { PinnedImage } from "./container-config.ts";

/**
 * What a kubelet must remember of a Pod over its own restarts: which content each image volume stands for, so that containers
 * that start later see what the first one saw, whatever the tag means by then.
 */
export interface PodRecord {
  readonly imageVolumes: ReadonlyMap<string, PinnedImage>;
}

const FILE = "image-volumes.json";

export async function readPodRecord(podDirectory: string): Promise<PodRecord> {
  try {
    const text = await readFile(join(podDirectory, FILE), "utf8");
    return { imageVolumes: new Map(Object.entries(JSON.parse(text) as Record<string, PinnedImage>)) };
  } catch (error) {
    // A file cut short by a crash says nothing: the volume is resolved anew.
    if (errnoOf(error) === "ENOENT" || error instanceof SyntaxError) return { imageVolumes: new Map() };
    throw error;
  }
}

export async function writePodRecord(podDirectory: string, record: PodRecord): Promise<void> {
  await mkdir(podDirectory, { recursive: true, mode: 0o750 });
  const path = join(podDirectory, FILE);
  await writeFile(`${path}.tmp`, JSON.stringify(Object.fromEntries(record.imageVolumes)));
  await rename(`${path}.tmp`, path);
}
