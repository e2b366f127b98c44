// The main job, with the real registry, containerd, runc, CNI and kubectl.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { debianKubectl } from "../support/kubectl.ts";
import {
  createWorld,
  leftovers,
  pushObjects,
  ran,
  startUp,
  until,
  type Ran,
  type Up,
  type World,
} from "../support/orlop.ts";

const root = join(import.meta.dirname, "../..");
const POD = join(root, "examples/pod.yaml");

/** The output of a command that must succeed. */
function out(result: Ran): string {
  assert.equal(result.code, 0, `${result.out}${result.err}`);
  return result.out;
}

let world: World;
before(async () => {
  world = await createWorld();
  pushObjects(world);
});
after(async () => {
  const left = leftovers(world);
  await world[Symbol.asyncDispose]();
  assert.deepEqual(left, []);
});

interface Pod {
  metadata: { uid: string; labels?: Record<string, string> };
  status: {
    phase: string;
    qosClass: string;
    podIP: string;
    containerStatuses: {
      containerID: string;
      imageID: string;
      restartCount: number;
      volumeMounts: { name: string; mountPath: string; volumeStatus: { image: { imageRef: string } } }[];
    }[];
  };
}

const getPod = (up: Up, name = "pod"): Pod => JSON.parse(out(up.kubectl("get", "pod", name, "-o", "json"))) as Pod;

for (const [name, kubectl] of [
  ["this machine's kubectl", () => "kubectl"],
  ["Debian's kubectl 1.20", debianKubectl],
] as const)
  suite(`the Pod of the announcement, with ${name}`, () => {
    let up: Up;
    before(async () => {
      up = await startUp(world, { kubectl: kubectl() });
    });
    after(async () => {
      await up.stop();
      assert.deepEqual(leftovers(world), []);
    });

    test("apply, wait, and the files are there", () => {
      assert.equal(out(up.kubectl("apply", "-f", POD)), "pod/pod created\n");
      out(up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"));
      const script = "ls /volume; cat /volume/file; ls /volume/dir; cat /volume/dir/file";
      assert.equal(out(up.kubectl("exec", "pod", "--", "sh", "-c", script)), "dir\nfile\n2\nfile\n1\n");
    });

    test("one erofs mount, read-only, from which nothing runs", () => {
      const mounts = out(up.kubectl("exec", "pod", "--", "mount"));
      const lines = mounts.split("\n").filter((line) => line.includes("/volume"));
      assert.equal(lines.length, 1, mounts);
      const [, options = ""] = /^\S+ on \/volume type erofs \((.*)\)$/.exec(lines[0] ?? "") ?? [];
      for (const option of ["ro", "nosuid", "nodev", "noexec"])
        assert.ok(options.split(",").includes(option), lines[0]);
      const touched = up.kubectl("exec", "pod", "--", "touch", "/volume/x");
      assert.equal(touched.code, 1);
      assert.match(touched.err, /Read-only file system/);
      assert.match(up.kubectl("exec", "pod", "--", "/volume/file").err, /[Pp]ermission denied/);
      assert.match(up.kubectl("exec", "pod", "--", "sh", "-c", "/volume/file").err, /Permission denied/);
    });

    test("the status names the digest that is mounted", () => {
      const pod = getPod(up);
      assert.equal(pod.status.phase, "Running");
      const [status] = pod.status.containerStatuses;
      assert.match(status?.volumeMounts[0]?.volumeStatus.image.imageRef ?? "", /sha256:[0-9a-f]{64}$/);
      assert.match(status?.containerID ?? "", /^containerd:\/\/[0-9a-f]{64}$/);
    });

    test("get, describe and events read as on any cluster", () => {
      assert.match(
        out(up.kubectl("get", "pods")),
        /^NAME +READY +STATUS +RESTARTS +AGE\npod +1\/1 +Running +0 +\d+s\n$/,
      );
      assert.match(out(up.kubectl("get", "pod", "pod", "-o", "wide")), /\bIP +NODE\b[^]*\d+\.\d+\.\d+\.\d+ +n /);
      assert.match(out(up.kubectl("get", "pod", "pod", "-o", "yaml")), /reference: quay\.io\/crio\/artifact:v1/);
      assert.match(out(up.kubectl("get", "nodes")), /^n +Ready/m);
      const described = out(up.kubectl("describe", "pod", "pod"));
      for (const words of ['image "quay.io/crio/artifact:v1"', "Scheduled", "Started", "/volume from volume"])
        assert.ok(described.includes(words), described);
      assert.match(out(up.kubectl("get", "events")), /Pulled/);
    });

    test("exec passes exit codes, standard input and a terminal", () => {
      assert.equal(up.kubectl("exec", "pod", "--", "sh", "-c", "exit 7").code, 7);
      const words = ["kubectl", "--kubeconfig", up.kubeconfig, "exec", "-i", "pod", "--", "sed", "s/a/b/"];
      assert.equal(out(ran([kubectl(), ...words.slice(1)], { input: "aha\n" })), "bha\n");
      const tty = `${kubectl()} --kubeconfig ${up.kubeconfig} exec -it pod -- sh -c 'test -t 0 && echo a terminal'`;
      assert.match(ran(["script", "-qec", tty, "/dev/null"]).out, /a terminal/);
    });

    test("logs come, and a changed label is applied", () => {
      out(up.kubectl("exec", "pod", "--", "sh", "-c", "echo from the container > /proc/1/fd/1"));
      assert.match(out(up.kubectl("logs", "pod")), /from the container/);
      const changed = world.file(
        "labelled.yaml",
        readFileSync(POD, "utf8").replace("name: pod\n", "name: pod\n  labels: {a: b}\n"),
      );
      assert.equal(out(up.kubectl("apply", "-f", changed)), "pod/pod configured\n");
      assert.equal(getPod(up).metadata.labels?.["a"], "b");
    });

    test("delete waits for the Pod to go, and takes its mounts along", () => {
      assert.match(out(up.kubectl("delete", "pod", "pod", "--timeout=40s")), /deleted/);
      assert.match(up.kubectl("get", "pod", "pod").err, /NotFound/);
      const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
      assert.deepEqual(
        mounts.filter((line) => line.includes(world.runDir) && line.includes(" erofs ")),
        [],
      );
    });
  });

test("kubectl debug looks into a running Pod, its image volume included", async () => {
  await using up = await startUp(world);
  out(up.kubectl("apply", "-f", POD));
  out(up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"));
  const image = "registry.k8s.io/e2e-test-images/echoserver:2.3";
  out(
    up.kubectl(
      "debug",
      "pod",
      `--image=${image}`,
      "--container=look",
      "--target=test",
      "--",
      "cat",
      "/proc/1/root/volume/file",
    ),
  );
  await until("the debugger has ended", () => up.kubectl("logs", "pod", "-c", "look").out === "2\n" || undefined);
  out(up.kubectl("delete", "pod", "pod", "--timeout=40s"));
});

test("SIGKILL and a new start keep running Pods, their mounts and the API's objects", async () => {
  let up = await startUp(world);
  try {
    out(up.kubectl("apply", "-f", POD));
    out(up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"));
    const before = getPod(up);
    await up.kill();
    up = await startUp(world);
    await until(
      "the Pod is Ready again",
      () => up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=5s").code === 0 || undefined,
    );
    const now = getPod(up);
    assert.equal(now.metadata.uid, before.metadata.uid);
    assert.equal(now.status.containerStatuses[0]?.containerID, before.status.containerStatuses[0]?.containerID);
    assert.equal(now.status.containerStatuses[0]?.restartCount, 0);
    assert.equal(out(up.kubectl("exec", "pod", "--", "cat", "/volume/dir/file")), "1\n");
    out(up.kubectl("delete", "pod", "pod", "--timeout=40s"));
  } finally {
    await up.stop();
  }
  assert.deepEqual(leftovers(world), []);
});

test("two nodes with directories and ports of their own run on one machine", async () => {
  await using a = await startUp(world, { node: "n" });
  await using b = await startUp(world, { node: "m" });
  for (const up of [a, b]) out(up.kubectl("apply", "-f", POD));
  for (const up of [a, b]) out(up.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"));
  assert.notEqual(getPod(a).metadata.uid, getPod(b).metadata.uid);
  for (const up of [a, b]) assert.equal(out(up.kubectl("exec", "pod", "--", "cat", "/volume/file")), "2\n");
  for (const up of [a, b]) out(up.kubectl("delete", "pod", "pod", "--timeout=40s"));
});

test("the quickstart shows what the README promises, and leaves nothing behind", async () => {
  const child = spawn(process.execPath, [join(root, "scripts/quickstart.ts"), "--once"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => (output += bytes.toString()));
  const code = await new Promise((done) => child.on("close", done));
  assert.equal(code, 0, output);
  assert.match(output, /Nothing is left behind/);
});
