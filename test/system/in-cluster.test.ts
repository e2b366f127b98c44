// A client in a Pod, in the Pod network, finds the API server as in any cluster: by its environment and its mounted token.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createWorld, leftovers, pushObjects, startUp, WORKLOAD, type Up, type World } from "../support/orlop.ts";

const root = join(import.meta.dirname, "../..");
let world: World;
let up: Up;
before(async () => {
  world = await createWorld();
  pushObjects(world);
  up = await startUp(world);
});
after(async () => {
  await up.stop();
  const left = leftovers(world);
  await world[Symbol.asyncDispose]();
  assert.deepEqual(left, []);
});

function kubectl(...args: readonly string[]): string {
  const { code, out, err } = up.kubectl(...args);
  assert.equal(code, 0, `${out}${err}`);
  return out;
}

/** The published JavaScript client as its manual has it, and what it is told. */
const CLIENT = `
import { CoreV1Api, KubeConfig, VersionApi } from "@kubernetes/client-node";
const config = new KubeConfig();
config.loadFromCluster();
const { major } = await config.makeApiClient(VersionApi).getCode();
const refused = await config.makeApiClient(CoreV1Api).listNamespacedPod({ namespace: "default" }).catch((error) => error);
console.log(JSON.stringify({ major, code: refused.code, message: JSON.parse(refused.body).message }));
`;

test("@kubernetes/client-node's loadFromCluster reaches the API server from a Pod, as the Pod's account", () => {
  const host = ["lib", "lib64", "usr"].map((name) => ({ name, path: `/${name}` }));
  const volumes = [...host, { name: "repository", path: root }, { name: "modules", path: join(root, "node_modules") }];
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "client" },
    spec: {
      containers: [
        {
          name: "client",
          image: WORKLOAD,
          volumeMounts: volumes.map(({ name, path }) => ({ name, mountPath: path, readOnly: true })),
        },
      ],
      volumes: volumes.map(({ name, path }) => ({ name, hostPath: { path } })),
    },
  };
  kubectl("apply", "-f", world.file("client.json", JSON.stringify(pod)));
  kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s");
  const exec = (...words: string[]): string => kubectl("exec", "client", "--", ...words);

  const told = exec("sh", "-c", "env | grep ^KUBERNETES_ | sort");
  assert.match(told, /^KUBERNETES_SERVICE_HOST=10\.\d+\.\d+\.1$/m);
  assert.match(told, /^KUBERNETES_SERVICE_PORT_HTTPS=\d+$/m);
  const program = `cd ${root} && exec ${process.execPath} --input-type=module -e '${CLIENT}'`;
  assert.deepEqual(JSON.parse(exec("sh", "-c", program)), {
    major: "1",
    code: 403,
    message:
      'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default"',
  });
});
