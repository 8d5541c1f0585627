/** Bad input is refused before anything has happened: one clear line, the promised exit code, and no trace in the repository. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commandTask, openCliScene, type CliResult, type CliScene, type SceneOptions } from "../cli/cli-scene.ts";
import { until } from "../support/until.js";

function expectRefusal({ code, stdout, stderr }: CliResult, expected: { code: number; says: string | RegExp }): void {
  expect(stderr).toMatch(/^error: /);
  expect(stderr).toMatch(expected.says);
  // No stack, no second error.
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(stderr.match(/^error: /gm)).toHaveLength(1);
  expect(stdout).toBe("");
  expect(code).toBe(expected.code);
}

/** What stands beside git's own things, after a moment's look: no state, no worktree, no ref, no process. */
function expectNoTrace(scene: CliScene): void {
  const { repository, folder } = scene;
  expect(existsSync(join(repository, ".git", "orchestrator"))).toBe(false);
  expect(scene.git("for-each-ref", "--format=%(refname)").trim()).toBe("refs/heads/main");
  expect(scene.git("worktree", "list").trim().split("\n")).toHaveLength(1);
  expect(existsSync(join(folder, "home", "worktrees"))).toBe(false);
}

const one = { tasks: [commandTask("a", "true")] };

describe("a wrong command line ends with 2 and starts no engine", () => {
  let scene: CliScene;
  let plan = "";
  beforeAll(() => {
    scene = openCliScene();
    plan = scene.file("plan.json", one);
  });
  afterAll(async () => {
    expect(existsSync(join(scene.repository, ".git", "orchestrator"))).toBe(false);
    await scene.leave();
  });

  test.each([
    [["run", "PLAN", "--concurrent", "0"], '--concurrent must be a whole number from 1 to 1000, not "0"'],
    [["run", "PLAN", "--concurrent", "-1"], 'not "-1"'],
    [["run", "PLAN", "--concurrent", "x"], 'not "x"'],
    [["run", "PLAN", "--concurrent=1.5"], 'not "1.5"'],
    [["run", "PLAN", "--concurrent"], "--concurrent needs a value"],
    [["run", "PLAN", "--dryrun"], "Did you mean --dry-run?"],
    [["stat"], "there is no verb"],
    [["statsu"], "Did you mean `status`?"],
    [["tui"], "not in this version yet"],
    [["run"], "FILE is missing"],
    [["run", "a", "b"], "one word too many"],
    [["--repo"], "a verb is missing"],
    [["run", "/nowhere/plan.json"], "there is no file /nowhere/plan.json"],
    [["run", "."], "is a folder"],
  ])("%j", async (words, says) => {
    const result = await scene.run(words.map((word) => (word === "PLAN" ? plan : word)));
    expectRefusal(result, { code: 2, says });
  });

  test("a plan that is not JSON: line and column", async () => {
    const path = scene.file("bad.json", '{\n  "tasks": [\n    {"id" "a"}\n  ]\n}\n');
    expectRefusal(await scene.run(["run", path]), { code: 2, says: /bad\.json:3:\d+: not JSON/ });
  });

  test("a plan that is not YAML: line and column", async () => {
    const path = scene.file("bad.yaml", "tasks:\n  - id: [a\n");
    expectRefusal(await scene.run(["run", path]), { code: 2, says: /bad\.yaml:\d+:\d+: not YAML/ });
  });

  test("an empty file, and nothing on standard input", async () => {
    expectRefusal(await scene.run(["run", scene.file("empty.json", "")]), { code: 2, says: "is empty" });
    expectRefusal(await scene.run(["run", "-"]), { code: 2, says: "standard input is empty" });
  });

  test("a plan with an option of the command in it", async () => {
    const path = scene.file("odd.json", { ...one, dryRun: true });
    expectRefusal(await scene.run(["run", path]), { code: 2, says: 'a plan has no "dryRun"' });
  });

  test("with --json the error is an object with its code, on standard output", async () => {
    const { stdout, stderr, code } = await scene.run(["run", "/nowhere", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ type: "error", code: "PLAN_UNREADABLE" });
    expect(stderr).toMatch(/^error: /);
    expect(code).toBe(2);
  });

  test("without a verb: the help on standard error", async () => {
    const { code, stdout, stderr } = await scene.run([]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("Usage: orchestrator VERB");
  });
});

describe("a wrong plan ends with 2, names what is wrong, and makes no branch, worktree or plan", () => {
  let scene: CliScene;
  beforeAll(() => {
    scene = openCliScene();
  });
  afterAll(async () => {
    const status = await scene.run(["status", "--json"]);
    expect(JSON.parse(status.stdout)).toMatchObject({ plans: [] });
    // Of engines that were started at once one may come when the others are gone; it leaves after this client of its.
    await until("no engine is left", () => !existsSync(join(scene.repository, ".git", "orchestrator")));
    expectNoTrace(scene);
    await scene.leave();
  });

  const task = commandTask;
  test.each<[string, object, string | RegExp]>([
    ["no tasks", { tasks: [] }, "at least one task"],
    ["neither tasks nor a goal", {}, "needs `tasks`"],
    ["tasks that are no list", { tasks: "a" }, "tasks"],
    [
      "a cycle, named",
      {
        tasks: [
          task("a", "true", { dependsOn: ["c"] }),
          task("b", "true", { dependsOn: ["a"] }),
          task("c", "true", { dependsOn: ["b"] }),
        ],
      },
      /[abc] → [abc] → [abc] → [abc]/,
    ],
    ["a task that waits for itself", { tasks: [task("a", "true", { dependsOn: ["a"] })] }, /a → a/],
    [
      "an unknown dependency, with the nearest",
      { tasks: [task("build", "true"), task("b", "true", { dependsOn: ["biuld"] })] },
      '"build"',
    ],
    ["an unknown agent, with the nearest", { tasks: [task("a", "true", { agent: "comand" })] }, '"command"'],
    ["an unknown key, with the nearest", { tasks: [task("a", "true", { dependson: [] })] }, "dependsOn"],
    ["an unknown key of the plan", { ...one, maxConcurent: 2 }, "maxConcurrent"],
    ["two tasks with one id", { tasks: [task("same", "true"), task("same", "false")] }, "same"],
    ["an id with a slash", { tasks: [task("a/b", "true")] }, "task id"],
    ["an id with ..", { tasks: [task("a..b", "true")] }, "task id"],
    ["an id with a space", { tasks: [task("a b", "true")] }, "task id"],
    ["an id that git would take for a lock", { tasks: [task("a.lock", "true")] }, "task id"],
    ["an id of 65 characters", { tasks: [task("a".repeat(65), "true")] }, "task id"],
    ["an empty id", { tasks: [task("", "true")] }, "task id"],
    ["an id in capitals", { tasks: [task("A", "true")] }, "task id"],
    ["an absolute claim", { tasks: [task("a", "true", { writes: ["/etc/passwd"] })] }, "absolute"],
    ["a claim that leaves the repository", { tasks: [task("a", "true", { writes: ["src/../../x"] })] }, "`..`"],
    ["an empty claim", { tasks: [task("a", "true", { writes: [" "] })] }, "empty"],
    ["a prompt with NUL", { tasks: [task("a", "echo \u0000")] }, "NUL"],
    ["an empty prompt", { tasks: [task("a", " ")] }, "prompt"],
    ["a missing prompt", { tasks: [{ id: "a", agent: "command" }] }, "prompt"],
    ["maxConcurrent of 0", { ...one, maxConcurrent: 0 }, "maxConcurrent"],
    ["a negative timeout", { tasks: [task("a", "true", { timeoutMinutes: -1 })] }, "timeoutMinutes"],
    ["a name that is no id", { ...one, name: "../x" }, "name"],
    ["a missing target", { ...one, target: "nowhere" }, '"nowhere"'],
    ["a target of our own", { ...one, target: "orchestrator/x" }, "orchestrator"],
  ])("%s", async (_what, plan, says) => {
    expectRefusal(await scene.run(["run", "-"], { input: JSON.stringify(plan) }), { code: 2, says });
    expectNoTrace(scene);
  });

  test("the file is named, whatever is wrong with the plan in it", async () => {
    const wrong = {
      schema: { tasks: [task("a/b", "true")] },
      dependency: { tasks: [task("a", "true", { dependsOn: ["b"] })] },
      cycle: { tasks: [task("a", "true", { dependsOn: ["a"] })] },
      twice: { tasks: [task("a", "true"), task("a", "true")] },
      agent: { tasks: [task("a", "true", { agent: "nobody" })] },
    };
    for (const [name, plan] of Object.entries(wrong)) {
      const path = scene.file(`${name}.json`, plan);
      expectRefusal(await scene.run(["run", path]), { code: 2, says: `${name}.json: ` });
    }
  });

  test("a dry run, and a plan that is only looked for, leave nothing either", async () => {
    const dry = await scene.run(["run", "-", "--dry-run"], { input: JSON.stringify(one) });
    expect(dry.code).toBe(0);
    expectNoTrace(scene);
    expect((await scene.run(["status"])).code).toBe(0);
    expectNoTrace(scene);
    expect((await scene.run(["ps"])).code).toBe(0);
    await scene.run(["doctor"]);
    expectNoTrace(scene);
  });

  test("an agent whose CLI is not installed: 3, with how to install it", async () => {
    // Where one of the CLIs is installed this plan would be fine, and paid for.
    const programs = join(scene.folder, "programs");
    mkdirSync(programs);
    const git = execFileSync("sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();
    symlinkSync(git, join(programs, "git"));
    const result = await scene.run(["run", "-"], {
      input: JSON.stringify({ tasks: [{ id: "a", prompt: "x", agent: "coder" }] }),
      env: { PATH: programs },
    });
    expectRefusal(result, { code: 3, says: /install/ });
  });

  test("names that are not there", async () => {
    const verbs = ["why", "diff", "status", "logs", "cancel", "retry", "pause"];
    const calls = verbs.flatMap(
      (verb) =>
        [
          [verb, "nothing"],
          [verb, "no-plan/no-task"],
        ] as const,
    );
    // At once, so that they share an engine.
    const results = await Promise.all(calls.map((words) => scene.run(words)));
    for (const [index, [, name]] of calls.entries()) {
      const result = results[index];
      if (result !== undefined) expectRefusal(result, { code: 2, says: name.split("/")[0] ?? name });
    }
  });
});

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted();
}

describe("where nothing can run the exit code is 3", () => {
  const refused = async (
    options: SceneOptions,
    says: string | RegExp,
    code = 3,
    prepare?: (scene: CliScene) => void,
  ): Promise<void> => {
    const scene = openCliScene(options);
    try {
      prepare?.(scene);
      const before = filesBelow(scene.repository);
      expectRefusal(await scene.run(["run", "-"], { input: JSON.stringify(one) }), { code, says });
      expect(filesBelow(scene.repository)).toEqual(before);
    } finally {
      await scene.leave();
    }
  };

  test("no repository", () => refused({ repository: "none" }, "No git repository was found"));
  test("a bare repository", () => refused({ repository: "bare" }, "bare"));
  test("no commit yet", () => refused({ repository: "empty" }, "commit"));
  test("a branch named orchestrator", () =>
    refused({}, "orchestrator", 3, (scene) => scene.git("branch", "orchestrator")));
  test("a detached HEAD without a target: 2, with what to do", () =>
    refused({}, "--into NAME", 2, (scene) => scene.git("checkout", "-q", "--detach")));

  test("--repo that is none", async () => {
    const scene = openCliScene();
    try {
      mkdirSync(join(scene.folder, "empty"));
      const result = await scene.run(["status", "--repo", join(scene.folder, "empty")]);
      expectRefusal(result, { code: 3, says: "is not in a git repository" });
    } finally {
      await scene.leave();
    }
  });

  test("the doctor says so too, with the command that mends it", async () => {
    const scene = openCliScene({ repository: "none" });
    try {
      const { code, stdout } = await scene.run(["doctor", "--json"]);
      const { usable, findings } = JSON.parse(stdout) as {
        usable: boolean;
        findings: { check: string; level: string; fix: string | null }[];
      };
      expect([code, usable]).toEqual([3, false]);
      expect(findings.find(({ check }) => check === "repository")).toMatchObject({
        level: "fail",
        fix: expect.stringContaining("git init") as string,
      });
    } finally {
      await scene.leave();
    }
  });
});
