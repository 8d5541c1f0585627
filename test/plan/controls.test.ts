import { describe, expect, test } from "vitest";
import { AppError } from "../../src/errors.ts";
import { controlPlan, controlTask, TASK_ACTIONS, type TaskAction } from "../../src/plan/controls.ts";
import { explainTask } from "../../src/plan/explain.ts";
import { endAttempt, endMerge } from "../../src/plan/outcomes.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded, needsPerson, TASK_STATES, WAIT_CODES, type Wait, type WaitCode } from "../../src/plan/task-state.ts";
import { addPlan, Board, failWith, merged, NOW_MS, settingsOf, start, succeed } from "./boards.ts";

interface Situation {
  readonly board: Board;
  readonly task: TaskRecord;
}

/** Every state, and every kind of wait that the core tells apart, each reached by events alone. */
const SITUATIONS: Readonly<Record<string, () => Situation>> = {
  pending: () => within({ before: {}, a: { dependsOn: ["before"] } }),
  ready: () => within({ a: {} }),
  "ready in a plan that is paused": () => within({ a: {} }, (board) => void controlPlan(board, "p", "pause", NOW_MS)),
  "ready, its provider shut": () =>
    within(
      { first: {}, a: { priority: -1 } },
      (board) => {
        start(board);
        failWith(board, "p/first", "auth");
      },
      { limitAgents: 1 },
    ),
  blocked: () =>
    within({ before: {}, a: { dependsOn: ["before"] } }, (board) => {
      start(board);
      failWith(board, "p/before", "timed-out");
    }),
  "blocked by a task that was cancelled": () =>
    within({ before: {}, a: { dependsOn: ["before"] } }, (board) => controlTask(board, "p/before", "cancel", NOW_MS)),
  running: () => within({ a: {} }, (board) => void start(board)),
  "running, to be paused": () => running((board) => controlTask(board, "p/a", "pause", NOW_MS)),
  "running, to be cancelled": () => running((board) => controlTask(board, "p/a", "cancel", NOW_MS)),
  "running, to be skipped": () => running((board) => controlTask(board, "p/a", "skip", NOW_MS)),
  "waiting for a claim": () =>
    within({ holder: { writes: ["x"], priority: 1 }, a: { writes: ["x"] } }, (board) => void start(board)),
  "waiting for a claim whose holder waits for a person": () =>
    within({ holder: { writes: ["x"], priority: 1 }, a: { writes: ["x"] } }, (board) => {
      start(board);
      failWith(board, "p/holder", "billing");
    }),
  "waiting to be resumed": () => within({ a: {} }, (board) => controlTask(board, "p/a", "pause", NOW_MS)),
  "waiting to be resumed, begun": () =>
    running((board) => {
      controlTask(board, "p/a", "pause", NOW_MS);
      endAttempt(board, "p/a", { type: "stopped" }, NOW_MS, 0.5);
    }),
  "waiting after a back-off": () => running((board) => failWith(board, "p/a", "transient")),
  "waiting for a usage limit": () => running((board) => failWith(board, "p/a", "usage-limit")),
  "waiting with a claim, never begun": () => running((board) => notStarted(board, "auth")),
  "waiting for approval": () => running((board) => notStarted(board, "approval")),
  ...Object.fromEntries(
    (["auth", "billing", "permission-denied", "spawn-failed", "invalid-request"] as const).map((cause) => [
      `waiting: ${cause}`,
      () => running((board) => failWith(board, "p/a", cause)),
    ]),
  ),
  ...Object.fromEntries(
    (["budget", "machine", "target", "review"] as const).map((code) => [
      `waiting: ${code}`,
      () => running((board) => notStarted(board, code)),
    ]),
  ),
  "waiting for an answer": () =>
    running((board) => {
      const wait: Wait = {
        code: "question",
        message: "asks",
        command: 'orchestrator answer q1 "…"',
        untilMs: NOW_MS + 1,
      };
      endAttempt(board, "p/a", { type: "asked", wait }, NOW_MS, 0.5);
    }),
  "waiting to be merged by hand": () =>
    within({ a: { merge: "manual" } }, (board) => {
      start(board);
      succeed(board, "p/a", true);
    }),
  merging: () => merging((board) => void board),
  "merging, in line": () =>
    within({ first: { priority: 1 }, a: {} }, (board) => {
      start(board);
      succeed(board, "p/first", true);
      succeed(board, "p/a", true);
      board.decide(NOW_MS);
    }),
  "merging, to be cancelled": () => merging((board) => controlTask(board, "p/a", "cancel", NOW_MS)),
  "merging, to be paused": () => merging((board) => controlTask(board, "p/a", "pause", NOW_MS)),
  "waiting with a conflict": () =>
    merging((board) => {
      const told = { code: "conflict", message: "a.ts conflicts", command: "orchestrator merge p/a" } as const;
      endMerge(board, "p/a", { type: "wait", ...told });
    }),
  "waiting with a red verify": () =>
    merging((board) => endMerge(board, "p/a", { type: "verify-failed", output: "1 failed", canRepair: false })),
  succeeded: () => merging((board) => merged(board, "p/a")),
  skipped: () => within({ a: {} }, (board) => controlTask(board, "p/a", "skip", NOW_MS)),
  failed: () => running((board) => failWith(board, "p/a", "timed-out")),
  cancelled: () => within({ a: {} }, (board) => controlTask(board, "p/a", "cancel", NOW_MS)),
};

test("the situations below are all states and all waits that can be told apart", () => {
  const made = Object.values(SITUATIONS).map((make) => make().task);
  expect(new Set(made.map((task) => task.state))).toEqual(new Set(TASK_STATES));
  const codes = new Set(made.flatMap((task) => (task.wait === null ? [] : [task.wait.code])));
  // Told by the gate for ready tasks, never stored.
  expect([...codes, "circuit-open"].toSorted()).toEqual(WAIT_CODES.toSorted());
});

describe.each(Object.keys(SITUATIONS))("%s", (name) => {
  const make = SITUATIONS[name] ?? SITUATIONS["ready"];
  if (make === undefined) throw new Error(name);

  test.each(TASK_ACTIONS)("%s acts, or is refused with what to do instead", (action) => {
    const { board, task } = make();
    const before = JSON.stringify(task);
    let refusal: AppError | null = null;
    try {
      controlTask(board, taskKey(task), action, NOW_MS);
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown;
      refusal = thrown;
    }
    if (refusal === null) {
      checkSound(board);
      return;
    }
    expect(refusal.code).toBe("TASK_STATE");
    expect(refusal.message).toContain(`can't ${action} task p/a: it is ${task.state}`);
    expect(JSON.stringify(task)).toBe(before);
    // What is named as possible is so, and nothing else is.
    const possible = TASK_ACTIONS.filter((other) => changesSomething(make(), other));
    expect(refusal.details["possible"]).toEqual(possible);
    expect(refusal.message).toMatch(/; (?:possible: [a-z, ]+|nothing is left to do with it|.+ instead.*|.*already)$/);
  });

  test("12: in a plan that is paused, why says so and names the command that lets the plan go on", () => {
    const { board, task } = make();
    const before = explainTask(board, taskKey(task), NOW_MS);
    if (isEnded(task.state) || ["running", "merging", "blocked"].includes(before.state)) return;
    board.plan("p").record.paused = true;
    const { message, command } = explainTask(board, taskKey(task), NOW_MS);
    expect(message).toContain("plan p is paused");
    expect(`${message} ${command}`).toContain("orchestrator resume p");
    // What else a person has to do is not hidden by it.
    const isPersonsOwn = task.wait !== null && needsPerson(task.wait.code) && task.wait.code !== "paused";
    if (isPersonsOwn) expect(command).toBe(before.command);
  });

  test("says why, and names a command where a person is needed", () => {
    const { board, task } = make();
    const why = explainTask(board, taskKey(task), NOW_MS);
    expect(why.message).not.toBe("");
    if (task.state === "waiting" && task.wait !== null && needsPerson(task.wait.code)) {
      expect(why.command).toMatch(/^orchestrator [a-z]+ p\/a$/);
    }
    if (task.wait?.code === "backoff") expect(why.command).toBe("orchestrator retry p/a");
    // An answer goes to the question, and comes to the board as the task's going on.
    if (why.command === null || why.code === "question") return;
    const [, action = "", key = ""] = why.command.split(" ");
    const isPlan = !key.includes("/");
    const act = (): unknown =>
      isPlan
        ? controlPlan(board, key, action as TaskAction, NOW_MS)
        : controlTask(board, key as TaskKey, action as TaskAction, NOW_MS);
    expect(act).not.toThrow();
    board.decide(NOW_MS);
    const after = explainTask(board, taskKey(task), NOW_MS);
    expect({ state: after.state, message: after.message }).not.toEqual({ state: why.state, message: why.message });
  });

  test("an action on the whole plan never throws for it, save those that take one task", () => {
    for (const action of TASK_ACTIONS) {
      const { board } = make();
      if (action === "skip" || action === "release") {
        expect(() => controlPlan(board, "p", action, NOW_MS)).toThrow(/takes one task.*p\/TASK/);
      } else {
        controlPlan(board, "p", action, NOW_MS);
        checkSound(board);
      }
    }
  });
});

test("a refusal names the task, or the plan, that was meant", () => {
  const refusal = (name: string, action: TaskAction): string => {
    const { board, task } = (SITUATIONS[name] ?? fail(name))();
    try {
      controlTask(board, taskKey(task), action, NOW_MS);
    } catch (thrown) {
      return (thrown as Error).message;
    }
    return "";
  };
  expect(refusal("blocked", "retry")).toContain("retry p/before instead, which failed");
  expect(refusal("blocked by a task that was cancelled", "retry")).toContain(
    "retry p/before instead, which was cancelled",
  );
  expect(refusal("pending", "pause")).toContain("pause its plan p instead");
  expect(refusal("merging", "merge")).toContain("in the merge queue already");
  expect(refusal("waiting to be merged by hand", "retry")).toContain("merge");
});

test("a retry of what is under way already changes nothing but the provider's circuit, and is no error", () => {
  for (const name of ["ready", "running"]) {
    const { board, task } = (SITUATIONS[name] ?? fail(name))();
    const before = JSON.stringify(task);
    controlTask(board, taskKey(task), "retry", NOW_MS);
    expect(JSON.stringify(task)).toBe(before);
  }
  const { board, task } = (SITUATIONS["ready, its provider shut"] ?? fail("shut"))();
  controlTask(board, taskKey(task), "retry", NOW_MS);
  expect(start(board)).toEqual([taskKey(task)]);
});

test("a task or a plan that is not there is named", () => {
  const { board } = within({ a: {} });
  expect(() => controlTask(board, "p/b", "pause", NOW_MS)).toThrow('there is no task "p/b"');
  expect(() => controlPlan(board, "q", "pause", NOW_MS)).toThrow('there is no plan "q"');
});

/** Whether the action is let through and leaves anything different. */
function changesSomething({ board, task }: Situation, action: TaskAction): boolean {
  const before = JSON.stringify(task);
  try {
    controlTask(board, taskKey(task), action, NOW_MS);
  } catch {
    return false;
  }
  return JSON.stringify(task) !== before;
}

/** Counters that fit the states, and steps that the next events can go on from. */
function checkSound(board: Board): void {
  board.decide(NOW_MS);
  const plan = board.plan("p");
  for (const state of TASK_STATES) {
    const real = [...plan.nodes.values()].filter((node) => node.record.state === state).length;
    expect([state, plan.counts[state]]).toEqual([state, real]);
  }
  for (const node of plan.nodes.values()) {
    if (isEnded(node.record.state)) expect(node.record.holdsClaims).toBe(false);
  }
}

function within(
  tasks: Parameters<typeof addPlan>[2],
  act: (board: Board) => void = () => {},
  settings: Parameters<typeof settingsOf>[0] = {},
): Situation {
  const board = new Board(settingsOf(settings));
  const { a: task } = addPlan(board, "p", tasks);
  if (task === undefined) throw new Error("no task a");
  act(board);
  return { board, task };
}

function running(act: (board: Board) => void): Situation {
  return within({ a: {} }, (board) => {
    start(board);
    act(board);
  });
}

function merging(act: (board: Board) => void): Situation {
  return running((board) => {
    succeed(board, "p/a", true);
    board.decide(NOW_MS);
    act(board);
  });
}

function notStarted(board: Board, code: WaitCode): void {
  const action = code === "approval" ? "approve" : "retry";
  const wait = { code, message: `${code} is missing`, command: `orchestrator ${action} p/a`, untilMs: null };
  endAttempt(board, "p/a", { type: "not-started", wait }, NOW_MS, 0.5);
}

function fail(message: string): never {
  throw new Error(message);
}
