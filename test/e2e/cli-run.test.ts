/** `orchestrator run`: plans of shell commands in real repositories, and the exit code that each end has. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import {
  commandTask as task,
  jsonLines,
  openCliScene,
  type CliResult,
  type CliScene,
  type SceneOptions,
} from "../cli/cli-scene.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let scenes: CliScene[] = [];
const open = (options?: SceneOptions): CliScene => {
  const scene = openCliScene(options);
  scenes.push(scene);
  return scene;
};
afterEach(async () => {
  const open = scenes;
  scenes = [];
  for (const scene of open) await scene.leave();
});

const run = (scene: CliScene, plan: object, ...words: string[]): Promise<CliResult> =>
  scene.run(["run", "-", ...words], { input: JSON.stringify(plan) });

/** The most agents that ever ran at once, by the events of a `--json` run. */
function mostAtOnce(stdout: string): number {
  const running = new Set<unknown>();
  let most = 0;
  for (const event of jsonLines(stdout)) {
    if (event["type"] !== "task-state") continue;
    if (event["to"] === "running") running.add(event["task"]);
    else running.delete(event["task"]);
    most = Math.max(most, running.size);
  }
  return most;
}

describe("how a plan ends is what the command ends with", () => {
  test("0: three tasks in order, merged, each change a line", async () => {
    const scene = open();
    const plan = {
      name: "three",
      tasks: [
        task("a", "echo a > a.txt"),
        task("b", "cat a.txt > b.txt; echo b >> b.txt", { dependsOn: ["a"] }),
        task("c", "echo c > c.txt"),
      ],
    };
    const { code, stdout, stderr } = await run(scene, plan);
    expect(stderr).not.toContain("error");
    expect([scene.read("a.txt"), scene.read("b.txt"), scene.read("c.txt")]).toEqual(["a\n", "a\nb\n", "c\n"]);
    expect(scene.git("status", "--porcelain")).toBe("");
    const lines = stdout.split("\n");
    for (const line of ["a running", "a succeeded", "b running", "b succeeded", "c succeeded"])
      expect(lines).toContain(line);
    expect(lines.indexOf("a succeeded")).toBeLessThan(lines.indexOf("b running"));
    expect(stdout).toContain("plan three succeeded: 3 of 3 tasks done");
    expect(code).toBe(0);
  });

  test("P3, 1: one fails; its dependents are blocked, everything else is done and merged", async () => {
    const scene = open();
    const plan = {
      tasks: [
        task("bad", "echo before >&2; exit 3"),
        task("after", "true", { dependsOn: ["bad"] }),
        task("soft", "exit 1", { onFailure: "soft" }),
        task("aftersoft", "echo x > aftersoft.txt", { dependsOn: ["soft"] }),
        task("good", "echo good > good.txt"),
      ],
    };
    const { code, stdout } = await run(scene, plan);
    expect(code).toBe(1);
    expect([scene.read("good.txt"), scene.read("aftersoft.txt"), scene.read("after.txt")]).toEqual([
      "good\n",
      "x\n",
      null,
    ]);
    expect(stdout).toMatch(/failed: bad: .*exit code 3.*→ orchestrator retry /);
    expect(stdout).toContain("blocked: after");
  });

  test("P3, 1: all crash; one summary names each", async () => {
    const scene = open();
    const plan = { tasks: ["a", "b", "c"].map((id) => task(id, "kill -9 $$", { retries: 0 })) };
    const { code, stdout } = await run(scene, plan);
    expect(code).toBe(1);
    expect(stdout.match(/ended with failures: 0 of 3 tasks done/g)).toHaveLength(1);
    for (const id of ["a", "b", "c"]) expect(stdout).toContain(`failed: ${id}: `);
  });

  test("0: a failure that is passed over", async () => {
    const scene = open();
    const plan = {
      tasks: [task("a", "exit 1", { onFailure: "skip" }), task("b", "echo b > b.txt", { dependsOn: ["a"] })],
    };
    expect((await run(scene, plan)).code).toBe(0);
    expect(scene.read("b.txt")).toBe("b\n");
  });

  test("4: what waits for a person is named with the command, and the command clears it", async () => {
    const scene = open();
    const plan = {
      name: "by-hand",
      tasks: [task("m", "echo m > m.txt", { merge: "manual" }), task("n", "true", { dependsOn: ["m"] })],
    };
    const { code, stdout } = await run(scene, plan);
    expect(code).toBe(4);
    const command = /waits: m \(manual-merge\): .*→ orchestrator (merge by-hand\/m)$/m.exec(stdout)?.[1];
    expect(command).toBeDefined();
    expect(scene.read("m.txt")).toBeNull();
    expect((await scene.run((command ?? "").split(" "))).code).toBe(0);
    const watched = await scene.run(["status", "by-hand", "--watch", "--json"]);
    expect(jsonLines(watched.stdout).at(-1)).toMatchObject({ type: "summary", state: "succeeded" });
    expect(scene.read("m.txt")).toBe("m\n");
  });

  test("4: the user's own file stands in the way; nothing of it is touched, and git's words are told", async () => {
    const scene = open();
    scene.file("repo/taken.txt", "mine\n");
    const { code, stdout } = await run(scene, { tasks: [task("taken", "echo theirs > taken.txt")] });
    expect(code).toBe(4);
    expect(stdout).toContain("taken.txt");
    expect(scene.read("taken.txt")).toBe("mine\n");
  });
});

describe("what a program reads", () => {
  test("--json: each line is JSON, first the plan, then events in order, last the summary", async () => {
    const scene = open();
    const { code, stdout } = await run(scene, { tasks: [task("a", "echo a > a.txt"), task("b", "exit 2")] }, "--json");
    const lines = jsonLines(stdout);
    expect(code).toBe(1);
    expect(lines[0]).toMatchObject({ type: "plan", target: "main", total: 2 });
    expect(lines.at(-1)).toMatchObject({
      type: "summary",
      state: "failed",
      exitCode: 1,
      merged: [{ task: "a/a" }],
      failed: [{ task: "a/b" }],
    });
    const seqs = lines.slice(1, -1).map((line) => Number(line["seq"]));
    expect(seqs.length).toBeGreaterThan(5);
    expect(seqs).toEqual([...new Set(seqs)].sort((left, right) => left - right));
  });

  test("whoever reads goes away: the command ends quietly, and the plan goes on", async () => {
    const scene = open();
    const plan = JSON.stringify({
      name: "unread",
      tasks: [task("a", "sleep 1; echo a > a.txt"), task("b", "echo b > b.txt")],
    });
    const { child, result, says } = scene.start(["run", "-", "--json"], { input: plan });
    await says('"type":"plan"');
    child.stdout?.destroy();
    const { stderr } = await result;
    expect(stderr).not.toMatch(/EPIPE|at /);
    await until("both are merged", () => scene.read("a.txt") === "a\n" && scene.read("b.txt") === "b\n");
  });

  test("hostile output of an agent is text where people read it", async () => {
    const scene = open();
    const plan = {
      name: "nasty",
      // In two pieces, for the prompt itself is shown too.
      tasks: [task("a", `printf '\\033]0;ow%s\\007\\033[2J\\342\\200\\256last words\\n' ned >&2; exit 1`)],
    };
    const { stdout } = await run(scene, plan);
    const more = await Promise.all(
      ["status nasty/a", "why nasty/a", "logs nasty"].map((words) => scene.run(words.split(" "))),
    );
    for (const text of [stdout, ...more.map((result) => result.stdout)]) {
      // oxlint-disable-next-line no-control-regex -- the point is that there is none
      expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]|owned/);
    }
    expect(stdout).toContain("last words");
  });
});

describe("P2: --concurrent N", () => {
  const three = { maxConcurrent: 3, tasks: ["a", "b", "c"].map((id) => task(id, `sleep 0.4; echo ${id} > ${id}.txt`)) };

  test("1 is a plain sequence", async () => {
    const { code, stdout } = await run(open(), three, "--concurrent", "1", "--json");
    expect([code, mostAtOnce(stdout)]).toEqual([0, 1]);
  });

  test("2 of three: two at once, the third is queued", async () => {
    const { code, stdout } = await run(open(), three, "--concurrent", "2", "--json");
    expect([code, mostAtOnce(stdout)]).toEqual([0, 2]);
  });

  test("more than there is work", async () => {
    const { code, stdout } = await run(open(), three, "--concurrent", "50", "--json");
    expect(code).toBe(0);
    expect(mostAtOnce(stdout)).toBeLessThanOrEqual(3);
  });
});

describe("where and from what", () => {
  test.each(["with spaces", `it's "quoted"`, "größe-日本", "$(touch pwned)", "-dash"])(
    "a repository in %j",
    async (folderName) => {
      const scene = open({ folderName });
      const { code, stderr } = await run(scene, {
        tasks: [task("a", "echo a > a.txt"), task("b", "cat a.txt > b.txt", { dependsOn: ["a"] })],
      });
      expect(stderr).not.toContain("error");
      expect([code, scene.read("b.txt")]).toEqual([0, "a\n"]);
    },
  );

  test("from elsewhere, by --repo, with a YAML file whose prompts begin with / and -", async () => {
    const scene = open();
    const path = scene.file(
      "plan file.yaml",
      'tasks:\n  - {id: a, agent: command, prompt: "/bin/echo a > a.txt", writes: [a.txt]}\n  - {id: b, agent: command, prompt: "-x; echo b > b.txt", writes: [b.txt]}\n',
    );
    const { code } = await scene.run(["run", path, "--repo", scene.repository], { cwd: "/" });
    expect([code, scene.read("a.txt"), scene.read("b.txt")]).toEqual([0, "a\n", "b\n"]);
  });

  test("--into makes a new branch and leaves the one that is checked out alone", async () => {
    const scene = open();
    const before = scene.git("rev-parse", "main");
    const { code } = await run(scene, { tasks: [task("a", "echo a > a.txt")] }, "--into", "result");
    expect(code).toBe(0);
    expect(scene.git("rev-parse", "main")).toBe(before);
    expect(scene.git("show", "result:a.txt")).toBe("a\n");
  });

  test("--dry-run tells the order and changes nothing", async () => {
    const scene = open();
    const { code, stdout } = await run(
      scene,
      { tasks: [task("b", "true", { dependsOn: ["a"] }), task("a", "echo a > a.txt")] },
      "--dry-run",
    );
    expect(code).toBe(0);
    expect(stdout).toContain("longest path: a → b");
    expect(stdout).toContain("verify: nothing");
    expect(scene.git("for-each-ref", "--format=%(refname)").trim()).toBe("refs/heads/main");
    expect(scene.read("a.txt")).toBeNull();
  });

  test("S3: the same file again does nothing again that is done, and runs what failed", async () => {
    const scene = open();
    const log = `${scene.folder}/ran`;
    const plan = scene.file("plan.json", {
      name: "again",
      tasks: [
        task("a", `echo a >> '${log}'; echo a > a.txt`),
        task("b", `echo b >> '${log}'; test -e '${scene.folder}/go' && echo b > b.txt`),
      ],
    });
    expect((await scene.run(["run", plan])).code).toBe(1);
    scene.file("go", "");
    expect((await scene.run(["run", plan])).code).toBe(0);
    expect((await scene.run(["run", plan])).code).toBe(0);
    // It has ended for good: nothing of it is kept for later, and what undo needs is all that stays.
    expect((await scene.run(["stop"])).code).toBe(0);
    expect(scene.git("worktree", "list").trim().split("\n")).toHaveLength(1);
    expect(scene.git("for-each-ref", "--format=%(refname)").trim().split("\n")).toEqual([
      "refs/heads/main",
      "refs/orchestrator/before/again",
    ]);
    const { readFileSync } = await import("node:fs");
    expect(readFileSync(log, "utf8").split("\n").filter(Boolean).sort()).toEqual(["a", "b", "b"]);
  });
});

test("S3: the engine is killed in the middle: the command goes on with the next one and tells why an agent began again", async () => {
  const scene = open();
  const plan = { name: "cut", tasks: [task("slow", `until test -e '${scene.folder}/go'; do sleep 0.1; done`)] };
  const { result, says } = scene.start(["run", "-"], { input: JSON.stringify(plan) });
  await says("slow running");
  const { pid } = JSON.parse((await scene.run(["ps", "--json"])).stdout) as { pid: number };
  process.kill(pid, "SIGKILL");
  await says("slow ready: engine-crash: the engine ended while it ran");
  // Told for as long as it concerns what is going on.
  expect((await scene.run(["status"])).stdout).toContain("cut was interrupted");
  scene.file("go", "");
  expect((await result).code).toBe(0);
  expect((await scene.run(["status"])).stdout).not.toContain("interrupted");
});

describe("R4: Ctrl-C", () => {
  test("once: no new starts, agents end, their work is kept, 130, and resume goes on", async () => {
    const scene = open();
    const go = `${scene.folder}/go`;
    const plan = {
      name: "long",
      tasks: [
        task(
          "slow",
          `echo half > half.txt; test -e '${go}' || { touch '${go}-soon'; sleep 60; }; echo done > slow.txt`,
        ),
        task("next", "echo n > next.txt", { dependsOn: ["slow"] }),
      ],
    };
    const { child, result, says } = scene.start(["run", "-"], { input: JSON.stringify(plan) });
    await says("slow running");
    await until("it has begun its work", () => existsSync(`${go}-soon`));
    child.kill("SIGINT");
    const { code, stdout } = await result;
    expect(code).toBe(130);
    expect(stdout).toContain("orchestrator resume long");
    expect(scene.git("show", "orchestrator/long/slow:half.txt")).toBe("half\n");
    expect(JSON.parse((await scene.run(["ps", "--json"])).stdout)).toMatchObject({ running: true, processes: [] });
    scene.file("go", "");
    expect((await scene.run(["resume", "long"])).code).toBe(0);
    const end = jsonLines((await scene.run(["status", "long", "--watch", "--json"])).stdout).at(-1);
    expect(end).toMatchObject({ type: "summary", state: "succeeded" });
    expect([scene.read("slow.txt"), scene.read("next.txt")]).toEqual(["done\n", "n\n"]);
  });

  test("running a paused plan's file again goes on with it", async () => {
    const scene = open();
    const plan = scene.file("plan.json", {
      name: "held",
      tasks: [task("a", `test -e '${scene.folder}/go' || sleep 60; echo a > a.txt`)],
    });
    const { child, result, says } = scene.start(["run", plan]);
    await says("a running");
    child.kill("SIGTERM");
    expect((await result).code).toBe(130);
    scene.file("go", "");
    expect((await scene.run(["run", plan])).code).toBe(0);
    expect(scene.read("a.txt")).toBe("a\n");
  });

  test("twice: leaves at once with 130, and nothing is left running, though the agent has minutes to end", async () => {
    const scene = open();
    const ready = join(scene.folder, "ready");
    // Longer than this test waits for anything.
    scene.file("home/config.json", { agents: { killGraceSeconds: 600 } });
    const prompt = `trap '' TERM; echo $$ > '${ready}.new'; mv '${ready}.new' '${ready}'; while :; do sleep 0.2; done`;
    const plan = { tasks: [task("stubborn", prompt)] };
    const { child, result, says } = scene.start(["run", "-"], { input: JSON.stringify(plan) });
    await says("stubborn running");
    // Before it has set its trap, the first TERM would end it.
    await until("the agent ignores TERM", () => existsSync(ready));
    child.kill("SIGINT");
    // The second is a second one only after the first was heard, and not in the same quarter of a second: npx passes
    // the terminal's own on.
    await until("the first is heard", async () => (await scene.run(["status"])).stdout.includes("paused"));
    await until("the command has left", () => !child.kill("SIGINT"));
    const { code, stdout } = await result;
    expect(code).toBe(130);
    expect(stdout).not.toContain("tasks done");
    await until("the agent is dead", () => !isAlive(Number(readFileSync(ready, "utf8"))));
    expect((await scene.run(["status"])).stdout).toContain("orchestrator resume");
  });
});
