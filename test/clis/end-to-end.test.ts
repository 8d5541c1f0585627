/**
 * The whole of it: the built program, the real agent CLIs as satellites, scripted models on loopback. Each test is a
 * user of its own with a home, a repository and a config; whatever a CLI needs comes from that user's environment.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { acts, CLI_NAMES, jsonIn, type CliName, type ModelAct, type ModelTurn } from "./support/models.ts";
import { MODELS, PIPE, World, type WorldOptions } from "./support/world.ts";
import { until } from "../support/until.js";

let world: World;

afterEach(async () => {
  await world.leave();
});

async function open(options: WorldOptions = {}): Promise<void> {
  world = await World.open(options);
}

/** A coder's turn as most tests want it. */
function coder(cli: CliName, file = `${cli}.txt`): readonly ModelAct[] {
  return [
    { tool: "task_context", input: {} },
    { write: file, content: `by ${cli}\n` },
    { tool: "report_result", input: { status: "succeeded", summary: `REPORT-OF-${cli}` } },
    { say: `${cli} is done` },
  ];
}

function task(cli: CliName, more: object = {}): object {
  return { id: cli, agent: `coder-${cli}`, prompt: `PROMPT-FOR-${cli}`, writes: [`${cli}.txt`], ...more };
}

/** Every name of a tool of ours that the model could have read anywhere in its request. */
function ourToolsIn(turn: ModelTurn): string[] {
  const names = ["create_plan", "update_plan", "spawn_agent", "task_status", "answer_question"];
  return names.filter((name) => new RegExp(`\\b${name}\\b`).test(turn.everything));
}

describe("a plan over three CLIs", () => {
  test("A3, B2, B3, B4: `orchestrator run` carries it to its end, and `orchestrator stop` leaves nothing", async () => {
    await open();
    // A user may have registered the server in each CLI for being a parent: satellites must not become operators by it.
    registerEverywhere(world);
    for (const cli of CLI_NAMES) world.model(cli).setScript(acts(...coder(cli)));
    const afterFirst = { dependsOn: ["claude"] };
    const plan = {
      name: "three",
      goal: "THE-GOAL",
      tasks: [task("claude"), task("codex", afterFirst), task("goose", afterFirst)],
    };
    const file = world.put("plan.json", JSON.stringify(plan));
    const run = await world.orchestrator(["run", file]);
    expect(run.exitCode, `${run.stdout}${run.stderr}${world.log()}`).toBe(0);
    // At once, and not only after the engine is gone: no branch of it, and no agent.
    expect(world.git("for-each-ref", "--format=%(refname)", "refs/heads")).toBe("refs/heads/main");
    expect(world.processes().filter((line) => !/engine-main|guard-main/.test(line))).toEqual([]);

    for (const cli of CLI_NAMES) {
      const model = world.model(cli);
      expect(model.errors).toEqual([]);
      const [first] = model.turns;
      expect(first?.model).toBe(MODELS[cli]);
      expect(first?.prompt).toContain("THE-GOAL");
      expect(first?.prompt).toContain(`PROMPT-FOR-${cli}`);
      expect(first?.everything).toContain(`You are the ${cli} of the test.`);
      expect(first?.prompt.includes("REPORT-OF-claude")).toBe(cli !== "claude");
      const results = model.turns.at(-1)?.results ?? [];
      expect(results).toHaveLength(3);
      expect(results[0]).toContain(`PROMPT-FOR-${cli}`);
      if (cli !== "claude") expect(results[0]).toContain("REPORT-OF-claude");
      expect(results[2]).toContain("kept");
      expect(model.turns.flatMap(ourToolsIn)).toEqual([]);
    }
    expect(new Set(jsonKeys(world.model("claude").turns.at(-1)?.results[0]))).toEqual(
      new Set(["summary", "task", "step", "goal", "dependencies", "others"]),
    );

    const merges = world
      .git(
        "log",
        "--merges",
        "--format=%(trailers:key=Orchestrator-Plan,valueonly,separator=)/%(trailers:key=Orchestrator-Task,valueonly,separator=)/%(trailers:key=Orchestrator-Attempt,valueonly,separator=)",
        "main",
      )
      .split("\n");
    expect(merges.toSorted()).toEqual(["three/claude/1", "three/codex/1", "three/goose/1"]);
    expect(merges.at(-1)).toBe("three/claude/1");
    for (const cli of CLI_NAMES) expect(world.git("show", `main:${cli}.txt`)).toBe(`by ${cli}`);
    expect(world.git("status", "--porcelain")).toBe("");

    // Least power: keys are in memory and in the agents' environments, and nowhere else.
    expect(readFileSync(`/proc/${world.enginePid()}/environ`, "utf8")).not.toContain("dummy-key-of-");
    expect(filesWith("dummy-key-of-", [world.stateFolder, join(world.folder, "orchestrator-home")])).toEqual([]);

    const stopped = await world.orchestrator(["stop"]);
    expect(stopped.exitCode, stopped.stderr).toBe(0);
    await until("nothing lives", () => world.processes().length === 0);
    expect(world.git("for-each-ref", "--format=%(refname)", "refs/heads")).toBe("refs/heads/main");
    // The merge queue keeps its own worktree, at no branch; no task has one.
    const worktrees = world.git("worktree", "list").split("\n");
    expect(worktrees.filter((line) => !line.includes("/_queue/"))).toHaveLength(1);
    expect(readdirSync(world.stateFolder).filter((name) => name.endsWith(".sock"))).toEqual([]);
    expect(existsSync(join(world.stateFolder, "engine.json"))).toBe(false);
  });

  test("the tools that a satellite's model is offered are the satellite's, and no operator tool", async () => {
    await open();
    registerEverywhere(world);
    for (const cli of CLI_NAMES) world.model(cli).setScript(acts({ say: "done" }));
    // Codex shows its model a server's tools when it searches for them.
    world.model("codex").setScript(acts({ search: "orchestrator plan status report" }, { say: "done" }));
    const id = await world.createPlan({ tasks: CLI_NAMES.map((cli) => task(cli)) });
    expect((await world.untilSettled(id)).state).toBe("succeeded");
    const offered = (names: readonly string[], prefix: string): string[] =>
      names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    const claude = world.model("claude").turns[0]?.tools ?? [];
    const goose = world.model("goose").turns[0]?.tools ?? [];
    const found = JSON.parse(world.model("codex").turns.at(-1)?.results[0] ?? "[]") as {
      name: string;
      tools: { name: string }[];
    }[];
    const ofCodex = found.filter(({ name }) => name === "mcp__orchestrator_mcp").flatMap(({ tools }) => tools);
    const expected = ["report_result", "task_context"];
    expect(offered(claude, "mcp__orchestrator-mcp__").toSorted()).toEqual(expect.arrayContaining(expected));
    expect(offered(goose, "orchestrator-mcp__").toSorted()).toEqual(expect.arrayContaining(expected));
    expect(ofCodex.map(({ name }) => name)).toEqual(expect.arrayContaining(expected));
    // Nothing else that MCP servers offer: one server, once.
    expect(claude.filter((name) => name.startsWith("mcp__") && !name.includes("orchestrator-mcp"))).toEqual([]);
    expect(goose.filter((name) => name.includes("__") && !name.startsWith("orchestrator-mcp__"))).toEqual([]);
    for (const cli of CLI_NAMES) expect(world.model(cli).turns.flatMap(ourToolsIn)).toEqual([]);
    // What a server says of itself names no tool that it does not have.
    const told = /\bask_orchestrator: /.test(world.model("goose").turns[0]?.everything ?? "");
    expect(told).toBe(goose.includes("orchestrator-mcp__ask_orchestrator"));
  });
});

describe("a satellite's surroundings", () => {
  test("each CLI finds its home where the caller's environment says", async () => {
    await open();
    const folder = (name: string): string => join(world.folder, name);
    world.put("codex-home/config.toml", world.model("codex").codexConfig());
    world.put("home/.codex/config.toml", "this is no TOML");
    const env = {
      ...world.environment(),
      CLAUDE_CONFIG_DIR: folder("claude-home"),
      CODEX_HOME: folder("codex-home"),
      GOOSE_PATH_ROOT: folder("goose-home"),
    };
    const file = world.put("plan.json", JSON.stringify({ tasks: CLI_NAMES.map((cli) => task(cli)) }));
    const run = await world.orchestrator(["run", file], env);
    expect(run.exitCode, `${run.stdout}${run.stderr}${world.log()}`).toBe(0);
    expect(readdirSync(folder("claude-home"))).toContain("projects");
    expect(readdirSync(folder("codex-home"))).toContain("sessions");
    expect(readdirSync(folder("goose-home/data/sessions"))).toContain("sessions.db");
    for (const path of [".claude", ".claude.json", ".config/goose", ".local/share/goose"]) {
      expect(existsSync(join(world.home, path)), path).toBe(false);
    }
  });

  // Codex's sandbox lets no command reach a socket at all.
  test.each(["claude", "goose"] as const)(
    "least power: the shell of a %s satellite can't steer the plan",
    async (cli) => {
      await open({ clis: [cli] });
      // Without the mark, and no child of the agent any more: its folder still tells.
      const pause = "env -u ORCHESTRATOR_ATTEMPT setsid orchestrator pause mine";
      world.model(cli).setScript(acts({ shell: "orchestrator pause mine" }, { shell: pause }, { say: "tried" }));
      const id = await world.createPlan({ name: "mine", tasks: [task(cli)] });
      expect((await world.untilSettled(id)).state).toBe("succeeded");
      const results = world.model(cli).turns.at(-1)?.results ?? [];
      expect(results).toHaveLength(2);
      for (const result of results) expect(result).toMatch(/not for an agent that carries out a task/);
    },
  );
});

test("R2: a key that a client brings is taken at once, with nobody's retry and no wait for the circuit", async () => {
  await open({ clis: ["claude"] });
  const model = world.model("claude");
  model.setScript(() => ({ status: 401, message: "KEY-WAS-REFUSED" }));
  const id = await world.createPlan({
    tasks: [task("claude"), task("claude", { id: "second", writes: ["second.txt"] })],
  });
  expect((await world.untilSettled(id)).tasks.map((line) => line.why?.code)).toEqual(["auth", "auth"]);
  const refused = model.turns.length;

  // The same key again changes nothing.
  world.disconnect();
  await world.call("task_status", {});
  expect((await world.plan(id)).state).toBe("needs-person");
  expect(model.turns).toHaveLength(refused);

  model.setScript(acts({ say: "done" }));
  world.disconnect();
  await world.call("task_status", {}, { ...world.environment(), ANTHROPIC_API_KEY: "dummy-key-of-claude-2" });
  expect((await world.untilSettled(id)).state).toBe("succeeded");
});

describe.each(CLI_NAMES)("a %s satellite that fails", (cli) => {
  test("R1: a refused key waits for a person with the remedy, and goes on after retry in the same session", async () => {
    await open({ clis: [cli] });
    world.model(cli).setScript(() => ({ status: 401, message: "KEY-WAS-REFUSED" }));
    const id = await world.createPlan({ tasks: [task(cli)] });
    const stuck = await world.untilSettled(id);
    expect(stuck.state).toBe("needs-person");
    const [only] = stuck.tasks;
    expect(only?.state).toBe("waiting");
    expect(only?.why).toMatchObject({ code: "auth", command: `orchestrator retry ${id}/${cli}` });
    expect(only?.why?.message).toMatch(
      cli === "claude" ? /login/ : cli === "codex" ? /codex login/ : /goose configure/,
    );
    expect((await world.task(`${id}/${cli}`)).attempts).toHaveLength(1);

    world.model(cli).setScript(acts(...coder(cli)));
    await world.call("control", { action: "retry", task: `${id}/${cli}` });
    expect((await world.untilSettled(id)).state).toBe("succeeded");
    expect(new Set(world.model(cli).turns.map((turn) => turn.conversation)).size).toBe(1);
    expect(world.git("show", `main:${cli}.txt`)).toBe(`by ${cli}`);
  });

  test("R2: an overloaded API once is one retry that continues the session", async () => {
    await open({ clis: [cli] });
    const script = acts(...coder(cli));
    // Goose asks four times before it gives up; the others are told not to.
    const failures = cli === "goose" ? 4 : 1;
    let failed = 0;
    world.model(cli).setScript((turn) => {
      if (turn.results.length === 2 && failed < failures) {
        failed += 1;
        return { status: cli === "codex" ? 503 : 529, message: "Overloaded" };
      }
      // The second turn does what was left: it sees the first one's work in its history.
      if (/cut off/.test(turn.prompt)) {
        expect(turn.everything).toContain(`PROMPT-FOR-${cli}`);
        const rest = coder(cli).slice(2);
        return rest[Math.min(turn.results.length, rest.length - 1)] ?? { say: "?" };
      }
      return script(turn);
    });
    const id = await world.createPlan({ tasks: [task(cli)] });
    expect((await world.untilSettled(id)).state).toBe("succeeded");
    const { attempts, report } = await world.task(`${id}/${cli}`);
    expect(attempts.map(({ number, outcome, cause }) => [number, outcome, cause])).toEqual([
      [1, "failed", "transient"],
      [2, "succeeded", null],
    ]);
    expect(report?.summary).toBe(`REPORT-OF-${cli}`);
    expect(new Set(attempts.map((attempt) => attempt.session)).size).toBe(1);
    expect(new Set(world.model(cli).turns.map((turn) => turn.conversation)).size).toBe(1);
    expect(world.model(cli).errors).toEqual([]);
    expect(world.git("show", `main:${cli}.txt`)).toBe(`by ${cli}`);
  });

  test("S4: one that is killed in the middle goes on in its session and worktree", async () => {
    await open({ clis: [cli] });
    const script = acts(...coder(cli));
    world.model(cli).setScript((turn) => (turn.results.length === 2 ? { hang: "headers" } : script(turn)));
    const id = await world.createPlan({ tasks: [task(cli)] });
    await world.model(cli).waitForTurn((turn) => turn.results.length === 2);
    const info = await world.call<{ processes: { pid: number }[] }>("engine_info", {});
    expect(info.processes).toHaveLength(1);
    world.model(cli).setScript((turn) => {
      const rest = coder(cli).slice(2);
      return rest[Math.min(turn.results.length, rest.length - 1)] ?? { say: "?" };
    });
    process.kill(info.processes[0]?.pid ?? 0, "SIGKILL");
    expect((await world.untilSettled(id)).state).toBe("succeeded");
    const { attempts } = await world.task(`${id}/${cli}`);
    expect(attempts.map(({ outcome, cause }) => [outcome, cause])).toEqual([
      ["failed", "crashed"],
      ["succeeded", null],
    ]);
    expect(new Set(attempts.map((attempt) => attempt.session)).size).toBe(1);
    const last = world.model(cli).turns.at(-1);
    expect(last?.everything).toContain(`PROMPT-FOR-${cli}`);
    // Written before the kill, by the first process; kept in the worktree, and merged.
    expect(world.git("show", `main:${cli}.txt`)).toBe(`by ${cli}`);
  });
});

describe("only verified work lands", () => {
  test.each(CLI_NAMES)("G4: the checks' output goes to the %s agent's own session, which repairs it", async (cli) => {
    await open({ clis: [cli] });
    world.model(cli).setScript((turn) => {
      if (!turn.prompt.includes("THE-CHECK-SAYS-BROKEN")) {
        return acts({ write: `${cli}.txt`, content: "broken\n" }, { say: "written" })(turn);
      }
      expect(turn.everything).toContain(`PROMPT-FOR-${cli}`);
      return acts({ shell: `echo whole > ${cli}.txt` }, { say: "repaired" })(turn);
    });
    const check = `if grep -q broken ${cli}.txt 2>/dev/null; then echo THE-CHECK-SAYS-BROKEN; exit 1; fi`;
    const id = await world.createPlan({ tasks: [task(cli, { verify: [check] })] });
    expect((await world.untilSettled(id)).state).toBe("succeeded");
    const { attempts } = await world.task(`${id}/${cli}`);
    expect(attempts.map(({ outcome }) => outcome)).toEqual(["succeeded", "succeeded"]);
    expect(new Set(world.model(cli).turns.map((turn) => turn.conversation)).size).toBe(1);
    expect(world.model(cli).errors).toEqual([]);
    expect(world.git("show", `main:${cli}.txt`)).toBe("whole");
    expect(world.git("log", "--merges", "--format=%s", "main").split("\n")).toHaveLength(1);
  });
});

describe.each(CLI_NAMES)("D1: a goal alone, decomposed by %s", (cli) => {
  const make = (id: string, dependsOn: readonly string[] = []): object => ({
    id,
    title: `Make ${id}`,
    agent: "command",
    prompt: `echo made > ${id}.txt`,
    dependsOn,
    writes: [`${id}.txt`],
  });
  const valid = { tasks: [make("one"), make("two", ["one"])] };
  // Fits the schema that the CLI checks; only we see that it can't be carried out.
  const circle = { tasks: [make("one", ["two"]), make("two", ["one"])] };
  const role = { agents: { orchestrator: { provider: cli, model: MODELS[cli] } } };

  test("a valid plan is shown, and starts on resume", async () => {
    await open({ clis: [cli], config: role });
    world.model(cli).setScript(acts({ answer: valid }));
    const id = await world.createPlan({ goal: "GOAL-OF-THE-PLAN" });
    const shown = await world.untilPlan(id, (plan) => plan.state !== "running");
    expect(shown).toMatchObject({ state: "needs-person", paused: true, counts: { succeeded: 1 } });
    expect(shown.tasks.map((line) => line.task).toSorted()).toEqual([`${id}/decompose`, `${id}/one`, `${id}/two`]);
    expect(world.model(cli).turns[0]?.prompt).toContain("GOAL-OF-THE-PLAN");
    expect(world.git("log", "--format=%s", "main")).toBe("first");
    await world.call("control", { action: "resume", plan: id });
    expect((await world.untilSettled(id)).state).toBe("succeeded");
    expect(world.git("show", "main:one.txt", "main:two.txt")).toBe("made\nmade");
  });

  test("`orchestrator plan --yes`: a bad answer is repaired once, told what was wrong; a second one ends clearly", async () => {
    await open({ clis: [cli], config: role });
    world.model(cli).setScript((turn) => ({ answer: /cycle/i.test(turn.prompt) ? valid : circle }));
    const repaired = await world.orchestrator(["plan", "Make two files", "--yes"]);
    expect(repaired.exitCode, `${repaired.stdout}${repaired.stderr}`).toBe(0);
    expect(repaired.stdout).toMatch(/one[^]*two/);
    expect(world.git("show", "main:one.txt", "main:two.txt")).toBe("made\nmade");
    const { attempts } = await world.task("make-two-files/decompose");
    expect(attempts.map(({ outcome, cause }) => [outcome, cause])).toEqual([
      ["failed", "no-result"],
      ["succeeded", null],
    ]);

    world.model(cli).setScript(() => ({ answer: circle }));
    const failed = await world.orchestrator(["plan", "Never", "--yes"]);
    expect(failed.exitCode, `${failed.stdout}${failed.stderr}`).toBe(1);
    expect(failed.stdout + failed.stderr).toMatch(/not a valid plan: [^]*one → two → one/);
    const { total, tasks } = await world.plan("never");
    expect([total, tasks[0]?.state]).toEqual([1, "failed"]);

    world.model(cli).setScript(() => ({ say: "I would rather talk about it." }));
    const talked = await world.orchestrator(["plan", "Talk", "--yes"]);
    expect(talked.exitCode).toBe(1);
    expect(talked.stdout + talked.stderr).toMatch(/not in the required form|holds no JSON/);
  });
});

/** As README tells users to register the server with a CLI that is to be a parent. */
function registerEverywhere(where: World): void {
  const server = { command: process.execPath, args: [PIPE] };
  where.put("home/.claude.json", JSON.stringify({ mcpServers: { "orchestrator-mcp": { type: "stdio", ...server } } }));
  where.put(
    "home/.codex/config.toml",
    `${where.model("codex").codexConfig()}\n[mcp_servers.orchestrator-mcp]\ncommand = ${JSON.stringify(server.command)}\nargs = ${JSON.stringify(server.args)}\n`,
  );
  const extension = { type: "stdio", name: "orchestrator-mcp", enabled: true, cmd: server.command, args: server.args };
  // JSON is YAML.
  where.put("home/.config/goose/config.yaml", JSON.stringify({ extensions: { "orchestrator-mcp": extension } }));
}

/** The files below `folders` that hold the text, also in the middle of a database. */
function filesWith(text: string, folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((file) => readFileSync(file).includes(text)),
  );
}

function jsonKeys(result: string | undefined): string[] {
  return Object.keys(jsonIn(result ?? ""));
}
