/**
 * Agents of the real CLIs ask, are parked, and go on with the answer in the same conversation: answered by a person
 * after a restart of the engine, by the orchestrator role, and by a parent.
 */
import { afterEach, describe, expect, test } from "vitest";
import { CLI_NAMES, jsonIn, type CliName, type ModelAct, type ModelScript } from "./support/models.ts";
import { MODELS, PIPE, PROGRAMS, World } from "./support/world.ts";
import { until } from "../support/until.js";

let world: World;

afterEach(async () => {
  await world.leave();
});

/** A coder that asks first, ends its turn when it is parked, and writes down the answer that its next prompt has. */
function asks(question: string, file: string): ModelScript {
  return (turn) => {
    const [asked] = turn.results;
    const told = /ANSWER-[A-Z]+/.exec(turn.prompt)?.[0];
    // The call may be answered while it is held.
    const answer = told ?? /ANSWER-[A-Z]+/.exec(asked ?? "")?.[0];
    if (answer === undefined) {
      if (asked === undefined) return { tool: "ask_orchestrator", input: { question } };
      return { say: `I was told: ${asked.slice(0, 20)}` };
    }
    if (turn.results.length === (told === undefined ? 1 : 0)) return { write: file, content: `${answer}\n` };
    return { say: "done" };
  };
}

async function open(clis: readonly CliName[], questions: Record<string, unknown>): Promise<void> {
  world = await World.open({ clis, config: { questions: { holdSeconds: 1, ...questions } } });
}

interface Waiting {
  readonly questions: readonly { readonly id: string; readonly task: string; readonly question: string }[];
}

async function waitFor(task: string, code: string): Promise<void> {
  await until(`${task} waits (${code})`, async () => (await world.task(task)).why?.code === code);
}

describe.each(CLI_NAMES)("%s", (cli) => {
  test("X4: a parked question frees the slot, lives through kill -9, and its answer continues the session", async () => {
    await open([cli], { route: ["human"] });
    const model = world.model(cli);
    model.setScript(asks("Which port?", "port.txt"));
    const plan = await world.createPlan({
      name: "ask",
      tasks: [{ id: "a", agent: `coder-${cli}`, prompt: "Choose a port.", writes: ["*.txt"] }],
    });
    await waitFor("ask/a", "question");
    expect((await world.task("ask/a")).attempts).toMatchObject([{ outcome: "asked" }]);
    process.kill(world.enginePid(), "SIGKILL");
    await until("the engine and its guard are gone", () => world.processes().length === 0);
    world.disconnect();
    const { questions } = await world.call<Waiting>("task_status", {});
    expect(questions).toMatchObject([{ id: "q1", task: "ask/a", question: "Which port?" }]);
    const answered = await world.orchestrator(["answer", "q1", "ANSWER-PORT"]);
    expect(answered.exitCode, answered.stderr).toBe(0);
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    expect(model.errors).toEqual([]);
    expect(world.git("show", "main:port.txt")).toBe("ANSWER-PORT");
    const { attempts } = await world.task("ask/a");
    expect(attempts.map(({ outcome }) => outcome)).toEqual(["asked", "succeeded"]);
    expect(new Set(model.turns.map((turn) => turn.conversation)).size).toBe(1);
    expect(model.turns.at(-1)?.everything).toMatch(/Choose a port[^]*Which port\?[^]*ANSWER-PORT/);
  });
});

/** What the model is asked as the orchestrator role. */
function isConsulted(prompt: string): boolean {
  return /Agents that carry out tasks of a plan ask you|More agents of the plan ask/.test(prompt);
}

describe.each(CLI_NAMES)("%s as the orchestrator role", (cli) => {
  test("X4: it answers out of the whole plan, with one slot in all, and may say that it cannot know", async () => {
    world = await World.open({
      clis: [cli],
      config: {
        questions: { holdSeconds: 1, route: ["orchestrator", "human"] },
        limits: { agents: 1 },
        agents: {
          orchestrator: { provider: cli, model: MODELS[cli] },
          [`coder-${cli}`]: { provider: cli, model: MODELS[cli] },
        },
      },
    });
    const model = world.model(cli);
    const first = asks("Which port?", "first.txt");
    const second = asks("What is the password?", "second.txt");
    model.setScript(async (turn) => {
      if (!isConsulted(turn.prompt)) return await (/second\.txt|PASSWORD/.test(turn.prompt) ? second : first)(turn);
      const id = /^(q\d+), asked by task/m.exec(turn.prompt)?.[1] ?? "";
      const isFirst = turn.prompt.includes("Which port?") && !turn.prompt.includes("What is the password?");
      const answer = isFirst ? "ANSWER-PORT" : null;
      return { answer: { answers: [{ id, answer, why: "The goal says so." }] } };
    });
    const plan = await world.createPlan({
      name: "ask",
      goal: "THE-WHOLE-GOAL",
      tasks: [
        {
          id: "a",
          title: "FIRST-TASK",
          agent: `coder-${cli}`,
          prompt: "Choose a port: first.txt",
          writes: ["first.txt"],
        },
        { id: "b", agent: `coder-${cli}`, prompt: "Then second.txt", dependsOn: ["a"], writes: ["second.txt"] },
      ],
    });
    await waitFor("ask/b", "question");
    await until("the role has passed it on", async () => {
      const { questions } = await world.call<{ questions: { asked: string }[] }>("list_questions", {});
      return questions[0]?.asked === "human";
    });
    const answered = await world.orchestrator(["answer", "q2", "ANSWER-PASSWORD"]);
    expect(answered.exitCode, answered.stderr).toBe(0);
    expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
    expect(model.errors).toEqual([]);
    expect(world.git("show", "main:first.txt")).toBe("ANSWER-PORT");
    expect(world.git("show", "main:second.txt")).toBe("ANSWER-PASSWORD");
    expect(await world.call("list_questions", { all: true })).toMatchObject({
      questions: [
        { id: "q1", answeredBy: "orchestrator", answer: "ANSWER-PORT" },
        { id: "q2", answeredBy: "human" },
      ],
    });
    const consulted = model.turns.filter((turn) => isConsulted(turn.prompt));
    expect(consulted[0]?.prompt).toMatch(/THE-WHOLE-GOAL[^]*FIRST-TASK[^]*Which port\?/);
    // One session a plan, kept: it knows what it was asked before.
    expect(new Set(consulted.map((turn) => turn.conversation)).size).toBe(1);
    expect(consulted.at(-1)?.everything).toMatch(/THE-WHOLE-GOAL[^]*What is the password\?/);
    await until("its worktree is gone", () => !world.git("worktree", "list").includes("_queue/questions"));
  });
});

/** Follows `next` as a model does; answers a question with `answer`, also where the words stand on one line. */
function parent(cli: CliName, first: ModelAct, answer: string): ModelScript {
  return ({ results }) => {
    const last = results.at(-1);
    if (last === undefined) return first;
    const told: unknown = cli === "goose" ? /^next: (.*)$/m.exec(last)?.[1] : jsonIn(last)["next"];
    const next = typeof told === "string" ? told : "";
    const [, tool, input] = /^(\w+) (\{.*?\})(?:;| \(|$)/.exec(next) ?? [];
    if (tool === undefined || input === undefined) return { say: "All is merged." };
    const call = JSON.parse(input) as Record<string, unknown>;
    return { tool, input: tool === "answer_question" ? { ...call, answer } : call };
  };
}

describe.each(["claude", "goose"] as const)("a headless %s as the parent", (cli) => {
  test("X4, M3: it lives through a question, answers it, and follows the plan to its end", async () => {
    await open([cli, "codex"], { route: ["parent", "human"] });
    if (cli === "claude") {
      const args = ["mcp", "add", "orchestrator-mcp", "--", "node", PIPE];
      const added = await world.run(PROGRAMS.claude, args);
      expect(added.exitCode, added.stderr).toBe(0);
    } else {
      const extension = `type: stdio, name: orchestrator-mcp, enabled: true, cmd: node, args: [${JSON.stringify(PIPE)}]`;
      world.put("home/.config/goose/config.yaml", `extensions:\n  orchestrator-mcp: { ${extension}, timeout: 300 }\n`);
    }
    world.model("codex").setScript(asks("Which port?", "port.txt"));
    const tasks = [{ id: "a", agent: "coder-codex", prompt: "Choose a port.", writes: ["*.txt"] }];
    const create = { tool: "create_plan", input: { name: "ask", tasks } };
    world.model(cli).setScript(parent(cli, create, "ANSWER-PORT"));
    const args = cli === "claude" ? ["--print", "--allowedTools=mcp__orchestrator-mcp"] : ["run", "--instructions=-"];
    const run = await world.run(PROGRAMS[cli], args, { stdin: "Make a file by a plan." });
    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    expect(world.model(cli).errors).toEqual([]);
    expect(world.model("codex").errors).toEqual([]);
    expect(world.model(cli).turns.at(-1)?.results.at(-1), world.log()).toContain("ask succeeded: 1 of 1 tasks done");
    expect(world.git("show", "main:port.txt")).toBe("ANSWER-PORT");
    expect(await world.call("list_questions", { id: "q1" })).toMatchObject({
      questions: [{ state: "answered", answeredBy: "parent", answer: "ANSWER-PORT" }],
    });
  });
});

test("6, 5: an orchestrator role that hangs dies with the engine, is asked again, and its deadline leads on", async () => {
  const route = ["orchestrator", "human"];
  world = await World.open({
    clis: ["claude"],
    config: {
      questions: { holdSeconds: 1, route, deadlines: { parentMinutes: 1, orchestratorMinutes: 0.4, humanMinutes: 60 } },
      agents: {
        killGraceSeconds: 1,
        orchestrator: { provider: "claude", model: MODELS.claude },
        "coder-claude": { provider: "claude", model: MODELS.claude },
      },
    },
  });
  const model = world.model("claude");
  const coder = asks("Which port?", "port.txt");
  model.setScript((turn) => (isConsulted(turn.prompt) ? { hang: "headers" } : coder(turn)));
  const plan = await world.createPlan({
    name: "ask",
    tasks: [{ id: "a", agent: "coder-claude", prompt: "Choose a port.", writes: ["*.txt"] }],
  });
  await model.waitForTurn((turn) => isConsulted(turn.prompt));
  const before = model.turns.length;
  process.kill(world.enginePid(), "SIGKILL");
  world.disconnect();
  await world.call("task_status", {});
  await until("the next in the route is asked", async () => {
    const { questions } = await world.call<{ questions: { asked: string }[] }>("list_questions", {});
    return questions[0]?.asked === "human";
  });
  expect(model.turns.slice(before).some((turn) => isConsulted(turn.prompt))).toBe(true);
  await until("the role's process is gone", async () => {
    const { processes } = await world.call<{ processes: unknown[] }>("engine_info", {});
    return processes.length === 0;
  });
  await world.orchestrator(["answer", "q1", "ANSWER-PORT"]);
  expect((await world.untilSettled(plan)).state, world.log()).toBe("succeeded");
  expect(world.git("show", "main:port.txt")).toBe("ANSWER-PORT");
});
