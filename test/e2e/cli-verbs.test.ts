/** The verbs beside `run`: looking, steering, and the engine's life. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { commandTask as task, jsonLines, openCliScene, type CliScene } from "../cli/cli-scene.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let scene: CliScene;
beforeEach(() => {
  scene = openCliScene();
});
afterEach(async () => await scene.leave());

const detach = async (plan: object): Promise<string> => {
  const { code, stdout, stderr } = await scene.run(["run", "-", "--detach", "--json"], { input: JSON.stringify(plan) });
  if (code !== 0) throw new Error(stderr);
  return String(jsonLines(stdout)[0]?.["plan"]);
};
const json = async <Shape>(...words: string[]): Promise<Shape> => {
  const { code, stdout, stderr } = await scene.run([...words, "--json"]);
  if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  return JSON.parse(stdout) as Shape;
};
const stateOf = async (name: string): Promise<string> => (await json<{ state: string }>("why", name)).state;
const untilState = async (name: string, wanted: string): Promise<void> => {
  let state = "";
  await until(
    `${name} is ${wanted}`,
    async () => (state = await stateOf(name)) === wanted,
    () => `It is ${state}.`,
  );
};
/** A task that runs until the test lets it go on, then writes its file. */
const held = (id: string, rest: object = {}): object =>
  task(id, `while [ ! -e '${scene.folder}/go' ]; do sleep 0.05; done; echo ${id} > ${id}.txt`, rest);

describe("looking at what runs", () => {
  test("--detach comes back at once; status, why, logs, diff and ps tell of it, for people and as JSON", async () => {
    const plan = await detach({
      name: "looked-at",
      tasks: [held("first"), task("second", "echo 2 > second.txt", { dependsOn: ["first"] })],
    });
    expect(plan).toBe("looked-at");
    await untilState("looked-at/first", "running");

    const status = await json<{ plans: { plan: string; state: string; tasks: { task: string; state: string }[] }[] }>(
      "status",
    );
    expect(status.plans).toMatchObject([{ plan, state: "running", total: 2 }]);
    expect((await scene.run(["status"])).stdout).toMatch(/looked-at → main {2}running/);
    expect((await scene.run(["status", "second"])).stdout).toContain("looked-at/second");

    const why = await json<{ state: string; why: { code: string; waitsFor: string[] } }>("why", "looked-at/second");
    expect(why).toMatchObject({ state: "pending", why: { code: "dependencies", waitsFor: ["looked-at/first"] } });
    expect((await scene.run(["why", "second"])).stdout).toContain("waits for looked-at/first");

    // The process is in the list some moments after the task is.
    await until(
      "the process is there",
      async () => (await json<{ processes: unknown[] }>("ps")).processes.length === 1,
    );
    expect((await scene.run(["ps"])).stdout).toContain("looked-at/first");

    const follow = scene.start(["logs", "looked-at", "-f"]);
    await follow.says("looked-at/first running");
    scene.file("go", "");
    await follow.says("looked-at/second succeeded");
    follow.child.kill("SIGTERM");
    await follow.result;

    const events = jsonLines((await scene.run(["logs", "looked-at/first", "--json"])).stdout);
    expect(events.every((event) => event["task"] === "looked-at/first")).toBe(true);
    expect(events.map((event) => event["type"])).toEqual(
      expect.arrayContaining(["attempt-started", "attempt-ended", "merge-ended"]),
    );
    expect((await scene.run(["logs", "first", "--turns"])).stdout).toContain("[prompt]");

    const diff = await scene.run(["diff", "looked-at/first"]);
    expect(diff.stdout).toContain("+++ b/first.txt\n@@ -0,0 +1 @@\n+first\n");
    // What goes into a pipe is a patch that git takes.
    const other = join(scene.folder, "other");
    mkdirSync(other);
    writeFileSync(join(scene.folder, "patch"), diff.stdout);
    scene.git("apply", "--check", "-R", join(scene.folder, "patch"));
  });

  test("with no plan at all each verb says so", async () => {
    expect((await scene.run(["status"])).stdout).toContain("There are no plans");
    expect((await scene.run(["logs"])).code).toBe(0);
  });

  test("status --watch of everything ends when the engine is stopped", async () => {
    await detach({ name: "w", tasks: [held("a")] });
    await untilState("w/a", "running");
    const watch = scene.start(["status", "--watch"]);
    await watch.says("w → main");
    expect((await scene.run(["stop"])).code).toBe(0);
    await watch.result;
  });
});

describe("steering", () => {
  test("cancel, retry, skip, pause and resume do it to a plan or a task, and say what cannot be", async () => {
    await detach({
      name: "p",
      tasks: [
        held("a"),
        task("b", "exit 1"),
        task("c", "echo c > c.txt", { dependsOn: ["b"] }),
        task("d", "true", { dependsOn: ["a"] }),
      ],
    });
    await untilState("p/b", "failed");
    expect(await stateOf("p/c")).toBe("blocked");
    expect((await scene.run(["skip", "p/b"])).stdout).toMatch(/skip.* p\/b/);
    await untilState("p/c", "succeeded");

    await untilState("p/a", "running");
    expect((await scene.run(["pause", "a"])).code).toBe(0);
    await untilState("p/a", "waiting");
    expect((await scene.run(["why", "p/a"])).stdout).toContain("orchestrator resume p/a");
    expect((await scene.run(["resume", "p/a"])).code).toBe(0);
    await untilState("p/a", "running");

    expect((await scene.run(["cancel", "p"])).code).toBe(0);
    await untilState("p/a", "cancelled");
    const refused = await scene.run(["cancel", "p/c"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/^error: can't cancel task p\/c: it is succeeded/);

    scene.file("go", "");
    expect((await scene.run(["retry", "p"])).code).toBe(0);
    const end = jsonLines((await scene.run(["status", "p", "--watch", "--json"])).stdout).at(-1);
    expect(end).toMatchObject({ type: "summary", state: "succeeded" });
    expect(scene.read("a.txt")).toBe("a\n");
  });

  test("edit adds, changes and drops what has not started; a cycle is refused as a whole", async () => {
    await detach({
      name: "e",
      tasks: [held("a"), task("b", "echo old > b.txt", { dependsOn: ["a"] }), task("x", "true", { dependsOn: ["a"] })],
    });
    const cycle = { add: [task("c", "true", { dependsOn: ["b"] })], change: [{ id: "b", dependsOn: ["c"] }] };
    const refused = await scene.run(["edit", "e", "-"], { input: JSON.stringify(cycle) });
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/cycle|→/)]);
    const change = scene.file(
      "change.yaml",
      "change: [{id: b, prompt: echo new > b.txt}]\ndrop: [x]\nadd: [{id: c, agent: command, prompt: 'echo c > c.txt', writes: [c.txt]}]\n",
    );
    expect((await scene.run(["edit", "e", change])).stdout).toContain("1 added, 1 changed, 1 dropped");
    scene.file("go", "");
    const end = jsonLines((await scene.run(["status", "e", "--watch", "--json"])).stdout).at(-1);
    expect(end).toMatchObject({ state: "succeeded", total: 3 });
    expect([scene.read("b.txt"), scene.read("c.txt")]).toEqual(["new\n", "c\n"]);
  });

  test("spawn: alone, into a plan after others, with claims, from standard input, with a prompt that begins with -", async () => {
    const alone = await scene.run(["spawn", "--agent", "command", "--id", "s", "--writes", "s.txt", "--json", "-"], {
      input: "echo s > s.txt",
    });
    expect(JSON.parse(alone.stdout)).toMatchObject({ task: "s/s" });
    await untilState("s/s", "succeeded");
    expect(scene.read("s.txt")).toBe("s\n");

    await detach({ name: "grow", tasks: [held("a")] });
    const more = await scene.run([
      "spawn",
      "cat a.txt > b.txt",
      "--agent=command",
      "--plan=grow",
      "--id=b",
      "--after=a",
      "--writes=b.txt",
    ]);
    expect(more.stdout).toContain("orchestrator status grow/b");
    expect(await stateOf("grow/b")).toBe("pending");
    scene.file("go", "");
    await untilState("grow/b", "succeeded");
    expect(scene.read("b.txt")).toBe("a\n");

    const dash = await scene.run(["spawn", "--agent", "command", "--id", "dash", "--json", "--", "-x"]);
    expect(JSON.parse(dash.stdout)).toMatchObject({ task: "dash/dash" });
    const refused = await scene.run(["spawn", "true", "--agent", "comand"]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('"command"')]);
  });
});

describe("the engine's life", () => {
  test("R4: stop ends all that runs and waits for it; the work is kept and goes on; without an engine it says so", async () => {
    await detach({ name: "kept", tasks: [held("a")] });
    await untilState("kept/a", "running");
    const { pid } = await json<{ pid: number }>("ps");
    const stopped = await scene.run(["stop"]);
    expect(stopped.code).toBe(0);
    // Or whoever stopped it to have an end begins it again by looking.
    expect(stopped.stdout).toMatch(
      /work is kept\.\nOpen: kept\. It goes on with the next command.*orchestrator pause kept/s,
    );
    expect(isAlive(pid)).toBe(false);
    const again = await scene.run(["stop"]);
    expect([again.code, again.stdout]).toEqual([0, "No engine was running here.\n"]);
    expect((await scene.run(["ps"])).stdout).toContain("No engine is running here");
    expect(await json("ps")).toEqual({ running: false, processes: [] });
    scene.file("go", "");
    await untilState("kept/a", "succeeded");
    expect(scene.read("a.txt")).toBe("a\n");
  });

  test.each([["cancel"], ["pause"]])(
    "R4: a plan that was stopped is not started again by its own %s",
    async (action) => {
      const starts = `echo x >> '${scene.folder}/starts'`;
      await detach({ name: "ended", tasks: [task("a", `${starts}; sleep 300`), task("b", `${starts}; sleep 300`)] });
      const begun = (): number => readFileSync(`${scene.folder}/starts`, "utf8").length / 2;
      await until("both run", () => existsSync(`${scene.folder}/starts`) && begun() === 2);
      expect((await scene.run(["stop"])).code).toBe(0);
      expect((await scene.run([action, "ended"])).code).toBe(0);
      const { plans } = await json<{ plans: { running: number; tasks: { state: string }[] }[] }>("status", "ended");
      expect(plans[0]?.tasks.map(({ state }) => state)).toEqual(
        action === "cancel" ? ["cancelled", "cancelled"] : ["waiting", "waiting"],
      );
      expect((await json<{ processes: { label: string }[] }>("ps")).processes).toEqual([]);
      expect(begun()).toBe(2);
    },
  );

  test("serve runs it in the foreground: others use it, a second one is refused, Ctrl-C ends it in order", async () => {
    const serve = scene.start(["serve"]);
    await serve.says("listens on");
    const { pid } = await json<{ pid: number }>("ps");
    await detach({ name: "served", tasks: [held("a")] });
    await untilState("served/a", "running");
    const second = await scene.run(["serve"]);
    expect([second.code, second.stderr]).toEqual([3, expect.stringContaining("another engine has this repository")]);
    serve.child.kill("SIGINT");
    expect((await serve.result).code).toBe(130);
    expect(isAlive(pid)).toBe(false);
    expect(await json("ps")).toMatchObject({ running: false });
  });

  test("B7: serve that is killed leaves no engine behind", async () => {
    const serve = scene.start(["serve"]);
    await serve.says("listens on");
    const { pid } = await json<{ pid: number }>("ps");
    await detach({ name: "served", tasks: [held("a")] });
    await untilState("served/a", "running");
    serve.child.kill("SIGKILL");
    await until("the engine has ended", () => !isAlive(pid));
    expect(await json("ps")).toMatchObject({ running: false, processes: [] });
  });

  test("M2: mcp answers a host over standard input and output, also behind --repo", async () => {
    const program =
      process.env["ORCHESTRATOR_TEST_PROGRAM"] ?? new URL("../../dist/cli/main.js", import.meta.url).pathname;
    for (const words of [
      ["mcp", "--repo", scene.repository],
      ["--repo", scene.repository, "mcp"],
    ]) {
      const host = spawn(process.execPath, [program, ...words], {
        cwd: "/",
        env: { ...process.env, ORCHESTRATOR_HOME: join(scene.folder, "home") },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let output = "";
      host.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
      const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } };
      host.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params })}\n`);
      await until("the first answer is there", () => output.includes("\n"));
      expect(JSON.parse(output.split("\n")[0] ?? "")).toMatchObject({
        id: 1,
        result: { serverInfo: { name: "orchestrator-mcp" } },
      });
      const ended = new Promise((resolve) => host.once("close", resolve));
      host.stdin.end();
      expect(await ended).toBe(0);
    }
  });
});

describe("plan GOAL", () => {
  /** A planner that needs no model: whatever it is asked, it answers these tasks. */
  const usePlanner = (tasks: readonly object[]): void => {
    const planner = scene.file("planner.sh", `#!/bin/sh\ncat <<'END'\n${JSON.stringify({ tasks })}\nEND\n`);
    chmodSync(planner, 0o755);
    scene.file("home/config.json", {
      providers: { planner: { kind: "command", command: planner } },
      agents: { orchestrator: { provider: "planner" } },
    });
  };
  const tasks = [
    { id: "one", title: "One", agent: "command", prompt: "echo 1 > one.txt", writes: ["one.txt"] },
    {
      id: "two",
      title: "Two",
      agent: "command",
      prompt: "cat one.txt > two.txt",
      writes: ["two.txt"],
      dependsOn: ["one"],
    },
  ];

  test("D1: the goal is decomposed and shown; nothing starts until a person says so, by the command that is told", async () => {
    usePlanner(tasks);
    const shown = await scene.run(["plan", "make two files"]);
    expect(shown.stdout).toMatch(/two .*waiting|two .*pending/);
    expect(shown.code).toBe(4);
    expect(scene.read("one.txt")).toBeNull();
    const command = /orchestrator (resume \S+)$/m.exec(shown.stdout)?.[1] ?? "";
    expect((await scene.run(command.split(" "))).code).toBe(0);
    await untilState(`${command.split(" ")[1] ?? ""}/two`, "succeeded");
    expect(scene.read("two.txt")).toBe("1\n");
  });

  test("D1: --yes starts and follows it to its end", async () => {
    usePlanner(tasks);
    const { code, stdout } = await scene.run(["plan", "make two files", "--yes"]);
    expect([code, stdout]).toEqual([0, expect.stringContaining("succeeded: 3 of 3 tasks done")]);
    expect(scene.read("two.txt")).toBe("1\n");
  });
});

describe("what a task's own script has", () => {
  test("context and report from inside a task, by the command on its PATH; steering is refused there", async () => {
    const prompt = [
      "orchestrator context --json > context.txt",
      "orchestrator report 'all is well' > /dev/null",
      "orchestrator cancel inside/script > refused.txt 2>&1 || echo $? >> refused.txt",
    ].join("; ");
    const plan = { name: "inside", tasks: [task("script", prompt, { writes: ["*.txt"] })] };
    const { code, stdout } = await scene.run(["run", "-"], { input: JSON.stringify(plan) });
    expect([code, stdout]).toEqual([0, expect.stringContaining("script succeeded")]);
    expect(JSON.parse(scene.read("context.txt") ?? "")).toMatchObject({ task: { task: "inside/script", attempt: 1 } });
    expect((await json<{ task: { report: object } }>("status", "inside/script")).task.report).toMatchObject({
      summary: "all is well",
    });
    expect(scene.read("refused.txt")).toMatch(/^error: .*\n3\n$/s);
  });

  test("for a person they are refused, with and without an engine", async () => {
    expect((await scene.run(["context"])).code).toBe(3);
    // An engine stays once something was planned.
    expect((await scene.run(["run", "-"], { input: JSON.stringify({ tasks: [task("a", "true")] }) })).code).toBe(0);
    const refused = await scene.run(["report", "x"]);
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining("not for an operator")]);
    expect((await scene.run(["report", "x", "--status", "fine"])).code).toBe(2);
  });
});

describe("config and trust", () => {
  test("config get, set, unset, schema and path; an unknown key is refused with the nearest", async () => {
    expect(await json("config", "get", "limits.agents")).toMatchObject({ value: 4, origin: { layer: "default" } });
    expect((await scene.run(["config", "set", "limits.agents", "7"])).code).toBe(0);
    expect(await json("config", "get", "limits.agents")).toMatchObject({ value: 7, origin: { layer: "global" } });
    expect((await scene.run(["config", "unset", "limits.agents"])).code).toBe(0);
    expect(await json("config", "get", "limits.agents")).toMatchObject({ value: 4 });
    const wrong = await scene.run(["config", "set", "limits.agent", "7"]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("agents")]);
    expect((await scene.run(["config", "set", "limits.agents", "0"])).code).toBe(2);
    expect((await scene.run(["config", "gett"])).stderr).toContain('did you mean "get"?');
    expect(JSON.parse((await scene.run(["config", "schema"])).stdout)).toHaveProperty("properties");
    expect(await json("config", "path")).toEqual({
      global: join(scene.folder, "home", "config.json"),
      project: join(scene.repository, ".orchestrator", "config.json"),
    });
  });

  test("a broken config: 2, with file, line and column", async () => {
    scene.file("home/config.json", '{\n  "limits": { "agents": "many" }\n}\n');
    const { code, stderr } = await scene.run(["config", "get"]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/config\.json:2:\d+/)]);
    expect((await scene.run(["doctor"])).code).toBe(3);
  });

  test("a repository's own config: no plan starts before it is trusted, for exactly the text that is there", async () => {
    scene.file("repo/.orchestrator/config.json", '{ "verify": ["true"] }\n');
    scene.git("add", ".");
    scene.git("commit", "-q", "-m", "Config");
    const plan = JSON.stringify({ tasks: [task("a", "echo a > a.txt")] });
    const refused = await scene.run(["run", "-"], { input: plan });
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("orchestrator trust")]);
    expect((await scene.run(["doctor"])).code).toBe(3);
    const shown = await scene.run(["trust"]);
    expect(shown.stdout).toContain('"verify"');
    expect(shown.code).toBe(4);
    expect((await scene.run(["trust", "--yes"])).code).toBe(0);
    expect((await scene.run(["run", "-"], { input: plan })).code).toBe(0);
    scene.file("repo/.orchestrator/config.json", '{ "verify": ["false"] }\n');
    expect((await scene.run(["trust", "--show"])).stdout).toContain("changed since it was trusted");
    expect((await scene.run(["run", "-"], { input: plan })).code).toBe(2);
  });

  test("the doctor of a good repository: 0, each finding with what mends it, and no value of a secret", async () => {
    const { code, stdout } = await scene.run(["doctor"], { env: { ANTHROPIC_API_KEY: "sk-ant-very-secret" } });
    expect(code).toBe(0);
    for (const check of ["Node", "git", "SQLite", "repository", "state", "engine", "config"])
      expect(stdout).toContain(`✓ ${check}`);
    expect(stdout).not.toContain("very-secret");
  });
});
