// What a person sees of a pull that lasts: one Event that goes on telling how far it is.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { startFakeRegistry } from "../support/fake-registry.ts";
import { createWorld, leftovers, pushObjects, startUp, until, WORKLOAD } from "../support/orlop.ts";

const SIZE = 400 * 10_000;

interface Event {
  readonly count: number;
  readonly message: string;
  readonly metadata: { readonly name: string };
}

test("kubectl describe tells how far the pull of a volume is, in one Event that changes", async () => {
  await using registry = await startFakeRegistry();
  const layer = registry.putBlob(randomBytes(SIZE));
  registry.putManifest("models/big", "v1", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...registry.putBlob("{}"), mediaType: "application/vnd.oci.empty.v1+json" },
    layers: [{ ...layer, annotations: { "org.opencontainers.image.title": "model" } }],
  });
  const bytes = registry.blobs.get(layer.digest) ?? Buffer.alloc(0);
  const half = Promise.withResolvers<void>();
  const rest = Promise.withResolvers<void>();
  registry.intercepts.push(async (request, response) => {
    if (request.method !== "GET" || request.url?.includes(`/blobs/${layer.digest}`) !== true) return false;
    response.writeHead(200, { "content-length": SIZE });
    response.write(bytes.subarray(0, SIZE * 0.27));
    await half.promise;
    response.write(bytes.subarray(SIZE * 0.27, SIZE * 0.55));
    await rest.promise;
    response.end(bytes.subarray(SIZE * 0.55));
    return true;
  });

  const world = await createWorld();
  try {
    pushObjects(world);
    const host = `server = "${registry.url}"\n[host."${registry.url}"]\n  capabilities = ["pull", "resolve"]\n`;
    world.file("certs.d/models.example/hosts.toml", host);
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "slow" },
      spec: {
        containers: [{ name: "a", image: WORKLOAD, volumeMounts: [{ name: "model", mountPath: "/model" }] }],
        volumes: [{ name: "model", image: { reference: "models.example/models/big:v1" } }],
      },
    };
    await using up = await startUp(world);
    const applied = up.kubectl("apply", "-f", world.file("slow.json", JSON.stringify(pod)));
    assert.equal(applied.code, 0, applied.err);

    const about = "involvedObject.name=slow,reason=Pulling";
    const pulling = (): Event[] => {
      const { out } = up.kubectl("get", "events", "--field-selector", about, "-o", "json");
      return (JSON.parse(out) as { items: Event[] }).items.filter(({ message }) => message.includes("models.example"));
    };
    const told = (part: RegExp) =>
      until(`the Event says ${part}`, () => pulling().find(({ message }) => part.test(message)), 20);
    const first = await told(/ of 3\.8 MiB \(2\d %\), .*\/s, .* left$/);
    const described = up.kubectl("describe", "pod", "slow").out;
    assert.match(described, /Pulling image "models\.example\/models\/big:v1": \S+ [KM]iB of 3\.8 MiB \(2\d %\)/);
    half.resolve();
    const second = await told(/ of 3\.8 MiB \(5\d %\)/);
    assert.equal(second.metadata.name, first.metadata.name);
    assert.equal(second.count, 1);
    rest.resolve();
    const ready = () => up.kubectl("wait", "--for=condition=Ready", "pod/slow", "--timeout=1s").code === 0 || undefined;
    await until("the Pod is Ready", ready, 20);
    assert.equal(pulling().length, 1);
    up.kubectl("delete", "pod", "slow", "--timeout=40s");
    await up.stop();
    assert.deepEqual(leftovers(world), []);
  } finally {
    half.resolve();
    rest.resolve();
    await world[Symbol.asyncDispose]();
  }
});
