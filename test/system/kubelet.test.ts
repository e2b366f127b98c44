// The kubelet on a real containerd, runc and CNI, through Orlop's CRI and past it, with an API server in memory.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import type { Pod, PodSpec } from "#k8s";
import { linuxKernel } from "#kernel";
import type { RunningKubelet } from "#kubelet";
import { openPki } from "#wire";
import { fakeApi, type FakeApi } from "../../src/kubelet/testing/fake-api.ts";
import { startCriNode, type CriNode } from "../support/cri-node.ts";
import { startKubeletIn } from "../support/kubelet.ts";
import { ARTIFACT, createWorld, leftovers, pushObjects, until, WORKLOAD, type World } from "../support/orlop.ts";

let world: World;
let node: CriNode;
const stack = new AsyncDisposableStack();
before(async () => {
  world = stack.use(await createWorld());
  stack.defer(() => assert.deepEqual(leftovers(world), []));
  pushObjects(world);
  node = stack.use(await startCriNode(world));
});
after(() => stack.disposeAsync());

interface Machine extends AsyncDisposable {
  readonly api: FakeApi;
  kubelet: RunningKubelet;
  apply(name: string, spec: Partial<PodSpec>, metadata?: Pod["metadata"]): Pod;
  when(name: string, test: (pod: Pod) => unknown): Promise<Pod>;
  /** Runs a shell command in a container: its output, without the last newline. */
  sh(pod: string, container: string, command: string): Promise<string>;
  /** What the kubelet's own API answers to an administrator. */
  get(path: string): Promise<string>;
  restart(): Promise<void>;
}

async function machine(name: string, criSocket: string): Promise<Machine> {
  const dir = join(world.dir, name);
  const api = fakeApi();
  const pki = await openPki(join(dir, "pki"));
  const start = (): Promise<RunningKubelet> =>
    startKubeletIn(dir, pki, {
      api,
      criSocket,
      nodeName: name,
      kernel: linuxKernel(),
      config: { cgroupRoot: `/orlop-test-${process.pid}-${name}`, retryPeriod: 500, relistPeriod: 200 },
    });
  const when: Machine["when"] = (pod, test) =>
    api.until(() => {
      const found = api.read("pods", "default", pod) as Pod | undefined;
      return found && test(found) ? found : undefined;
    }, 30);
  const admin = await pki.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
  const one: Machine = {
    api,
    get: (path) =>
      new Promise((resolve, reject) => {
        const { port } = one.kubelet;
        const options = { host: "127.0.0.1", port, ca: pki.ca, ...admin, agent: false as const, path };
        const call = https.get(options, (response) => void text(response).then(resolve, reject));
        call.on("error", reject);
      }),
    kubelet: await start(),
    apply: (pod, spec, metadata = {}) =>
      api.put<Pod>("pods", {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: pod, namespace: "default", ...metadata },
        spec: { nodeName: name, restartPolicy: "Always", terminationGracePeriodSeconds: 2, containers: [], ...spec },
      }),
    when,
    async sh(pod, container, command) {
      const found = await when(pod, (found) => containerOf(found, container)?.state?.running);
      const containerId = containerOf(found, container)?.containerID?.replace("containerd://", "") ?? "";
      const { stdout, stderr } = await node.client.execSync({ containerId, cmd: ["sh", "-c", command] });
      return Buffer.concat([stdout, stderr]).toString().trimEnd();
    },
    async restart() {
      await one.kubelet[Symbol.asyncDispose]();
      one.kubelet = await start();
    },
    async [Symbol.asyncDispose]() {
      for (const pod of (await api.list<Pod>("/api/v1/pods")).items) {
        api.drop("pods", "default", pod.metadata?.name ?? "", 1);
        await api.until(() => !api.read("pods", "default", pod.metadata?.name ?? ""), 30);
      }
      await one.kubelet[Symbol.asyncDispose]();
    },
  };
  return one;
}

const containerOf = (pod: Pod, name: string) =>
  [
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.ephemeralContainerStatuses ?? []),
  ].find((status) => status.name === name);
const isReady = (pod: Pod): boolean =>
  pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;

const through = (name: string): Promise<Machine> => machine(name, join(node.runDir, "cri.sock"));
const image = WORKLOAD;
const idle = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];
const volume = { name: "v", image: { reference: ARTIFACT, pullPolicy: "IfNotPresent" } };

suite("image volumes in every kind of container", () => {
  test("one volume for init, sidecar and app containers, whole, by directory, by file and by expression", async () => {
    await using at = await through("kinds");
    const volumeMounts = [{ name: "v", mountPath: "/v" }];
    at.apply("kinds", {
      initContainers: [
        {
          name: "init",
          image,
          command: ["sh", "-c", "cat /v/dir/file > /out/init"],
          volumeMounts: [...volumeMounts, { name: "out", mountPath: "/out" }],
        },
        { name: "side", image, command: idle, volumeMounts, restartPolicy: "Always" },
      ],
      containers: [
        {
          name: "whole",
          image,
          command: idle,
          volumeMounts: [...volumeMounts, { name: "again", mountPath: "/again" }, { name: "out", mountPath: "/out" }],
        },
        { name: "dir", image, command: idle, volumeMounts: [{ name: "v", mountPath: "/v", subPath: "dir" }] },
        { name: "file", image, command: idle, volumeMounts: [{ name: "v", mountPath: "/etc/file", subPath: "file" }] },
        {
          name: "expr",
          image,
          command: idle,
          env: [{ name: "D", value: "dir" }],
          volumeMounts: [{ name: "v", mountPath: "/v", subPathExpr: "$(D)/file" }],
        },
        { name: "user", image, command: idle, volumeMounts, securityContext: { runAsUser: 65534, runAsGroup: 65534 } },
      ],
      volumes: [volume, { name: "again", image: { reference: ARTIFACT } }, { name: "out", emptyDir: {} }],
    });
    const pod = await at.when("kinds", isReady);
    assert.equal(await at.sh("kinds", "whole", "cat /out/init /v/file /again/file; ls /v"), "1\n2\n2\ndir\nfile");
    assert.equal(await at.sh("kinds", "side", "cat /v/file"), "2");
    assert.equal(await at.sh("kinds", "dir", "ls /v; cat /v/file"), "file\n1");
    assert.equal(await at.sh("kinds", "file", "cat /etc/file"), "2");
    assert.equal(await at.sh("kinds", "expr", "cat /v"), "1");
    assert.equal(
      await at.sh("kinds", "user", "id -u; cat /v/file; touch /v/x 2>&1"),
      "65534\n2\ntouch: /v/x: Read-only file system",
    );
    const ref = containerOf(pod, "whole")?.volumeMounts?.[0] as { volumeStatus?: { image?: { imageRef?: string } } };
    assert.match(ref.volumeStatus?.image?.imageRef ?? "", /^quay\.io\/crio\/artifact@sha256:[0-9a-f]{64}$/);

    const spec = at.api.read("pods", "default", "kinds") as Pod;
    const debug = { name: "debug", image, command: idle, targetContainerName: "whole", volumeMounts };
    at.api.put("pods", { ...spec, spec: { ...spec.spec, ephemeralContainers: [debug] } } as Pod);
    assert.equal(await at.sh("kinds", "debug", "cat /v/file"), "2");
  });

  test("a sub path that is not there keeps its container from starting, and no other", async () => {
    await using at = await through("subpath");
    at.apply("nope", {
      containers: [
        { name: "bad", image, command: idle, volumeMounts: [{ name: "v", mountPath: "/v", subPath: "nope" }] },
        { name: "good", image, command: idle },
      ],
      volumes: [volume],
    });
    const pod = await at.when(
      "nope",
      (pod) =>
        containerOf(pod, "bad")?.state?.waiting?.reason === "CreateContainerError" &&
        containerOf(pod, "good")?.state?.running,
    );
    assert.match(containerOf(pod, "bad")?.state?.waiting?.message ?? "", /^ImageVolumeMountFailed: .*nope/);
  });
});

suite("Pods as people write them", () => {
  test("volumes, environment, limits, rights, names and files of the node arrive in the container", async () => {
    await using at = await through("full");
    const host = join(world.dir, "host");
    mkdirSync(host);
    writeFileSync(join(host, "hello"), "from the host\n");
    at.api.put("configmaps", {
      metadata: { name: "settings", namespace: "default" },
      data: { color: "blue" },
    });
    at.api.put("secrets", {
      metadata: { name: "login", namespace: "default" },
      data: { password: Buffer.from("hunter2").toString("base64") },
    });
    at.apply(
      "full",
      {
        hostname: "captain",
        hostAliases: [{ ip: "10.9.8.7", hostnames: ["alias.example"] }],
        dnsPolicy: "None",
        dnsConfig: { nameservers: ["10.1.1.1"], searches: ["example.test"] },
        shareProcessNamespace: true,
        securityContext: { fsGroup: 4242 },
        containers: [
          {
            name: "a",
            image,
            command: idle,
            env: [{ name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
            resources: { requests: { cpu: "250m" }, limits: { cpu: "500m", memory: "64Mi" } },
            securityContext: {
              capabilities: { drop: ["ALL"] },
              readOnlyRootFilesystem: true,
              allowPrivilegeEscalation: false,
              runAsUser: 1234,
            },
            volumeMounts: [
              { name: "memory", mountPath: "/memory" },
              { name: "host", mountPath: "/host", readOnly: true },
              { name: "config", mountPath: "/config" },
              { name: "one", mountPath: "/etc/color", subPath: "color" },
              { name: "secret", mountPath: "/secret" },
              { name: "projected", mountPath: "/projected" },
            ],
          },
          { name: "b", image, command: idle },
        ],
        volumes: [
          { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
          { name: "host", hostPath: { path: host, type: "Directory" } },
          { name: "config", configMap: { name: "settings" } },
          { name: "one", configMap: { name: "settings" } },
          { name: "secret", secret: { secretName: "login", defaultMode: 0o400 } },
          {
            name: "projected",
            projected: {
              sources: [
                { serviceAccountToken: { path: "token" } },
                { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
              ],
            },
          },
        ],
      },
      { labels: { app: "full" } },
    );
    const pod = await at.when("full", isReady);
    const sh = (command: string): Promise<string> => at.sh("full", "a", command);
    assert.equal(
      await sh("cat /config/color; echo; cat /etc/color; echo; cat /secret/password; echo; cat /host/hello"),
      "blue\nblue\nhunter2\nfrom the host",
    );
    assert.equal(await sh("cat /projected/token; echo; cat /projected/labels"), 'token-of-default\napp="full"');
    assert.equal(await sh("hostname; echo $IP"), `captain\n${pod.status?.podIP}`);
    assert.match(await sh("cat /etc/hosts"), /10\.9\.8\.7\talias\.example/);
    assert.equal(await sh("cat /etc/resolv.conf"), "search example.test\nnameserver 10.1.1.1");
    assert.equal(
      await sh("id -u; id -G; touch /memory/x && echo written; touch /x 2>&1"),
      "1234\n0 4242\nwritten\ntouch: /x: Read-only file system",
    );
    assert.equal(
      await sh("grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status"),
      "CapEff:\t0000000000000000\nNoNewPrivs:\t1",
    );
    assert.match(await sh("ps | head -2"), /pause|catatonit/);
    const root = `/sys/fs/cgroup/memory/orlop-test-${process.pid}-full/kubepods/burstable/pod${pod.metadata?.uid}`;
    const limits = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => readFileSync(join(root, name, "memory.limit_in_bytes"), "utf8").trim());
    assert.ok(limits.includes(String(64 << 20)), limits.join());
    assert.equal(pod.status?.qosClass, "Burstable");

    // What the API changes, a running container sees.
    at.api.drop("pods", "default", "full", 1);
    await at.api.until(() => !at.api.read("pods", "default", "full"), 30);
    assert.throws(() => readdirSync(root), /ENOENT/);
    assert.deepEqual(readdirSync(join(world.dir, "full/kubelet/pods")), []);
  });

  test("a Pod as a whole is limited and counted, and no group is left of it, nor of one whose kubelet was killed", async () => {
    await using at = await through("whole");
    const whole = { resources: { limits: { memory: "64Mi", cpu: "1" } } } as Partial<PodSpec>;
    at.apply("whole", { containers: [{ name: "a", image, command: idle }], ...whole });
    const { metadata } = await at.when("whole", isReady);
    const kubepods = `/sys/fs/cgroup/memory/orlop-test-${process.pid}-whole/kubepods`;
    const group = join(kubepods, `pod${metadata?.uid}`);
    assert.equal(readFileSync(join(group, "memory.limit_in_bytes"), "utf8").trim(), String(64 << 20));

    const { pods } = JSON.parse(await at.get("/stats/summary")) as {
      pods: { memory: { workingSetBytes: number }; network: { name: string; rxBytes: number } }[];
    };
    assert.equal(pods[0]?.network.name, "eth0");
    const { workingSetBytes } = pods[0].memory;
    assert.ok(workingSetBytes > 0 && workingSetBytes < 64 << 20, String(workingSetBytes));

    at.apply("done", { restartPolicy: "Never", containers: [{ name: "a", image, command: ["true"] }] });
    const done = await at.when("done", ({ status }) => status?.phase === "Succeeded");
    const over = join(kubepods, `besteffort/pod${done.metadata?.uid}`);
    await until("the group of a Pod that is over is gone", () => !existsSync(over) || undefined);

    mkdirSync(join(kubepods, "besteffort/podgone/container"), { recursive: true });
    await at.restart();
    await until("the group is gone", () => !existsSync(join(kubepods, "besteffort")) || undefined);
    at.api.drop("pods", "default", "whole", 1);
    await at.api.until(() => !at.api.read("pods", "default", "whole"), 30);
    assert.ok(!existsSync(kubepods));
  });

  test("probes of every kind, a crash and its last words, and a hook", async () => {
    await using at = await through("probes");
    const web = ["sh", "-c", "mkdir -p /tmp/www; echo ok > /tmp/www/index.html; httpd -f -p 8080 -h /tmp/www"];
    at.apply("probes", {
      containers: [
        {
          name: "web",
          image,
          command: web,
          ports: [{ name: "http", containerPort: 8080 }],
          startupProbe: { tcpSocket: { port: "http" }, periodSeconds: 1, failureThreshold: 20 },
          readinessProbe: { httpGet: { port: "http", path: "/" }, periodSeconds: 1 },
          livenessProbe: { exec: { command: ["test", "-e", "/tmp/www"] }, periodSeconds: 1, failureThreshold: 1 },
          lifecycle: { postStart: { exec: { command: ["touch", "/tmp/hooked"] } } },
        },
        { name: "crash", image, command: ["sh", "-c", "echo last words > /dev/termination-log; exit 7"] },
      ],
    });
    const crashed = await at.when(
      "probes",
      (pod) =>
        containerOf(pod, "web")?.ready && containerOf(pod, "crash")?.state?.waiting?.reason === "CrashLoopBackOff",
    );
    const { terminated } = containerOf(crashed, "crash")?.lastState ?? {};
    assert.deepEqual([terminated?.exitCode, terminated?.reason, terminated?.message], [7, "Error", "last words\n"]);
    assert.equal(await at.sh("probes", "web", "ls /tmp/hooked; rm -r /tmp/www"), "/tmp/hooked");
    await at.when("probes", (pod) => containerOf(pod, "web")?.restartCount === 1 && containerOf(pod, "web")?.ready);
  });
});

suite("a kubelet that comes and goes", () => {
  test("takes over what runs, restarts what died meanwhile, and a lost sandbox is made anew", async () => {
    await using at = await through("again");
    at.apply("web", {
      containers: [{ name: "a", image, command: idle, volumeMounts: [{ name: "v", mountPath: "/v" }] }],
      volumes: [volume],
    });
    const before = await at.when("web", isReady);
    await at.restart();
    at.apply("other", { containers: [{ name: "b", image, command: idle }] });
    await at.when("other", isReady);
    const same = at.api.read("pods", "default", "web") as Pod;
    assert.equal(containerOf(same, "a")?.containerID, containerOf(before, "a")?.containerID);

    const containerId = containerOf(same, "a")?.containerID?.replace("containerd://", "") ?? "";
    await at.kubelet[Symbol.asyncDispose]();
    await node.client.stopContainer({ containerId, timeout: 0n });
    await at.restart();
    await at.when("web", (pod) => containerOf(pod, "a")?.restartCount === 1 && isReady(pod));
    assert.equal(await at.sh("web", "a", "cat /v/file"), "2");

    const { items } = await node.client.listPodSandbox({
      filter: { labelSelector: { "io.kubernetes.pod.name": "web" } },
    });
    await node.client.stopPodSandbox({ podSandboxId: items[0]?.id ?? "" });
    await at.when("web", (pod) => containerOf(pod, "a")?.restartCount === 2 && isReady(pod));
    assert.equal(await at.sh("web", "a", "cat /v/file"), "2");
  });
});

suite("a stock runtime", () => {
  test("runs Pods, and says itself what it makes of an image volume", async () => {
    await using at = await machine("stock", node.containerd.socket);
    at.apply("plain", { containers: [{ name: "a", image, command: idle }] });
    await at.when("plain", isReady);
    at.apply("volume", {
      containers: [
        { name: "a", image, command: idle, volumeMounts: [{ name: "v", mountPath: "/v" }] },
        { name: "b", image, command: idle },
      ],
      volumes: [{ name: "v", image: { reference: WORKLOAD } }],
    });
    const pod = await at.when(
      "volume",
      (pod) => containerOf(pod, "a")?.state?.waiting?.message && containerOf(pod, "b")?.state?.running,
    );
    const waiting = containerOf(pod, "a")?.state?.waiting;
    assert.equal(waiting?.reason, "CreateContainerError");
    assert.match(waiting?.message ?? "", /host.?path|mkdir/i);
  });
});
