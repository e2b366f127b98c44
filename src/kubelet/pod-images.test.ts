import assert from "node:assert/strict";
import { test } from "node:test";
import { ImageFailure, type ImageRequest } from "./image-puller.ts";
import { PodImages } from "./pod-images.ts";

test("a pull that failed long before somebody asked is told as what it was first, and then as backing off", async () => {
  let clock = 0;
  const woken = Promise.withResolvers<void>();
  const puller = { ensure: () => Promise.reject(new ImageFailure("ErrImagePull", "not found", 10_000, true)) };
  const recorder = { event: () => {}, amend: () => {}, flush: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const images = new PodImages(
    puller,
    recorder,
    () => clock,
    () => woken.resolve(),
  );
  const request = { reference: "quay.io/x:1", about: {} } as ImageRequest;
  const reason = (): string | undefined => {
    const state = images.request("v", request);
    return state.kind === "failed" ? state.trouble.reason : state.kind;
  };
  assert.equal(reason(), "pulling");
  await woken.promise;
  const seen: [number, string | undefined][] = [];
  for (clock of [5000, 5999, 6000, 9999, 10_000]) seen.push([clock, reason()]);
  assert.deepEqual(seen, [
    [5000, "ErrImagePull"],
    [5999, "ErrImagePull"],
    [6000, "ImagePullBackOff"],
    [9999, "ImagePullBackOff"],
    [10_000, "pulling"],
  ]);
  await images.stop();
});
