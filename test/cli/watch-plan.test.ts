import { describe, expect, test } from "vitest";
import { EventFeed } from "../../src/cli/event-feed.ts";
import { LiveScreen } from "../../src/cli/live-screen.ts";
import { callByName } from "../../src/cli/plan-or-task.ts";
import { watchPlan } from "../../src/cli/watch-plan.ts";
import { AppError } from "../../src/errors.ts";
import type { EventBody } from "../../src/events/event.ts";
import type { PlanStatus } from "../../src/operations/task-status.ts";
import type { TaskState } from "../../src/plan/task-state.ts";
import { fakeEngine, fakeTerminal, type FakeEngine } from "./fake-engine.ts";

const moved = (to: TaskState): EventBody => ({
  type: "task-state",
  from: "pending",
  to,
  wait: null,
  cause: null,
  message: null,
});

function planIn(state: PlanStatus["state"], rest: Partial<PlanStatus> = {}): PlanStatus {
  return {
    plan: "p",
    goal: null,
    target: "main",
    state,
    paused: false,
    counts: {},
    total: 1,
    costUsd: null,
    tasks: [],
    more: 0,
    ...rest,
  };
}

interface Scripted extends FakeEngine {
  plan: PlanStatus;
}

function engineWith(
  first: PlanStatus,
  more: Record<string, (input: Record<string, unknown>) => object> = {},
): Scripted {
  const scripted = { plan: first };
  const engine = fakeEngine({ task_status: () => ({ questions: [], plans: [scripted.plan] }), ...more });
  return Object.assign(scripted, engine);
}

const watch = (
  engine: Scripted,
  terminal = fakeTerminal(),
  rest: Partial<Parameters<typeof watchPlan>[0]> = {},
): ReturnType<typeof watchPlan> =>
  watchPlan({
    session: engine.session,
    feed: rest.feed ?? new EventFeed(engine.client, null),
    planId: "p",
    terminal,
    json: false,
    interrupted: null,
    ...rest,
  });

describe("a plan is followed to where it settles", () => {
  test("each change is one line, also those from before the plan's id was known, and none of other plans", async () => {
    const engine = engineWith(planIn("running"));
    const terminal = fakeTerminal();
    const feed = new EventFeed(engine.client, null);
    engine.happen(moved("running"), "a");
    const watched = watch(engine, terminal, { feed });
    engine.happen(moved("ready"), "b");
    engine.happen(moved("merging"), "a");
    engine.plan = planIn("succeeded");
    engine.happen(moved("succeeded"), "a");
    expect(await watched).toMatchObject({ state: "succeeded", exitCode: 0 });
    expect(terminal.printed).toEqual(["a running", "a merging", "a succeeded"]);
  });

  test("JSON lines hold each event with its facts", async () => {
    const engine = engineWith(planIn("failed"));
    const terminal = fakeTerminal();
    const feed = new EventFeed(engine.client, null);
    engine.happen(moved("failed"), "a");
    await watch(engine, terminal, { feed, json: true });
    expect(terminal.json).toMatchObject([{ type: "task-state", to: "failed", plan: "p", task: "p/a", seq: 1 }]);
  });

  test("X4: a question that was asked before the plan was watched is told once, with the command that answers it", async () => {
    const asked = (id: string, askedAt: number): object => ({
      id,
      task: "p/a",
      question: "Which?",
      options: ["red", "blue"],
      askedAt: new Date(askedAt).toISOString(),
    });
    const questions = [asked("q1", Date.now() - 60_000), asked("q2", Date.now() + 60_000)];
    const states = ["running", "running", "succeeded", "succeeded"] as const;
    const watchOnce = async (json: boolean): Promise<ReturnType<typeof fakeTerminal>> => {
      let looks = 0;
      const engine: FakeEngine = fakeEngine({
        task_status: () => {
          looks += 1;
          queueMicrotask(() => engine.happen(moved("ready"), "a"));
          return { questions, plans: [planIn(states[looks - 1] ?? "succeeded")] };
        },
      });
      const terminal = fakeTerminal();
      await watch(Object.assign({ plan: planIn("running") }, engine), terminal, { json });
      return terminal;
    };
    expect((await watchOnce(false)).printed).toEqual(['? q1 a asks: Which? [red | blue] → orchestrator answer q1 "…"']);
    const told = (await watchOnce(true)).json.filter((line) => (line as { type: string }).type === "question-waiting");
    expect(told).toMatchObject([{ id: "q1", task: "p/a", plan: "p", command: 'orchestrator answer q1 "…"' }]);
  });

  test("a moment in which nothing moves is not taken for a wait for a person", async () => {
    let looks = 0;
    const engine: FakeEngine = fakeEngine({
      task_status: () => {
        looks += 1;
        if (looks === 2) queueMicrotask(() => engine.happen(moved("running"), "a"));
        return { questions: [], plans: [planIn(looks === 1 ? "needs-person" : looks === 2 ? "running" : "succeeded")] };
      },
    });
    expect(await watch(Object.assign({ plan: planIn("running") }, engine))).toMatchObject({ state: "succeeded" });
  });

  test("the summary has all failed tasks of a plan that needs several pages", async () => {
    const task = (id: string): PlanStatus["tasks"][number] => ({ task: `p/${id}`, state: "failed", note: "no" });
    const pages = [
      planIn("failed", { tasks: [task("a"), task("b")], more: 1 }),
      planIn("failed", { tasks: [task("c")] }),
    ];
    const engine = fakeEngine({
      task_status: ({ offset }) => ({ questions: [], plans: [pages[offset === 2 ? 1 : 0]] }),
    });
    const summary = await watch(Object.assign({ plan: planIn("failed") }, engine));
    expect(summary.failed.map((failed) => failed.task)).toEqual(["p/a", "p/b", "p/c"]);
  });

  test("merges are counted by what happened", async () => {
    const engine = engineWith(planIn("succeeded"));
    const feed = new EventFeed(engine.client, null);
    engine.happen({ type: "merge-ended", target: "main", outcome: "conflict", sha: null, message: "no" }, "a");
    engine.happen({ type: "merge-ended", target: "main", outcome: "merged", sha: "abc", message: null }, "a");
    expect((await watch(engine, fakeTerminal(), { feed })).merged).toEqual([{ task: "p/a", sha: "abc" }]);
  });

  test("Ctrl-C pauses the plan once, and ends with 130 when its agents have ended", async () => {
    const abort = new AbortController();
    const engine = engineWith(planIn("running"), { control: () => ({}) });
    const terminal = fakeTerminal();
    const watched = watch(engine, terminal, { interrupted: abort.signal });
    abort.abort();
    engine.plan = planIn("needs-person", { paused: true });
    engine.happen({ type: "plan-paused" });
    expect(await watched).toMatchObject({ exitCode: 130, interrupted: true, paused: true });
    expect(engine.calls.filter(({ name }) => name === "control").map(({ input }) => input)).toEqual([
      { action: "pause", plan: "p" },
    ]);
    expect(terminal.noted.join()).toContain("Ctrl-C again leaves at once");
  });

  test("an engine that was stopped ends it with the command that goes on", async () => {
    const engine = engineWith(planIn("running"));
    const watched = watch(engine);
    engine.stop();
    await expect(watched).rejects.toMatchObject({ code: "ENGINE_STOPPING" });
  });

  test("on a terminal the list is redrawn in place and the cursor given back", async () => {
    const terminal = fakeTerminal({ isInteractive: true });
    await watch(engineWith(planIn("succeeded")), terminal);
    expect(terminal.raw[0]).toContain("\u001b[?25l");
    expect(terminal.raw.at(-1)).toContain("\u001b[?25h");
    expect(terminal.printed).toEqual([]);
  });
});

describe("the block that is redrawn", () => {
  test("goes up as many rows as the lines take now, also after the terminal was made narrower", () => {
    let columns = 40;
    const terminal = { ...fakeTerminal({ isInteractive: true }), columns: () => columns };
    const screen = new LiveScreen(terminal);
    screen.draw([["x".repeat(35)], [], ["日".repeat(10)]]);
    columns = 10;
    screen.draw([["y"]]);
    // 35 columns take 4 rows, an empty line 1, 20 columns 2.
    expect(terminal.raw[1]?.startsWith("\u001b[7A\r\u001b[J")).toBe(true);
    screen.close();
    screen.close();
    expect(terminal.raw).toHaveLength(3);
  });
});

describe("one word names a plan or a task", () => {
  const refuse = (code: "PLAN_NOT_FOUND" | "TASK_NOT_FOUND" | "TASK_STATE", message: string) => () =>
    Promise.reject(new AppError(code, message));
  const by =
    (answers: { plan?: () => Promise<string>; task?: () => Promise<string> }) =>
    (name: string): Promise<string> =>
      callByName(name, (subject) =>
        "plan" in subject
          ? (answers.plan ?? refuse("PLAN_NOT_FOUND", "no plan"))()
          : (answers.task ?? refuse("TASK_NOT_FOUND", "no task"))(),
      );

  test("with a slash a task, else a plan, else a task", async () => {
    const both = { plan: () => Promise.resolve("plan"), task: () => Promise.resolve("task") };
    expect(await by(both)("a/b")).toBe("task");
    expect(await by(both)("a")).toBe("plan");
    expect(await by({ task: both.task })("a")).toBe("task");
  });

  test("a refusal for another reason is told as it is", async () => {
    await expect(
      by({ plan: refuse("TASK_STATE", "it has ended"), task: () => Promise.resolve("x") })("a"),
    ).rejects.toMatchObject({ code: "TASK_STATE" });
  });

  test("what is neither says so, with the nearest plan", async () => {
    await expect(by({})("a")).rejects.toThrow('there is no plan and no open task "a"');
    await expect(
      by({ plan: refuse("PLAN_NOT_FOUND", 'there is no plan "a"; did you mean "aa"?') })("a"),
    ).rejects.toThrow('did you mean "aa"?');
    await expect(by({ task: refuse("TASK_NOT_FOUND", 'task "a": several plans have it: x, y') })("a")).rejects.toThrow(
      "several plans",
    );
  });
});
