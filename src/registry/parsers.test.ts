import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseChallenges } from "./challenge.ts";
import { parseContentRange } from "./content-range.ts";
import { nextPage } from "./link.ts";
import { retryAfter } from "./patience.ts";
import { proxyOf } from "./proxies.ts";

test("challenges: quoted, bare, several in one header", () => {
  const header =
    'Basic realm="a \\"b\\"", Bearer realm="https://t.example/x?y=1,2",service=s,scope="repository:a:pull,push"';
  assert.deepEqual(parseChallenges(header), [
    { scheme: "basic", parameters: { realm: 'a "b"' } },
    {
      scheme: "bearer",
      parameters: { realm: "https://t.example/x?y=1,2", service: "s", scope: "repository:a:pull,push" },
    },
  ]);
  assert.deepEqual(parseChallenges(["Negotiate", "BEARER Realm=x"]), [
    { scheme: "negotiate", parameters: {} },
    { scheme: "bearer", parameters: { realm: "x" } },
  ]);
});

test("challenges: any text comes to an end", () => {
  fc.assert(fc.property(fc.string(), (text) => void parseChallenges(text)));
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "b", " ", "=", '"', ",", "\\", ";", "<", ">") }),
      (text) => void parseChallenges(text),
    ),
  );
});

test("Content-Range", () => {
  assert.deepEqual(parseContentRange("bytes 0-99/1234"), { start: 0, end: 100, total: 1234 });
  assert.deepEqual(parseContentRange("bytes 5-5/*"), { start: 5, end: 6, total: undefined });
  for (const bad of ["bytes 5-4/10", "bytes 0-10/10", "bytes */10", "items 0-1/2", "bytes 0-1", undefined])
    assert.equal(parseContentRange(bad), undefined, bad);
});

test("Link: the next page", () => {
  const page = new URL("https://r.example/v2/a/referrers/x");
  const next = (header: string | string[]): string | undefined => nextPage(header, page)?.href;
  assert.equal(next('</v2/b?n=1,2>; rel="next"'), "https://r.example/v2/b?n=1,2");
  assert.equal(next(['<a>; rel="prev", <b>; title="x"; rel=next']), "https://r.example/v2/a/referrers/b");
  assert.equal(next('<a>; rel="nextish"'), undefined);
});

test("Retry-After: seconds and dates", () => {
  assert.equal(retryAfter("7"), 7000);
  assert.equal(retryAfter("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  const minute = retryAfter(new Date(Date.now() + 60_000).toUTCString()) ?? 0;
  assert.ok(minute > 50_000 && minute <= 60_000, String(minute));
  assert.equal(retryAfter("soon"), undefined);
});

test("proxies: by scheme, with the exceptions of NO_PROXY", () => {
  const proxies = {
    http: "http://p:1",
    https: "p:2",
    no: "a.example, .b.example,*.c.example 10.1.0.0/16,d.example:5000",
  };
  const by = (url: string): string | undefined => proxyOf(new URL(url), proxies);
  assert.equal(by("http://x.example/"), "http://p:1");
  assert.equal(by("https://x.example/"), "http://p:2");
  for (const direct of [
    "https://a.example",
    "https://sub.a.example",
    "https://x.b.example",
    "https://x.c.example",
    "http://10.1.2.3",
  ])
    assert.equal(by(direct), undefined, direct);
  for (const direct of ["http://localhost:5000", "http://127.1.2.3", "http://[::1]:5000", "https://d.example:5000"])
    assert.equal(by(direct), undefined, direct);
  for (const proxied of ["https://b.example", "https://xa.example", "http://10.2.0.1", "https://d.example"])
    assert.ok(by(proxied) !== undefined, proxied);
  assert.equal(proxyOf(new URL("https://x.example"), { ...proxies, no: "*" }), undefined);
});
