import assert from "node:assert/strict";
import { test } from "node:test";
import { Retention } from "./retention.ts";

const MINUTE = 60_000;

/** Writes one change of `bytes` every `pause` milliseconds, and gives the versions that were forgotten after each. */
function run(retention: Retention, writes: number, bytes: number, pause: number): number[] {
  let oldest = 0;
  return Array.from({ length: writes }, (_, i) => {
    oldest = retention.due(i * pause) ?? oldest;
    retention.note(i + 1, 1, bytes, i * pause);
    return oldest;
  });
}

test("what is younger than the time is kept, and soon after it is not", () => {
  const oldest = run(new Retention({ time: 5 * MINUTE, bytes: 1e9 }), 1200, 1000, 1000);
  for (const [second, version] of oldest.entries()) {
    assert.ok(version <= Math.max(0, second - 300), `${version} was forgotten after ${second} s`);
    assert.ok(version >= second - 320, `all after ${version} was still kept after ${second} s`);
  }
});

test("many bytes are forgotten before their time, and never all", () => {
  const most = 64_000;
  const oldest = run(new Retention({ time: 5 * MINUTE, bytes: most }), 5000, 1000, 1);
  for (const [i, version] of oldest.entries()) {
    const kept = (i - version) * 1000;
    assert.ok(kept <= most + 2 * (most / 64) + 1000, `${kept} bytes are kept after write ${i + 1}`);
    assert.ok(i < 64 || kept >= most / 2, `only ${kept} bytes are kept after write ${i + 1}`);
  }
});

test("after a pause a little is forgotten with each write, until what is left is young", () => {
  const retention = new Retention({ time: 5 * MINUTE, bytes: 1e9 });
  run(retention, 2000, 1000, 1);
  const hour = 60 * MINUTE;
  const forgotten = Array.from({ length: 6 }, (_, i) => {
    const version = retention.due(hour + i);
    retention.note(2001 + i, 1, 1000, hour + i);
    return version;
  });
  assert.deepEqual(forgotten, [500, 1000, 1500, 2000, undefined, undefined]);
});
