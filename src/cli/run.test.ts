import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { suite, test } from "node:test";
import { Failure } from "#base";
import { digestOf } from "#oci";
import type {
  Engine,
  FsckFinding,
  PruneRequest,
  PublishRequest,
  PullRequest,
  PushRequest,
  StoredObject,
  Volume,
} from "#engine";
import { run } from "./run.ts";
import type { Check, Parts, UpFlags } from "./parts.ts";

const object: StoredObject = {
  digest: digestOf("manifest"),
  resolved: digestOf("manifest"),
  references: ["quay.io/crio/artifact:v1"],
  repoDigests: [],
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  packaging: "oras",
  isImage: false,
  size: 1536,
  pulledAt: Date.now() - 3 * 3600_000,
};

interface Called {
  published: PublishRequest[];
  pushed: PushRequest[];
  pulled: PullRequest[];
  up: UpFlags[];
  unpublished: string[];
  pruned: PruneRequest[];
}

/** Runs a command line against an engine that answers as told, and returns what the person sees. */
async function orlop(
  argv: string,
  given: {
    stored?: boolean;
    volumes?: Volume[];
    fail?: Error;
    checks?: Check[];
    isPruned?: boolean;
    findings?: FsckFinding[];
    signal?: AbortSignal;
  } = {},
): Promise<{ code: number; out: string; err: string; called: Called }> {
  const called: Called = { published: [], pushed: [], pulled: [], up: [], unpublished: [], pruned: [] };
  const engine: Partial<Engine> = {
    find: () => Promise.resolve(given.stored === true ? object : undefined),
    list: () => Promise.resolve([object]),
    pull: (request) => {
      called.pulled.push(request);
      return given.fail === undefined ? Promise.resolve(object) : Promise.reject(given.fail);
    },
    publish: (request) => {
      called.published.push(request);
      if (given.isPruned === true && called.published.length === 1)
        return Promise.reject(new Failure("NOT_FOUND", "NOT_FOUND", "it is not in the store"));
      return Promise.resolve({ subPath: "", exec: false, mounted: true, ...request });
    },
    fsck: () => Promise.resolve(given.findings ?? []),
    unpublish: (owner) => Promise.resolve(void called.unpublished.push(owner)),
    volumes: () => Promise.resolve(given.volumes ?? []),
    prune: (request = {}) => {
      called.pruned.push(request);
      return Promise.resolve({ freed: 1536, removed: [] });
    },
    push: (request) => {
      called.pushed.push(request);
      return Promise.resolve({ digest: object.digest, size: 1 });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const parts: Parts = {
    version: "1.2.3",
    openEngine: () => Promise.resolve(engine as Engine),
    up: (_places, flags) => Promise.resolve(void called.up.push(flags)),
    apiserver: () => Promise.resolve(),
    kubelet: () => Promise.resolve(),
    cri: () => Promise.resolve(),
    doctor: () => Promise.resolve(given.checks ?? []),
  };
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await run(
    argv.split(" ").filter(Boolean),
    parts,
    { out, err },
    given.signal ?? new AbortController().signal,
  );
  const text = (stream: PassThrough): string => ((stream.read() as Buffer | null) ?? "").toString();
  return { code, out: text(out), err: text(err), called };
}

suite("exit codes", () => {
  for (const line of [
    "",
    "frob",
    "pull",
    "ls --frob",
    "ls --output yaml",
    "push onlyone",
    "up --port 70000",
    "up --port x",
  ])
    test(`\`orlop ${line}\` is called wrongly: 2, with words`, async () => {
      const { code, err } = await orlop(line);
      assert.equal(code, 2);
      assert.notEqual(err.trim(), "");
    });

  for (const line of ["--help", "--version", "help", "up --help"])
    test(`\`orlop ${line}\` is well: 0`, async () => {
      const { code, out } = await orlop(line);
      assert.equal(code, 0);
      assert.notEqual(out.trim(), "");
    });

  test("a failure is 1, in one line", async () => {
    const fail = new Failure("UNAVAILABLE", "REGISTRY_UNAVAILABLE", "quay.io does not answer:\n  connection refused");
    const { code, err, out } = await orlop("pull quay.io/a:v1", { fail });
    assert.deepEqual([code, err, out], [1, "orlop: quay.io does not answer: connection refused\n", ""]);
  });

  test("a pull that is interrupted says what becomes of it: 130", async () => {
    const signal = AbortSignal.abort(new Error("stopped by SIGINT"));
    const { code, out, err } = await orlop("pull quay.io/x:v1", { fail: signal.reason as Error, signal });
    assert.deepEqual([code, out], [130, ""]);
    assert.equal(err, "orlop: interrupted: what was fetched stays, and the next pull goes on there\n");
  });

  test("a URL instead of a reference says what to write", async () => {
    const { code, err, called } = await orlop("pull http://127.0.0.1:5000/x:v1");
    assert.equal(code, 2);
    assert.match(err, /leave http:\/\/ away, and write 127\.0\.0\.1:5000\/x:v1; that its host has no TLS is said/);
    assert.deepEqual(called.pulled, []);
  });

  test("a reference that is none is a usage error", async () => {
    const fail = new Failure("INVALID_ARGUMENT", "INVALID_REFERENCE", "no");
    assert.equal((await orlop("pull UPPER", { fail })).code, 2);
  });

  test("a word that is nearly a command is guessed", async () => {
    assert.match((await orlop("pul x")).err, /Did you mean pull/);
  });
});

suite("objects", () => {
  test("pull prints the digest, or all of it as JSON", async () => {
    assert.equal((await orlop("pull quay.io/crio/artifact:v1")).out, `${object.digest}\n`);
    assert.deepEqual(JSON.parse((await orlop("pull quay.io/crio/artifact:v1 -o json")).out), object);
  });

  test("pull reads files where it is told to, under the name they have or the one it is given", async () => {
    assert.deepEqual((await orlop("pull oci:/tmp/My_Model:v1")).called.pulled, [
      { reference: "localhost/my-model:v1", from: "oci:/tmp/My_Model:v1" },
    ]);
    assert.deepEqual((await orlop("pull docker-archive:./a.tar:busybox:1.36")).called.pulled, [
      { reference: "docker.io/library/busybox:1.36", from: "docker-archive:./a.tar:busybox:1.36" },
    ]);
    assert.deepEqual((await orlop("pull --from oci:/tmp/x quay.io/me/x:v1")).called.pulled, [
      { reference: "quay.io/me/x:v1", from: "oci:/tmp/x" },
    ]);
  });

  test("ls is a table as kubectl prints them", async () => {
    const [head, row] = (await orlop("ls")).out.split("\n");
    assert.match(head ?? "", /^REFERENCE +DIGEST +PACKAGING +SIZE +AGE$/);
    assert.match(row ?? "", /^quay\.io\/crio\/artifact:v1 +[0-9a-f]{12} +oras +1\.5 KiB +3h$/);
  });

  test("mount pulls what is missing, and only that", async () => {
    const missing = await orlop("mount a /mnt/x");
    assert.deepEqual(missing.called.pulled, [{ reference: "a" }]);
    const present = await orlop("mount a /mnt/x --sub-path dir --exec", { stored: true });
    assert.deepEqual(present.called.pulled, []);
    assert.deepEqual(present.called.published, [
      { owner: "mount:/mnt/x", digest: object.digest, target: "/mnt/x", exec: true, subPath: "dir" },
    ]);
  });

  test("mount pulls again what is pruned before it is mounted, unless it may not", async () => {
    const { code, called } = await orlop("mount quay.io/crio/artifact:v1 /mnt", { stored: true, isPruned: true });
    assert.deepEqual([code, called.pulled.length, called.published.length], [0, 1, 2]);
    const never = await orlop("mount --pull never quay.io/crio/artifact:v1 /mnt", { stored: true, isPruned: true });
    assert.deepEqual([never.code, never.called.pulled], [1, []]);
  });

  test("mount --pull=never says that it may not ask", async () => {
    const { code, err } = await orlop("mount a /mnt/x --pull never");
    assert.equal(code, 1);
    assert.match(err, /--pull=never/);
  });

  test("umount leaves what is not a person's mount", async () => {
    const volume = {
      owner: "sandbox1",
      digest: object.digest,
      target: "/mnt/x",
      subPath: "",
      exec: false,
      mounted: true,
    };
    const { code, err, called } = await orlop("umount /mnt/x", { volumes: [volume] });
    assert.equal(code, 1);
    assert.match(err, /sandbox1/);
    assert.deepEqual(called.unpublished, []);
    const own = await orlop("umount /mnt/x", { volumes: [{ ...volume, owner: "mount:/mnt/x" }] });
    assert.deepEqual(own.called.unpublished, ["mount:/mnt/x"]);
  });

  test("push takes the reference last", async () => {
    const { called, out } = await orlop("push a b quay.io/x:v1 --annotation k=v=w --compression none");
    assert.deepEqual(called.pushed, [
      { reference: "quay.io/x:v1", paths: ["a", "b"], compression: "none", annotations: { k: "v=w" } },
    ]);
    assert.equal(out, `quay.io/x:v1@${object.digest}\n`);
  });
});

suite("up", () => {
  test("the flags reach it", async () => {
    const { called } = await orlop(
      "up --port 0 --feature-gates ImageVolume=false,Other=true --enable-admission-plugins AlwaysPullImages --emulated-version 1.31 --node-name n1 --containerd unix:///run/c.sock --data-dir /d",
    );
    const [flags] = called.up;
    assert.equal(flags?.port, 0);
    assert.equal(flags.evictionHard?.["nodefs.available"], "1Gi");
    assert.equal(flags.featureGates, "ImageVolume=false,Other=true");
    assert.equal(flags.admissionPlugins, "AlwaysPullImages");
    assert.equal(flags.emulatedVersion, "1.31");
    assert.equal(flags.containerd, "/run/c.sock");
    assert.equal(flags.nodeName, "n1");
    assert.equal(flags.kubeconfig, "/d/admin.kubeconfig");
    assert.equal(flags.allowExec, true);
    assert.equal(flags.watermarks, undefined);
  });

  test("who may use images, and who gives logins, reaches it; half of it is refused", async () => {
    const { called } = await orlop(
      "up --image-credential-provider-config /p.yaml --image-credential-provider-bin-dir /bin --image-pull-credentials-verification-policy NeverVerifyAllowlistedImages --preloaded-images-verification-allowlist quay.io/a,quay.io/b/*",
    );
    assert.deepEqual(called.up[0]?.imageAccess, {
      imageCredentialProviderConfigFile: "/p.yaml",
      imageCredentialProviderBinDir: "/bin",
      imagePullCredentialsVerificationPolicy: "NeverVerifyAllowlistedImages",
      preloadedImagesVerificationAllowlist: ["quay.io/a", "quay.io/b/*"],
    });
    const half = await orlop("up --image-credential-provider-config /p.yaml");
    assert.equal(half.code, 1);
    assert.match(half.err, /--image-credential-provider-bin-dir/);
    assert.equal((await orlop("up --image-pull-credentials-verification-policy Sometimes")).code, 2);
  });

  test("what must be left of the machine reaches it, and what is no threshold names the flag", async () => {
    const list = "--eviction-hard=memory.available<5%,nodefs.available<1Gi";
    const { called } = await orlop(`up ${list}`);
    assert.deepEqual(called.up[0]?.evictionHard, { "memory.available": "5%", "nodefs.available": "1Gi" });
    const none = await orlop("up --eviction-hard=");
    assert.deepEqual(none.called.up[0]?.evictionHard, {});
    const { code, err } = await orlop("up --eviction-hard=memory.available");
    assert.equal(code, 2);
    assert.match(err, /--eviction-hard/);
  });

  test("what volumes may, and how much they may take, reaches it", async () => {
    const { called } = await orlop("up --forbid-exec --high-watermark 50GiB --low-watermark 40G");
    assert.equal(called.up[0]?.allowExec, false);
    assert.deepEqual(called.up[0]?.watermarks, { high: 50 * 1024 ** 3, low: 40e9 });
  });

  test("a node name that Kubernetes would refuse names the flag", async () => {
    const { code, err } = await orlop("up --node-name Über");
    assert.equal(code, 2);
    assert.match(err, /--node-name/);
  });
});

test("fsck fails for what could not be mended, and only for that", async () => {
  const finding = { digest: object.digest, path: "/blob", problem: "it was bad" };
  const mended = await orlop("fsck", { findings: [{ ...finding, isMended: true }] });
  assert.deepEqual([mended.code, mended.out, mended.err], [0, `${object.digest}: it was bad (/blob)\n`, ""]);
  const lost = await orlop("fsck", { findings: [{ ...finding, isMended: false }] });
  assert.equal(lost.code, 1);
  assert.match(lost.err, /^orlop: 1 of the stored blobs is damaged or missing, and could not be fetched again\n$/);
});

suite("watermarks", () => {
  const wrong: Readonly<Record<string, RegExp>> = {
    "prune --low-watermark much": /--low-watermark <mark>' argument 'much' is invalid. It must be bytes, such as 50GiB/,
    "prune --low-watermark 101%": /must be bytes, such as 50GiB, or a percentage, such as 85%/,
    "prune --low-watermark -5": /must be bytes/,
    "prune --high-watermark 85%": /--high-watermark says half of it: give --low-watermark too/,
    "up --low-watermark 85%": /--low-watermark says half of it: give --high-watermark too/,
    "up --high-watermark 80% --low-watermark 85%": /80% \(high\) and 85% \(low\) make no sense: the low one is above/,
    "cri --high-watermark 80% --low-watermark 1Gi": /write bytes or percent for both/,
  };
  for (const [argv, line] of Object.entries(wrong))
    test(`\`orlop ${argv}\` is called wrongly`, async () => {
      const { code, err, called } = await orlop(argv);
      assert.match(err, line);
      assert.equal(code, 2);
      assert.match(err, /^orlop: [^\n]+\n$/);
      assert.deepEqual([called.up, called.pruned], [[], []]);
    });

  test("prune goes down to a mark, always or only from another mark on", async () => {
    assert.deepEqual((await orlop("prune")).called.pruned, [{}]);
    assert.deepEqual((await orlop("prune --low-watermark 0")).called.pruned, [{ downTo: 0 }]);
    const both = await orlop("prune --high-watermark 85% --low-watermark 72.5%");
    assert.deepEqual(both.called.pruned, [{ above: "85%", downTo: "72.5%" }]);
    assert.equal(both.out, "1.5 KiB freed\n");
  });
});

test("doctor fails when something is missing without which nothing works", async () => {
  const checks: Check[] = [{ name: "runc", state: "error", found: "missing", cost: "no container can be started" }];
  const { code, out, err } = await orlop("doctor", { checks });
  assert.equal(code, 1);
  assert.match(out, /runc +missing: no container can be started/);
  assert.match(err, /runc/);
});
