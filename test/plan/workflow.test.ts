/** W1: what a verdict, a person and an old wish mean for a task with several steps. */
import { describe, expect, test } from "vitest";
import { controlTask } from "../../src/plan/controls.ts";
import { explainTask } from "../../src/plan/explain.ts";
import { endAttempt, endMerge } from "../../src/plan/outcomes.ts";
import type { TaskKey, Workflow } from "../../src/plan/records.ts";
import { tellTask } from "../../src/plan/tell.ts";
import { sessionNameOf, type Verdict } from "../../src/plan/workflow.ts";
import { addPlan, Board, failWith, merged, NOW_MS, settingsOf, start, succeed } from "./boards.ts";

function steps(maxRounds: number, ...agents: string[]): Workflow {
  return { steps: agents.map((agent) => ({ agent, provider: `of-${agent}`, prompt: null })), maxRounds };
}

const THREE = steps(1, "coder", "reviewer", "tester");

function judge(board: Board, key: TaskKey, type: Verdict["type"]): void {
  const verdict = { type, words: "BECAUSE" };
  endAttempt(board, key, { type: "succeeded", hasChanges: true, message: null, verdict }, NOW_MS, 0.5);
}

function boardWith(workflow: Workflow = THREE) {
  const board = new Board(settingsOf());
  const { a, b } = addPlan(board, "p", { a: { steps: workflow }, b: { dependsOn: ["a"] } });
  if (a === undefined || b === undefined) throw new Error("no tasks");
  return { board, a, b };
}

describe("W1: steps", () => {
  test("each runs on its own provider, in a slot of its own, before new tasks; dependents wait for the merge", () => {
    const { board, a, b } = boardWith();
    addPlan(board, "q", { new: { priority: 1000 } });
    board.settings.limitAgents = 1;
    board.plan("q").record.paused = true;
    expect(start(board)).toEqual(["p/a"]);
    board.plan("q").record.paused = false;
    succeed(board, "p/a", true);
    expect(a).toMatchObject({ state: "ready", step: 1, provider: "of-reviewer", nextTurn: { kind: "review" } });
    expect(start(board)).toEqual(["p/a"]);
    expect([board.runningOf("of-coder"), board.runningOf("of-reviewer")]).toEqual([0, 1]);
    judge(board, "p/a", "approve");
    expect(start(board)).toEqual(["p/a"]);
    judge(board, "p/a", "approve");
    expect([a.state, b.state]).toEqual(["merging", "pending"]);
    board.decide(NOW_MS);
    merged(board, "p/a");
    expect(b.state).not.toBe("pending");
  });

  test("a reject goes back with its words, and then to a person, who may insist or give another round", () => {
    const { board, a } = boardWith();
    const round = (): void => {
      start(board);
      succeed(board, "p/a", true);
      start(board);
      judge(board, "p/a", "reject");
    };
    round();
    expect(a).toMatchObject({ state: "ready", step: 0, nextTurn: { kind: "rejected", note: "BECAUSE" } });
    round();
    expect(a).toMatchObject({ state: "waiting", wait: { code: "review", command: "orchestrator retry p/a" } });
    expect(explainTask(board, "p/a", NOW_MS).message).toContain("orchestrator approve p/a");
    controlTask(board, "p/a", "retry", NOW_MS);
    expect(a).toMatchObject({ state: "ready", step: 0, provider: "of-coder", nextTurn: { kind: "rejected" } });
    round();
    round();
    controlTask(board, "p/a", "approve", NOW_MS);
    expect(a).toMatchObject({ state: "ready", step: 2, provider: "of-tester", consent: null });
  });

  test("cancelled while it waits for that person and opened again, it goes to who does the task", () => {
    const { board, a } = boardWith(steps(0, "coder", "reviewer"));
    start(board);
    succeed(board, "p/a", true);
    start(board);
    judge(board, "p/a", "reject");
    controlTask(board, "p/a", "cancel", NOW_MS);
    controlTask(board, "p/a", "retry", NOW_MS);
    expect(a).toMatchObject({ state: "ready", step: 0, nextTurn: { kind: "rejected", note: "BECAUSE" } });
  });

  test("a step that fails is retried where it is, with retries of its own", () => {
    const { board, a } = boardWith();
    start(board);
    succeed(board, "p/a", true);
    start(board);
    failWith(board, "p/a", "engine-crash");
    expect(a).toMatchObject({ state: "ready", step: 1 });
    start(board);
    failWith(board, "p/a", "no-result");
    expect(a).toMatchObject({ step: 1, nextTurn: { kind: "hand-over" }, ledger: { freshSessions: 1 } });
    start(board);
    judge(board, "p/a", "approve");
    expect(a).toMatchObject({ step: 2, ledger: { freshSessions: 0, continuations: 0 } });
  });

  test("what is repaired after a red verify is judged again", () => {
    const { board, a } = boardWith(steps(1, "coder", "reviewer"));
    start(board);
    succeed(board, "p/a", true);
    start(board);
    judge(board, "p/a", "approve");
    board.decide(NOW_MS);
    endMerge(board, "p/a", { type: "verify-failed", output: "red", canRepair: true });
    expect(a).toMatchObject({ state: "ready", step: 0, nextTurn: { kind: "repair" } });
    start(board);
    succeed(board, "p/a", true);
    expect(a).toMatchObject({ state: "ready", step: 1, nextTurn: { kind: "review" } });
  });

  test("a pause that comes too late for a step holds the next one", () => {
    const { board, a } = boardWith();
    start(board);
    controlTask(board, "p/a", "pause", NOW_MS);
    succeed(board, "p/a", true);
    expect(a).toMatchObject({ state: "waiting", step: 1, wait: { code: "paused" } });
    controlTask(board, "p/a", "resume", NOW_MS);
    expect(a).toMatchObject({ state: "ready", step: 1 });
  });

  test("what is said while it is judged goes to who does the task, and is judged again", () => {
    const { board, a } = boardWith();
    start(board);
    succeed(board, "p/a", true);
    start(board);
    const verdict = { type: "approve", words: "" } as const;
    endAttempt(
      board,
      "p/a",
      { type: "succeeded", hasChanges: true, message: null, verdict, hasMail: true },
      NOW_MS,
      0.5,
    );
    expect(a).toMatchObject({ state: "ready", step: 0, provider: "of-coder", nextTurn: { kind: "message" } });
    start(board);
    succeed(board, "p/a", true);
    start(board);
    judge(board, "p/a", "approve");
    start(board);
    judge(board, "p/a", "approve");
    expect(a.state).toBe("merging");
    expect(tellTask(board, "p/a", "more", NOW_MS).type).toBe("called-back");
    expect(a).toMatchObject({ state: "ready", step: 0 });
  });

  test("two steps of one role are two conversations", () => {
    const workflow = steps(1, "coder", "reviewer", "coder");
    expect([0, 1, 2].map((step) => sessionNameOf({ workflow, step }))).toEqual(["coder", "reviewer", "coder#3"]);
  });
});

test("a proposal that was approved has not approved what it later changes", () => {
  const board = new Board(settingsOf());
  addPlan(board, "p", { a: {} });
  const node = board.node("p/a");
  const wait = { code: "approval", message: "proposed", command: "orchestrator approve p/a", untilMs: null } as const;
  board.move(node, "waiting", { wait });
  expect(start(board)).toEqual([]);
  controlTask(board, "p/a", "approve", NOW_MS);
  expect(node.record).toMatchObject({ state: "ready", consent: null });
});

describe("X3: what waits for a person's word lands only as it was let through", () => {
  test("a task to be merged by hand that was cancelled and retried waits for its merge again", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { merge: "manual" } });
    start(board);
    succeed(board, "p/a", true);
    controlTask(board, "p/a", "cancel", NOW_MS);
    controlTask(board, "p/a", "retry", NOW_MS);
    const { record } = board.node("p/a");
    expect(record).toMatchObject({ state: "waiting", wait: { code: "manual-merge" } });
    expect(explainTask(board, "p/a", NOW_MS).command).toBe("orchestrator merge p/a");
    controlTask(board, "p/a", "merge", NOW_MS);
    expect(record.state).toBe("merging");
  });

  test("what its agent does after it was told something more is asked about anew", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { merge: "manual" } });
    start(board);
    succeed(board, "p/a", true);
    controlTask(board, "p/a", "merge", NOW_MS);
    controlTask(board, "p/a", "cancel", NOW_MS);
    expect(tellTask(board, "p/a", "do more", NOW_MS).type).toBe("opened");
    start(board);
    succeed(board, "p/a", true);
    expect(board.node("p/a").record).toMatchObject({ wait: { code: "manual-merge" }, consent: null });
  });
});

describe("what is said is heard before anything is merged", () => {
  test("what is said to a task whose last reject waits for a person opens it: an approval can't merge it unheard", () => {
    const { board, a } = boardWith({ ...THREE, maxRounds: 0 });
    start(board);
    succeed(board, "p/a", true);
    start(board);
    judge(board, "p/a", "reject");
    expect(a.wait?.code).toBe("review");
    expect(tellTask(board, "p/a", "do it otherwise", NOW_MS).type).toBe("opened");
    expect(a).toMatchObject({ state: "ready", step: 0, nextTurn: { kind: "rejected", note: "BECAUSE" } });
    expect(() => controlTask(board, "p/a", "approve", NOW_MS)).toThrow("can't approve");
  });

  test("what was said while the last reject was made is another round", () => {
    const { board, a } = boardWith({ ...THREE, maxRounds: 0 });
    start(board);
    succeed(board, "p/a", true);
    start(board);
    const end = { type: "succeeded", hasChanges: true, message: null, hasMail: true } as const;
    endAttempt(board, "p/a", { ...end, verdict: { type: "reject", words: "BECAUSE" } }, NOW_MS, 0.5);
    expect(a).toMatchObject({ state: "ready", step: 0, ledger: { rounds: 0 }, nextTurn: { kind: "rejected" } });
  });
});
