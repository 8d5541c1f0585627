/**
 * Budgets through the real engine: nothing starts that would take a plan over what it may use, whatever is killed when,
 * and every stop says what clears it. The agent's far end is scripted (`fake-claude.mjs`), and so is what it costs.
 */
import { afterEach, describe, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { Ground, type Fields, type Repo, type Task } from "./engine-support.ts";
import { runCli } from "./run-cli.ts";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
let claude: StandInClaude;

function begin(config: Fields = {}): void {
  ground = new Ground({ providers: StandInClaude.providers, ...config });
  repo = ground.main;
  claude = new StandInClaude(ground.home);
}
afterEach(() => ground.leave());

const coders = (...ids: readonly string[]): Task[] =>
  ids.map((id) => ({ id, agent: "coder", prompt: `do ${id}`, writes: [id] }));

async function cli(...words: readonly string[]): Promise<{ code: number; output: string }> {
  const { code, stdout, stderr } = await runCli(repo, words);
  return { code, output: stdout + stderr };
}

async function whyOf(task: string): Promise<NonNullable<Awaited<ReturnType<Repo["task"]>>["why"]>> {
  const { why } = await repo.task(task);
  if (why === undefined) throw new Error(`${task} waits for nothing`);
  return why;
}

describe("a budget in money", () => {
  test("what would go over is not started, says so with the command that clears it, and that command clears it", async () => {
    begin();
    claude.costs(1);
    repo.write("plan.json", JSON.stringify({ name: "p", budget: { usd: 2.5 }, tasks: coders("a", "b", "c") }));
    const run = await cli("run", "plan.json");
    expect(run.code, run.output).toBe(4);
    expect(run.output).toContain("orchestrator edit p --budget usd=3");
    expect(claude.turns()).toHaveLength(2);
    expect(await repo.plan("p")).toMatchObject({
      state: "needs-person",
      counts: { succeeded: 2, waiting: 1 },
      budget: { limits: { usd: 2.5 }, used: { usd: 2 }, reserved: { usd: 0 } },
    });
    const { next } = await repo.status({ plan: "p" });
    expect(next).toBe('update_plan {"plan":"p","budget":{"usd":3}}');
    expect((await cli("status", "p")).output).toContain("budget: 2.00 of 2.50 USD");
    // Looking again, and asking for it again, changes nothing.
    await repo.control("retry", { plan: "p" });
    expect(await repo.settled("p")).toBe("needs-person");
    expect(claude.turns()).toHaveLength(2);
    const stopped = Object.values(await repo.states("p")).indexOf("waiting:budget");
    expect(stopped).toBeGreaterThanOrEqual(0);

    // A file with another budget, run again, is a raise as well; this one is not enough.
    const again = await cli("run", "plan.json", "--budget", "usd=2.75");
    expect([again.code, again.output]).toEqual([4, expect.stringContaining("its budget was changed")]);
    const raised = await cli("edit", "p", "--budget", "usd=3");
    expect(raised.code, raised.output).toBe(0);
    expect(await repo.settled("p")).toBe("succeeded");
    expect(claude.turns()).toHaveLength(3);
    expect((await repo.plan("p")).budget?.used.usd).toBe(3);
  });

  test("the first of its kind runs alone in a small budget; the next one is known", async () => {
    begin();
    claude.costs(0.2);
    claude.hold(1);
    await repo.submit("p", coders("a", "b", "c"), { budget: { usd: 0.5 } });
    await until("the first works", () => claude.hasBegun(1));
    const states = Object.values(await repo.states("p")).toSorted();
    expect(states).toEqual(["running", "waiting:budget", "waiting:budget"]);
    expect((await repo.plan("p")).budget?.reserved.usd).toBe(0.5);
    // Nobody is asked for what may clear by itself.
    expect((await repo.plan("p")).state).toBe("running");
    claude.letGo(1);
    expect(await repo.settled("p")).toBe("needs-person");
    expect(claude.turns()).toHaveLength(2);
    expect((await repo.plan("p")).budget?.used.usd).toBeCloseTo(0.4);
  });

  test("a turn that runs away is ended at what is left of it, waits, and goes on in its session once it is raised", async () => {
    begin();
    claude.costs(0.1);
    claude.costs(7, 0, 2);
    await repo.submit("p", [...coders("a"), { ...coders("b")[0], id: "b", dependsOn: ["a"] } as Task], {
      budget: { usd: 1 },
    });
    expect(await repo.settled("p")).toBe("needs-person");
    const task = await repo.task("p/b");
    expect(task).toMatchObject({ state: "waiting", why: { code: "budget" } });
    expect(task.attempts.at(-1)).toMatchObject({ cause: "budget", costUsd: 7 });
    await repo.call("update_plan", { plan: "p", budget: { usd: 9 } });
    expect(await repo.settled("p")).toBe("succeeded");
    const log = JSON.stringify(await repo.call("read_log", { plan: "p", limit: 1000 }));
    expect(log).toContain('the plan is over its budget, 7.10 of 1.00 USD"');
    const [, cut, last] = claude.turns();
    expect(last).toMatchObject({ resumed: true, sessionId: cut?.sessionId });
    // It was told nothing of a retry: none was spent.
    expect(last?.prompt).toContain("bound of the plan's budget");
  });

  test("every turn counts: later steps, repairs and what is said to an agent", async () => {
    begin({ workflows: { pair: { steps: [{ agent: "coder" }, { agent: "reviewer" }], maxRounds: 1 } } });
    claude.costs(1);
    claude.script(1, "touch a");
    claude.script(2, 'orchestrator report "no" --verdict reject');
    await repo.submit("p", [{ ...coders("a")[0], id: "a", workflow: "pair" } as Task], { budget: { usd: 3.5 } });
    expect(await repo.settled("p")).toBe("needs-person");
    // The coder, the reviewer's reject, the coder's repair; the reviewer's second look would go over.
    expect(claude.turns()).toHaveLength(3);
    expect(await whyOf("p/a")).toMatchObject({ code: "budget", command: "orchestrator edit p --budget usd=4" });
    expect((await whyOf("p/a")).message).toContain("reviewer");
    claude.script(4, 'orchestrator report "yes" --verdict approve');
    await repo.call("update_plan", { plan: "p", budget: { usd: 4 } });
    expect(await repo.settled("p")).toBe("succeeded");
    expect((await repo.plan("p")).budget?.used.usd).toBe(4);
  });

  test("an agent that is put into a plan whose budget is used up waits and says so; one with another plan does not", async () => {
    begin();
    claude.costs(1);
    await repo.submit("p", coders("a"), { budget: { usd: 1 } });
    expect(await repo.settled("p")).toBe("succeeded");
    const spawned = await repo.call("spawn_agent", { plan: "p", id: "late", prompt: "do late", agent: "coder" });
    expect(spawned["warnings"]).toContainEqual(expect.stringContaining("budget"));
    expect(await repo.settled("p")).toBe("needs-person");
    expect(await whyOf("p/late")).toMatchObject({ code: "budget", command: "orchestrator edit p --budget usd=2" });
    await repo.submit("q", coders("b"));
    expect(await repo.settled("q")).toBe("succeeded");
    expect(claude.turns()).toHaveLength(2);
  });
});

describe("a plan that is run again", () => {
  test("keeps a budget that was raised meanwhile, or given on the command line; its own words count where they are new", async () => {
    begin();
    claude.costs(1);
    const plan = (budget: Fields | undefined, ...ids: string[]): void =>
      repo.write("plan.json", JSON.stringify({ name: "p", budget, tasks: coders(...ids) }));
    const limits = async (): Promise<unknown> => (await repo.plan("p")).budget?.limits;
    plan({ usd: 1 }, "a", "b");
    expect((await cli("run", "plan.json", "--budget", "tokens=90000")).code).toBe(4);
    await cli("edit", "p", "--budget", "usd=1.5");
    expect((await cli("run", "plan.json")).code).toBe(4);
    expect(await limits()).toEqual({ usd: 1.5, tokens: 90_000, minutes: null });
    plan({ usd: 1.75 }, "a", "b");
    const again = await cli("run", "plan.json");
    expect([again.code, again.output]).toEqual([4, expect.stringContaining("its budget was changed")]);
    await cli("edit", "p", "--budget", "usd=2");
    const joined = await cli("run", "plan.json");
    expect([joined.code, joined.output]).toEqual([0, expect.not.stringContaining("its budget was changed")]);
    // Also when it has ended and goes on with another task: it is the same plan, and what it used counts on.
    plan(undefined, "a", "b", "c");
    const more = await cli("run", "plan.json");
    expect([more.code, more.output]).toEqual([4, expect.stringContaining("orchestrator edit p --budget usd=3")]);
    expect(await limits()).toEqual({ usd: 2, tokens: 90_000, minutes: null });
    expect(claude.turns()).toHaveLength(2);
  });
});

describe("the orchestrator role", () => {
  const ASKS = 'orchestrator ask "which colour?" > colour';

  function beginAsking(): void {
    begin({ questions: { route: ["orchestrator", "human"], holdSeconds: 300 } });
    claude.costs(1);
    const answers = { answers: [{ id: "q1", answer: "green", why: "the plan says so" }] };
    claude.structured(answers);
  }

  test("what it is asked counts, also where every task is a command", async () => {
    beginAsking();
    await repo.submit("p", [{ id: "a", prompt: ASKS }], { budget: { usd: 2 } });
    expect(await repo.settled("p")).toBe("succeeded");
    expect((await repo.plan("p")).budget).toMatchObject({ used: { usd: 1 }, reserved: { usd: 0 } });
  });

  test("it is not asked where there is no room for it: the next in the route is", async () => {
    beginAsking();
    claude.costs(2.5, 0, 1);
    const tasks = [...coders("first"), { id: "a", prompt: ASKS, dependsOn: ["first"] }];
    await repo.submit("p", tasks, { budget: { usd: 2.5 } });
    await until("a person is asked", async () => {
      const log = JSON.stringify(await repo.call("read_log", { plan: "p", limit: 1000 }));
      return log.includes("budget has no room");
    });
    await repo.call("answer_question", { id: "q1", answer: "blue" });
    await until("the command has ended", async () => (await repo.states("p"))["a"] === "succeeded");
    expect((await repo.plan("p")).budget?.used.usd).toBe(2.5);
  });
});

describe("S1, S3: a budget over restarts", () => {
  test("what was used and what was set aside for an agent that was killed count on", async () => {
    begin();
    claude.costs(1);
    claude.hold(2);
    await repo.submit("p", coders("a", "b"), { budget: { usd: 2.5 }, maxConcurrent: 1 });
    await until("the second works", () => claude.hasBegun(2));
    repo.closeClients();
    await repo.killEngine();
    // Told 1, set aside 1 for the one that was killed: its next turn would go over.
    expect(await repo.settled("p")).toBe("needs-person");
    expect(claude.turns()).toHaveLength(2);
    expect((await repo.plan("p")).budget).toMatchObject({ used: { usd: 2 }, reserved: { usd: 0 } });
    repo.closeClients();
    await repo.killEngine();
    expect((await repo.plan("p")).budget).toMatchObject({ used: { usd: 2 }, reserved: { usd: 0 } });
    // Paused, for what is set aside for an agent that is killed at work would count too.
    await repo.control("pause", { plan: "p" });
    await repo.call("update_plan", { plan: "p", budget: { usd: 3 } });
    repo.closeClients();
    await repo.killEngine();
    await repo.control("resume", { plan: "p" });
    expect(await repo.settled("p")).toBe("succeeded");
    expect((await repo.plan("p")).budget).toMatchObject({ limits: { usd: 3 }, used: { usd: 3 } });
    expect(claude.turns()).toHaveLength(3);
    expect(repo.merges()).toEqual({});
  });
});

describe("tokens and minutes", () => {
  test("tokens are those that went in and came out, over all attempts", async () => {
    begin();
    claude.costs(0, 600);
    await repo.submit("p", coders("a", "b"), { budget: { tokens: 1000 } });
    expect(await repo.settled("p")).toBe("needs-person");
    expect(claude.turns()).toHaveLength(1);
    expect((await repo.plan("p")).budget).toMatchObject({ limits: { tokens: 1000, usd: null }, used: { tokens: 600 } });
  });

  test("minutes are an agent's running time, also a command's, and what is left of them is its deadline", async () => {
    begin();
    await repo.submit("p", [{ id: "a", prompt: "exec sleep 300" }], { budget: { minutes: 0.01 } });
    expect(await repo.settled("p")).toBe("needs-person");
    const task = await repo.task("p/a");
    expect(task).toMatchObject({ state: "waiting", why: { code: "budget" } });
    expect(task.attempts.at(-1)?.cause).toBe("budget");
    expect((await repo.plan("p")).budget?.used).toMatchObject({ usd: 0, tokens: 0 });
  });
});

describe("what is refused, before anything has happened", () => {
  test("a budget that is no amount: the field is named", async () => {
    begin();
    await repo.submit("q", [{ id: "a", prompt: "true" }]);
    const wrong: readonly [unknown, RegExp][] = [
      [{ usd: -1 }, /budget\.usd/],
      [{ usd: 0 }, /budget\.usd/],
      [{ usd: 1e308 }, /budget\.usd/],
      [{ usd: "5" }, /budget\.usd/],
      [{ tokens: 1.5 }, /budget\.tokens/],
      [{ minutes: null }, /budget\.minutes/],
      [{ eur: 5 }, /budget\.eur/],
      [5, /budget/],
    ];
    for (const [budget, message] of wrong) {
      const refused = await repo.refusal("create_plan", { name: "p", budget, tasks: coders("a") });
      expect(refused.message).toMatch(message);
      const dry = await repo.refusal("create_plan", { tasks: coders("a"), budget, dryRun: true });
      expect(dry.message).toMatch(message);
      expect((await repo.refusal("update_plan", { plan: "q", budget })).message).toMatch(message);
    }
    for (const text of ["usd=-1", "usd=NaN", "usd=1e308", "usd", "eur=5", "=5", "usd=0"]) {
      repo.write("plan.yaml", "tasks: [{ id: a, agent: command, prompt: 'true' }]");
      const { code, output } = await cli("run", "plan.yaml", "--budget", text);
      expect([code, output], text).toEqual([2, expect.stringContaining("budget")]);
    }
    repo.write("plan.yaml", "budget: { usd: .nan }\ntasks: [{ id: a, agent: command, prompt: 'true' }]");
    expect((await cli("run", "plan.yaml")).code).toBe(2);
    expect((await repo.status({ since: 0 })).plans.map(({ plan }) => plan)).toEqual(["q"]);
    expect(claude.turns()).toEqual([]);
  });

  test("a budget in money with a model whose price nobody knows: names task, role, model and what to add", async () => {
    begin({
      providers: { ...StandInClaude.providers, codex: { kind: "codex", command: StandInClaude.program } },
      agents: { other: { provider: "codex", model: "gpt-9" } },
    });
    const plan = { name: "p", budget: { usd: 1 }, tasks: [...coders("a"), { id: "b", agent: "other", prompt: "x" }] };
    const refused = await repo.refusal("create_plan", plan);
    expect(refused.code).toBe("PRICE_UNKNOWN");
    for (const word of ['"b"', "other", "gpt-9", "providers.codex.prices"]) expect(refused.message).toContain(word);
    repo.write("plan.json", JSON.stringify(plan));
    expect((await cli("run", "plan.json")).code).toBe(2);
    expect((await repo.status({})).plans).toEqual([]);
    // Other units need no price; one in money that is added later is refused as well.
    await repo.call("create_plan", { ...plan, budget: { tokens: 5 }, start: false });
    expect((await repo.refusal("update_plan", { plan: "p", budget: { usd: 1 } })).code).toBe("PRICE_UNKNOWN");
    await repo.call("create_plan", { name: "q", tasks: coders("a"), budget: { usd: 1 }, start: false });
    expect((await repo.refusal("spawn_agent", { plan: "q", prompt: "x", agent: "other" })).code).toBe("PRICE_UNKNOWN");
    // With a price it is taken, and commands never need one.
    const prices = { "gpt-*": { input: 1, output: 2 } };
    ground.configure({
      providers: { ...StandInClaude.providers, codex: { kind: "codex", command: StandInClaude.program, prices } },
      agents: { other: { provider: "codex", model: "gpt-9" } },
    });
    await repo.call("update_plan", { plan: "p", budget: { usd: 1 } });
    expect(await repo.call("create_plan", { ...plan, name: "r", dryRun: true })).toMatchObject({ outcome: "checked" });
  });

  test("where no agent CLI is installed nobody is named whose price is missing", async () => {
    ground = new Ground();
    repo = ground.main;
    const plan = { tasks: [{ id: "a", agent: "command", prompt: "true" }], budget: { usd: 1 }, dryRun: true };
    expect(JSON.stringify((await repo.call("create_plan", plan))["warnings"])).not.toContain("orchestrator role");
  });

  test("a dry run tells what would be set aside for each role, and that it may not be enough", async () => {
    begin();
    claude.costs(0.5);
    await repo.submit("before", coders("a", "b"));
    expect(await repo.settled("before")).toBe("succeeded");
    const preview = { tasks: [...coders("a", "b", "c"), { id: "d", agent: "reviewer", prompt: "x" }], dryRun: true };
    const told = await repo.call("create_plan", { ...preview, budget: { usd: 2 } });
    expect(told["budget"]).toMatchObject({
      limits: { usd: 2, tokens: null },
      reserves: [
        { agent: "coder", usd: 0.5, knownFrom: 2 },
        { agent: "reviewer", usd: 1, knownFrom: 0 },
      ],
      once: { usd: 2.5 },
    });
    expect(told["warnings"]).toContainEqual(expect.stringContaining("2.50 USD"));
    expect(claude.turns()).toHaveLength(2);
  });
});
