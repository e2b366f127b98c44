// kubectl of this machine (1.32) and Debian's (1.20) against our API server over TLS: what people do with Pods.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { startApiServer } from "#apiserver";
import { kubeconfig, openPki } from "#wire";
import { helmTemplate } from "../support/helm.ts";
import { debianKubectl, newestKubectl } from "../support/kubectl.ts";

const POD = (label: string): string => `apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: ${label}}}
spec:
  # Against what admission adds to a list, kubectl takes every apply for a change.
  automountServiceAccountToken: false
  containers:
    - name: test
      image: registry.k8s.io/e2e-test-images/echoserver:2.3
      volumeMounts: [{name: volume, mountPath: /volume}]
  volumes:
    - name: volume
      image: {reference: "quay.io/crio/artifact:v1", pullPolicy: IfNotPresent}
`;

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Newer ones say where, too. */
const DELETED = /^pod "pod" deleted( from default namespace)?\n$/;

const clients = [
  { name: "kubectl 1.32", program: "/usr/bin/kubectl", minor: 32 },
  { name: "kubectl 1.20 of Debian", program: debianKubectl(), minor: 20 },
  { name: "the newest kubectl of Debian", program: newestKubectl(), minor: 36 },
];

for (const { name, program, minor } of clients)
  describe(name, async () => {
    const dir = await mkdtemp(join(tmpdir(), "orlop-kubectl-"));
    const pki = await openPki(join(dir, "pki"));
    const server = await startApiServer({ dataDir: dir, pki });
    const credential = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
    await writeFile(join(dir, "config"), kubeconfig({ server: server.url, ca: pki.ca, ...credential, name: "test" }));
    after(async () => {
      await server[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    });

    const flags = [`--kubeconfig=${join(dir, "config")}`, `--cache-dir=${join(dir, "cache")}`];
    const kubectl = (args: readonly string[], stdin = "", env: Record<string, string> = {}): Promise<Ran> =>
      new Promise((resolve) => {
        const options = { env: { PATH: process.env["PATH"], HOME: dir, ...env }, timeout: 60_000 };
        const child = execFile(program, [...flags, ...args], options, (error, out, err) =>
          resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : 1, out, err }),
        );
        child.stdin?.end(stdin);
      });
    const ok = async (args: readonly string[], stdin = "", env: Record<string, string> = {}): Promise<string> => {
      const { code, out, err } = await kubectl(args, stdin, env);
      assert.equal(code, 0, `kubectl ${args.join(" ")}: ${err}${out}`);
      return out;
    };

    test("apply creates, says what did not change, and changes a label", async () => {
      assert.equal(await ok(["apply", "-f", "-"], POD("demo")), "pod/pod created\n");
      assert.equal(await ok(["apply", "-f", "-"], POD("demo")), "pod/pod unchanged\n");
      assert.equal(await ok(["apply", "-f", "-"], POD("other")), "pod/pod configured\n");
      assert.equal(await ok(["get", "pod", "pod", "-o", "jsonpath={.metadata.labels.app}"]), "other");
    });

    test("apply --server-side takes over what apply has; another manager has to force it", async () => {
      assert.equal(await ok(["apply", "--server-side", "-f", "-"], POD("mine")), "pod/pod serverside-applied\n");
      const other = ["apply", "--server-side", "--field-manager=team", "-f", "-"];
      const refused = await kubectl(other, POD("ssa"));
      assert.equal(refused.code, 1);
      assert.match(refused.err, /Apply failed with 1 conflict: conflict with "kubectl": \.metadata\.labels\.app/);
      assert.equal(await ok([...other, "--force-conflicts"], POD("ssa")), "pod/pod serverside-applied\n");
      const number = await kubectl(other, POD("ssa").replace("registry.k8s.io/e2e-test-images/echoserver:2.3", "5"));
      assert.match(
        number.err,
        /failed to create typed patch object \(default\/pod; \/v1, Kind=Pod\): \.spec\.containers\[name="test"\]\.image: expected string, got &value\.valueUnstructured\{Value:5\}/,
      );
    });

    test("what helm template writes is applied, found unchanged, changed and deleted", async () => {
      const names = ["serviceaccount/release-web", "secret/release-web", "configmap/release-web"];
      const all = [...names, "pod/release-web", "pod/release-web-test-connection"];
      const apply = (tag: string): Promise<string> => ok(["apply", "-f", "-"], helmTemplate(tag));
      assert.equal(await apply("1.16"), all.map((name) => `${name} created\n`).join(""));
      const again = (await apply("1.17")).split("\n");
      // A Secret with stringData never looks as it was given.
      assert.deepEqual(
        again.filter((line) => !line.startsWith("secret/")),
        [
          "serviceaccount/release-web unchanged",
          "configmap/release-web unchanged",
          "pod/release-web configured",
          "pod/release-web-test-connection unchanged",
          "",
        ],
      );
      const image = "jsonpath={.spec.containers[0].image} {.spec.containers[0].resources.requests}";
      assert.match(
        await ok(["get", "pod", "release-web", "-o", image]),
        /^nginx:1\.17 (map\[cpu:100m memory:134217728\]|\{"cpu":"100m","memory":"134217728"\})$/,
      );
      const hook = [
        "get",
        "pod",
        "release-web-test-connection",
        "-o",
        "jsonpath={.metadata.annotations.helm\\.sh/hook}",
      ];
      assert.equal(await ok(hook), "test");
      assert.equal((await ok(["delete", "-f", "-"], helmTemplate("1.17"))).split("\n").length, 6);
    });

    test("apply --prune deletes what is no longer applied, of the kinds it is told", async () => {
      const map = (name: string): string =>
        `---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, labels: {set: x}}\n`;
      const list = minor >= 26 ? "--prune-allowlist" : "--prune-whitelist";
      const args = ["apply", "--prune", "-l", "set=x", `${list}=core/v1/ConfigMap`, "-f", "-"];
      await ok(args, map("p1") + map("p2"));
      assert.equal(await ok(args, map("p1")), "configmap/p1 unchanged\nconfigmap/p2 pruned\n");
      await ok(["delete", "configmap", "p1"]);
    });

    test("get in every form", async () => {
      assert.match(await ok(["get", "pods"]), /^NAME +READY +STATUS +RESTARTS +AGE\npod +0\/1 +Pending +0 +\d+s\n$/);
      assert.match(
        await ok(["get", "pod", "-o", "wide"]),
        /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES\npod .*<none> +<none> +<none> +<none>\n$/,
      );
      assert.equal(await ok(["get", "pods", "-o", "name"]), "pod/pod\n");
      assert.match(
        await ok(["get", "pod", "pod", "-o", "yaml"]),
        /^apiVersion: v1\nkind: Pod\n[\s\S]*reference: quay\.io\/crio\/artifact:v1/,
      );
      const json = JSON.parse(await ok(["get", "pod", "-o", "json"])) as { items: { kind: string }[] };
      assert.equal(json.items[0]?.kind, "Pod");
      assert.equal(await ok(["get", "pods", "-o", "custom-columns=N:.metadata.name", "--no-headers"]), "pod\n");
      assert.equal(await ok(["get", "pods", "-o", "go-template={{range .items}}{{.metadata.name}}{{end}}"]), "pod");
      assert.match(await ok(["get", "pods", "-A", "--show-labels"]), /app=ssa/);
      assert.match(await ok(["get", "pods", "-l", "app=ssa", "-L", "app"]), /ssa\n$/);
      assert.match(
        await ok(["get", "pods", "--sort-by=.metadata.name", "--field-selector=status.phase=Pending"]),
        /pod /,
      );
      assert.match(await ok(["get", "ns,sa", "-A"]), /namespace\/kube-system +Active[\s\S]*serviceaccount\/default/);
    });

    test("get -w shows a change as it happens", async () => {
      const child = spawn(
        program,
        [...flags, "get", "pod", "pod", "-w", "-o", "jsonpath={.metadata.labels.seen}{'\\n'}"],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      try {
        const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
        assert.equal((await lines.next()).value, "");
        await ok(["label", "pod", "pod", "seen=yes"]);
        assert.equal((await lines.next()).value, "yes");
      } finally {
        child.kill();
      }
    });

    test("describe, explain, api-resources, version", async () => {
      const described = await ok(["describe", "pod", "pod"]);
      assert.match(described, /Status: +Pending/);
      if (minor >= 31)
        assert.match(
          described,
          /Type: +Image \(a container image or OCI artifact\)\n +Reference: +quay\.io\/crio\/artifact:v1/,
        );
      assert.match(await ok(["explain", "pod.spec.volumes.image"]), /pullPolicy\s+<string>/);
      const policy = await ok(["explain", "pod.spec.containers.imagePullPolicy"]);
      assert.match(policy, /Possible enum values:\n *- `"Always"`/);
      if (minor >= 28) assert.match(policy, /\nENUM:\n +Always\n +IfNotPresent\n +Never\n/);
      assert.match(
        await ok(["explain", "pod", "--recursive"]),
        /\n +ephemeralContainers\s+<\[\](EphemeralContainer|Object)>/,
      );
      assert.match(await ok(["explain", "selfsubjectaccessreview.spec"]), /resourceAttributes\s+</);
      const resources = await ok(["api-resources"]);
      for (const line of [/^pods +po /m, /^configmaps +cm /m, /^leases .*coordination\.k8s\.io/m])
        assert.match(resources, line);
      assert.match(await ok(["version"]), /v1\.36\.2/);
      assert.match(await ok(["api-versions"]), /^events\.k8s\.io\/v1$/m);
    });

    test("label, annotate, three kinds of patch, edit, diff", async () => {
      await ok(["label", "pod", "pod", "x=y"]);
      await ok(["annotate", "pod", "pod", "a=b"]);
      await ok(["patch", "pod", "pod", "-p", '{"metadata":{"labels":{"z":"1"}}}']);
      await ok(["patch", "pod", "pod", "--type=merge", "-p", '{"metadata":{"labels":{"z":null}}}']);
      await ok(["patch", "pod", "pod", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/q","value":"r"}]']);
      const editor = join(dir, "editor.sh");
      await writeFile(editor, "#!/bin/sh\nsed -i 's/    x: .*/    x: edited/' \"$1\"\n");
      await chmod(editor, 0o755);
      await ok(["edit", "pod", "pod"], "", { EDITOR: editor });
      const pod = JSON.parse(await ok(["get", "pod", "pod", "-o", "json"])) as {
        metadata: { labels: object; annotations: Record<string, string> };
      };
      assert.deepEqual(pod.metadata.labels, { app: "ssa", seen: "yes", x: "edited", q: "r" });
      assert.equal(pod.metadata.annotations["a"], "b");
      const diff = await kubectl(["diff", "-f", "-"], POD("changed"));
      assert.equal(diff.code, 1, diff.err);
      assert.match(diff.out, /-    app: ssa\n\+    app: changed/);
    });

    test("what the server refuses is told in its words", async () => {
      const image = await kubectl([
        "patch",
        "pod",
        "pod",
        "-p",
        '{"spec":{"volumes":[{"name":"volume","image":{"reference":"other:1"}}]}}',
      ]);
      assert.match(
        image.err,
        /spec: Forbidden: pod updates may not change fields other than[\s\S]*\+ +"Reference": "other:1"/,
      );
      const empty = await kubectl(
        ["create", "-f", "-"],
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bad"},"spec":{"containers":[{"name":"c","image":"a"}],"volumes":[{"name":"v","image":{}}]}}',
      );
      assert.match(empty.err, /The Pod "bad" is invalid: spec\.volumes\[0\]\.image\.reference: Required value/);
      const odd = await kubectl(["apply", "-f", "-"], POD("x").replace("pullPolicy:", "pulPolicy:"));
      assert.match(odd.err, /unknown field/);
      assert.match((await kubectl(["get", "widgets"])).err, /the server doesn't have a resource type "widgets"/);
      assert.match((await kubectl(["delete", "pod", "none"])).err, /pods "none" not found/);
    });

    test("create of config maps, secrets, namespaces, accounts and tokens", async () => {
      assert.equal(await ok(["create", "configmap", "m", "--from-literal=a=b"]), "configmap/m created\n");
      assert.equal(await ok(["create", "secret", "generic", "s", "--from-literal=a=b"]), "secret/s created\n");
      const docker = [
        "create",
        "secret",
        "docker-registry",
        "d",
        "--docker-server=r",
        "--docker-username=u",
        "--docker-password=p",
      ];
      assert.equal(await ok(docker), "secret/d created\n");
      assert.equal(await ok(["create", "namespace", "team"]), "namespace/team created\n");
      assert.equal(await ok(["create", "serviceaccount", "robot", "-n", "team"]), "serviceaccount/robot created\n");
      assert.match(await ok(["describe", "secret", "s"]), /a: +1 bytes/);
      if (minor >= 24)
        assert.match(await ok(["create", "token", "robot", "-n", "team"]), /^ey[\w-]+\.ey[\w-]+\.[\w-]+\n?$/);
      assert.equal(await ok(["delete", "namespace", "team"]), 'namespace "team" deleted\n');
      assert.match(await ok(["run", "web", "--image=nginx", "--dry-run=server", "-o", "yaml"]), /uid: /);
    });

    test("set image and replace --force", async () => {
      const pod = POD("r").replace("name: pod", "name: replaced");
      await ok(["create", "-f", "-"], pod);
      assert.equal(await ok(["set", "image", "pod/replaced", "test=busybox:3"]), "pod/replaced image updated\n");
      assert.equal(await ok(["get", "pod", "replaced", "-o", "jsonpath={.spec.containers[0].image}"]), "busybox:3");
      assert.match(await ok(["replace", "--force", "-f", "-"], pod), /deleted.*\npod\/replaced replaced\n$/);
      await ok(["delete", "pods", "-l", "app=r"]);
    });

    test("auth can-i, for oneself and for others", async () => {
      const bob = await kubectl(["auth", "can-i", "create", "pods", "--as=bob"]);
      assert.deepEqual([bob.code, bob.out], [1, "no\n"]);
      assert.match((await kubectl(["get", "pods", "--as=bob"])).err, /User "bob" cannot list resource "pods"/);
      assert.match(await ok(["auth", "can-i", "--list"]), /^\*\.\* +\[\] +\[\] +\[\*\]$/m);
      assert.equal(await ok(["auth", "can-i", "create", "pods"]), "yes\n");
      if (minor >= 28) assert.match(await ok(["auth", "whoami"]), /Username +admin/);
    });

    test("events of a Pod", async () => {
      const event = {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: "e1", namespace: "default" },
        involvedObject: {
          apiVersion: "v1",
          kind: "Pod",
          name: "pod",
          namespace: "default",
          uid: await ok(["get", "pod", "pod", "-o", "jsonpath={.metadata.uid}"]),
        },
        reason: "Pulled",
        message: "Container image present",
        type: "Normal",
        firstTimestamp: new Date().toISOString(),
        lastTimestamp: new Date().toISOString(),
        count: 3,
        source: { component: "kubelet" },
      };
      await ok(["create", "-f", "-"], JSON.stringify(event));
      assert.match(
        await ok(["get", "events"]),
        /^LAST SEEN +TYPE +REASON +OBJECT +MESSAGE\n\S+ +Normal +Pulled +pod\/pod +Container image present\n$/,
      );
      if (minor >= 28) assert.match(await ok(["events", "--for", "pod/pod"]), /Normal +Pulled +Pod\/pod/);
      assert.match(
        await ok(["describe", "pod", "pod"]),
        /Normal +Pulled .*\(x3 over .*kubelet +Container image present/,
      );
    });

    test("wait on a condition and on a deletion", async () => {
      const waiting = ok(["wait", "--for=condition=Ready", "pod/pod", "--timeout=30s"]);
      await patchStatus();
      assert.equal(await waiting, "pod/pod condition met\n");
      assert.match(await ok(["get", "pods"]), /pod +1\/1 +Running/);
      const gone = kubectl(["wait", "--for=delete", "pod/pod", "--timeout=30s"]);
      assert.match(await ok(["delete", "pod", "-l", "x=edited"]), DELETED);
      const { code, err } = await gone;
      // An old kubectl that comes when the Pod is gone already calls that an error.
      assert.ok(code === 0 || (minor < 31 && /no matching resources found/.test(err)), err);
    });

    /** What a kubelet would say once the container runs. */
    async function patchStatus(): Promise<void> {
      const body = JSON.stringify({
        status: {
          phase: "Running",
          conditions: [{ type: "Ready", status: "True" }],
          containerStatuses: [
            { name: "test", ready: true, restartCount: 0, image: "i", imageID: "i", state: { running: {} } },
          ],
        },
      });
      await new Promise<void>((resolve, reject) => {
        const sent = request(
          `${server.url}/api/v1/namespaces/default/pods/pod/status`,
          {
            method: "PATCH",
            ca: pki.ca,
            ...credential,
            headers: { "Content-Type": "application/strategic-merge-patch+json" },
          },
          (response) => {
            response.resume();
            response.once("end", resolve);
          },
        );
        sent.once("error", reject);
        sent.end(body);
      });
    }

    test("drain --dry-run=server evicts nothing", async () => {
      const node = { apiVersion: "v1", kind: "Node", metadata: { name: "drained" } };
      await ok(["create", "-f", "-"], JSON.stringify(node));
      const bound = POD("kept").replace("name: pod", "name: kept").replace("spec:\n", "spec:\n  nodeName: drained\n");
      await ok(["create", "-f", "-"], bound);
      const dry = await kubectl(["drain", "drained", "--dry-run=server", "--force"]);
      assert.match(dry.out, /evicting pod default\/kept \(server dry run\)/);
      // That of 1.20 loses the kind of the Pod, and looks for it among custom resources of a version that is gone since 1.22
      // (kubernetes/kubernetes#100206).
      if (minor === 20) assert.match(dry.err, /failed to list CRDs: the server could not find the requested resource/);
      else assert.match(dry.out, /node\/drained drained \(server dry run\)/);
      assert.match(await ok(["get", "pod", "kept"]), /kept +0\/1 +Pending/);
      await ok(["delete", "pod", "kept", "--force", "--grace-period=0"]);
      await ok(["delete", "node", "drained"]);
    });

    test("delete --force of a Pod that is on a node", async () => {
      const bound = POD("bound").replace("spec:\n", "spec:\n  nodeName: n1\n");
      await ok(["create", "-f", "-"], bound);
      assert.match(await ok(["delete", "pod", "pod", "--wait=false"]), /deleted/);
      assert.match(await ok(["get", "pod", "pod"]), /Terminating/);
      assert.match(await ok(["delete", "pod", "pod", "--force", "--grace-period=0"]), /force deleted/);
      assert.equal((await kubectl(["get", "pod", "pod"])).code, 1);
    });
  });
