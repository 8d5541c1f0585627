import { describe, expect, test } from "vitest";
import { controlPlan, controlTask, tryNewKey } from "../../src/plan/controls.ts";
import { explainTask, standingOf } from "../../src/plan/explain.ts";
import { endAttempt, endMerge } from "../../src/plan/outcomes.ts";
import { taskKey, type TaskRecord } from "../../src/plan/records.ts";
import {
  addPlan,
  Board,
  failWith,
  makeTask,
  merged,
  namesOf,
  NOW_MS,
  planRecord,
  putOn,
  settingsOf,
  start,
  succeed,
} from "./boards.ts";

describe("D3: a task without open dependencies is eligible; an end resolves what is downstream at once", () => {
  test("a diamond runs from its top over both sides to its bottom", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", {
      top: {},
      left: { dependsOn: ["top"] },
      right: { dependsOn: ["top"] },
      bottom: { dependsOn: ["left", "right"] },
    });
    expect(start(board)).toEqual(["p/top"]);
    succeed(board, "p/top");
    expect(start(board)).toEqual(["p/left", "p/right"]);
    succeed(board, "p/left");
    expect(start(board)).toEqual([]);
    succeed(board, "p/right");
    expect(start(board)).toEqual(["p/bottom"]);
  });

  test("one that was let through and never began asks its dependencies again", () => {
    const board = new Board(settingsOf());
    const { b } = addPlan(board, "p", { a: { onFailure: "soft" }, b: { dependsOn: ["a"] } });
    start(board);
    failWith(board, "p/a", "timed-out");
    expect(start(board)).toEqual(["p/b"]);
    controlTask(board, "p/a", "retry", NOW_MS);
    endAttempt(board, "p/b", { type: "not-started", wait: null }, NOW_MS, 0.5);
    expect(b?.state).toBe("pending");
    expect(start(board)).toEqual(["p/a"]);
  });

  test("work that is not merged yet does not count as done", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: {}, b: { dependsOn: ["a"] } });
    start(board);
    succeed(board, "p/a", true);
    expect(namesOf(board.decide(NOW_MS), "merge")).toEqual(["p/a"]);
    expect(start(board)).toEqual([]);
    merged(board, "p/a");
    expect(start(board)).toEqual(["p/b"]);
  });
});

describe("D5: failure modes", () => {
  test("hard blocks what depends on it, over any distance, and nothing else (R3)", () => {
    const board = new Board(settingsOf());
    const tasks = addPlan(board, "p", {
      a: {},
      b: { dependsOn: ["a"] },
      c: { dependsOn: ["b"] },
      other: {},
      more: { dependsOn: ["other"] },
    });
    start(board);
    failWith(board, "p/a", "timed-out");
    succeed(board, "p/other");
    expect(start(board)).toEqual(["p/more"]);
    expect(statesOf(tasks)).toEqual({ a: "failed", b: "blocked", c: "blocked", other: "succeeded", more: "running" });
    expect(explainTask(board, "p/c", NOW_MS)).toMatchObject({ code: "blocked", command: "orchestrator retry p/a" });
  });

  test("soft fails, and its dependents run; skip counts as done", () => {
    const board = new Board(settingsOf());
    const tasks = addPlan(board, "p", {
      soft: { onFailure: "soft" },
      skip: { onFailure: "skip" },
      behind: { dependsOn: ["soft", "skip"] },
    });
    start(board);
    failWith(board, "p/soft", "timed-out");
    failWith(board, "p/skip", "timed-out");
    expect(start(board)).toEqual(["p/behind"]);
    expect(statesOf(tasks)).toEqual({ soft: "failed", skip: "skipped", behind: "running" });
    succeed(board, "p/behind");
    expect(standingOf(board.plan("p")).state).toBe("failed");
  });

  test("blocked is left when the culprit is retried, and entered again when it fails again", () => {
    const board = new Board(settingsOf());
    const tasks = addPlan(board, "p", { a: {}, b: { dependsOn: ["a"] }, c: { dependsOn: ["b"] } });
    start(board);
    failWith(board, "p/a", "timed-out");
    controlTask(board, "p/a", "retry", NOW_MS);
    expect(statesOf(tasks)).toEqual({ a: "ready", b: "pending", c: "pending" });
    start(board);
    failWith(board, "p/a", "timed-out");
    expect(statesOf(tasks)).toEqual({ a: "failed", b: "blocked", c: "blocked" });
  });

  test("a task with two culprits stays blocked until both are mended", () => {
    const board = new Board(settingsOf());
    const tasks = addPlan(board, "p", { a: {}, b: {}, c: { dependsOn: ["a", "b"] } });
    start(board);
    failWith(board, "p/a", "timed-out");
    failWith(board, "p/b", "timed-out");
    controlTask(board, "p/a", "skip", NOW_MS);
    expect(tasks["c"]?.state).toBe("blocked");
    controlTask(board, "p/b", "skip", NOW_MS);
    expect(start(board)).toEqual(["p/c"]);
  });

  test.each(["retry", "skip"] as const)(
    "fifty thousand blocked tasks in a row are freed by a %s, without recursion",
    (action) => {
      const board = new Board(settingsOf());
      const size = 50_000;
      const tasks = chainOf("p", size);
      putOn(board, planRecord("p"), tasks);
      start(board);
      failWith(board, "p/t0", "timed-out");
      expect(standingOf(board.plan("p")).counts.blocked).toBe(size - 1);
      expect(explainTask(board, `p/t${size - 1}`, NOW_MS).command).toBe("orchestrator retry p/t0");
      controlTask(board, "p/t0", action, NOW_MS);
      expect(standingOf(board.plan("p")).counts.blocked).toBe(0);
      expect(start(board)).toEqual([action === "retry" ? "p/t0" : "p/t1"]);
    },
  );
});

describe("D4: claims", () => {
  test("who asked first gets a claim first, and nobody overtakes with a smaller one", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", {
      holder: { writes: ["src/a/**"], priority: 9 },
      wide: { writes: ["src/**"], priority: 8 },
      narrow: { writes: ["src/b/**"], priority: 7 },
      elsewhere: { writes: ["docs/**"], priority: 6 },
    });
    expect(start(board)).toEqual(["p/holder", "p/elsewhere"]);
    expect(explainTask(board, "p/wide", NOW_MS).waitsFor).toEqual(["p/holder"]);
    expect(explainTask(board, "p/narrow", NOW_MS).waitsFor).toEqual(["p/wide"]);
    succeed(board, "p/holder");
    expect(start(board)).toEqual(["p/wide"]);
    succeed(board, "p/wide");
    expect(start(board)).toEqual(["p/narrow"]);
  });

  test("a claim is kept until the work is merged, and over every wait in between", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { writes: ["x"] }, b: { writes: ["x"] } });
    expect(start(board)).toEqual(["p/a"]);
    failWith(board, "p/a", "transient");
    expect(start(board)).toEqual([]);
    expect(start(board, NOW_MS + 3_600_000)).toEqual(["p/a"]);
    succeed(board, "p/a", true);
    expect(start(board)).toEqual([]);
    merged(board, "p/a");
    expect(start(board)).toEqual(["p/b"]);
  });

  test("claims on another target do not conflict, and those of another plan on the same one do", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { writes: ["x"] } });
    addPlan(board, "q", { a: { writes: ["x"] } });
    addPlan(board, "r", { a: { writes: ["x"] } }, { target: "other" });
    expect(start(board)).toEqual(["p/a", "r/a"]);
  });

  test("release frees what a waiting task holds, and names itself as the way out", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { writes: ["x"] }, b: { writes: ["x"] } });
    start(board);
    failWith(board, "p/a", "billing");
    expect(start(board)).toEqual([]);
    expect(explainTask(board, "p/b", NOW_MS).command).toBe("orchestrator release p/a");
    controlTask(board, "p/a", "release", NOW_MS);
    expect(start(board)).toEqual(["p/b"]);
  });

  test("who is paused in line leaves it, so that those behind need nobody", () => {
    const board = new Board(settingsOf({ limitAgents: 2 }));
    addPlan(board, "p", {
      holder: { writes: ["x"], priority: 3 },
      first: { writes: ["x"], priority: 2 },
      second: { writes: ["x"] },
    });
    start(board);
    succeed(board, "p/holder");
    controlTask(board, "p/first", "pause", NOW_MS);
    expect(start(board)).toEqual(["p/second"]);
  });

  test("a thousand tasks that want one file wait in one row: each end wakes one", () => {
    const board = new Board(settingsOf({ limitAgents: 8 }));
    const tasks = Array.from({ length: 1_000 }, (_, index) => makeTask("p", `t${index}`, { writes: ["x"] }));
    putOn(board, planRecord("p"), tasks);
    board.takeChanges();
    for (const task of tasks) {
      expect(start(board)).toEqual([taskKey(task)]);
      board.takeChanges();
      succeed(board, taskKey(task));
      const woken = board.takeChanges().filter((change) => change.from === "waiting");
      expect(woken.length).toBeLessThanOrEqual(1);
    }
  });
});

describe("X1: claims, slot and provider's slot are taken together or not at all", () => {
  test("a task whose provider is full holds no claim, and one that waits for a claim no slot", () => {
    const board = new Board(settingsOf({ limitAgents: 2, providerLimits: new Map([["alpha", 1]]) }));
    const tasks = addPlan(board, "p", {
      a: { writes: ["a"], priority: 9 },
      b: { writes: ["b"], priority: 8 },
      c: { writes: ["b"], priority: 7, provider: "beta" },
    });
    expect(start(board)).toEqual(["p/a", "p/c"]);
    expect(tasks["b"]).toMatchObject({ state: "ready", holdsClaims: false });
    expect(explainTask(board, "p/b", NOW_MS).message).toContain("slots");
  });

  test.each([
    ["the engine's limit", settingsOf({ limitAgents: 3 }), {}, 3],
    ["the plan's", settingsOf({ limitAgents: 9 }), { maxConcurrent: 2 }, 2],
    ["the provider's", settingsOf({ limitAgents: 9, providerLimits: new Map([["alpha", 1]]) }), {}, 1],
  ])("%s holds, and an end lets the next one in", (_, settings, plan, limit) => {
    const board = new Board(settings);
    addPlan(board, "p", Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`t${index}`, {}])), plan);
    expect(start(board)).toHaveLength(limit);
    expect(start(board)).toEqual([]);
    succeed(board, "p/t0");
    expect(start(board)).toHaveLength(1);
  });
});

describe("who starts first", () => {
  test("the longest remaining path, then priority, then age", () => {
    const board = new Board(settingsOf({ limitAgents: 9 }));
    addPlan(board, "p", {
      old: {},
      young: {},
      important: { priority: 5 },
      long: {},
      behind: { dependsOn: ["long"] },
    });
    expect(start(board)).toEqual(["p/long", "p/important", "p/old", "p/young"]);
  });

  test("what has begun goes on before anything new", () => {
    const board = new Board(settingsOf({ limitAgents: 1 }));
    addPlan(board, "p", { a: {}, b: { priority: 9 }, c: { dependsOn: ["b"] } });
    expect(start(board)).toEqual(["p/b"]);
    failWith(board, "p/b", "turn-limit");
    controlTask(board, "p/b", "pause", NOW_MS);
    expect(start(board)).toEqual(["p/a"]);
    controlTask(board, "p/b", "resume", NOW_MS);
    failWith(board, "p/a", "turn-limit");
    // Both have begun; the longer path decides between them.
    expect(start(board)).toEqual(["p/b"]);
    succeed(board, "p/b");
    expect(start(board)).toEqual(["p/a"]);
  });

  test("a task that something long was put behind comes first, also when it was in line before", () => {
    const board = new Board(settingsOf({ limitAgents: 1 }));
    addPlan(board, "p", Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`t${index}`, {}])));
    for (const id of ["t7", "t8", "t3"]) {
      const added = makeTask("p", `after-${id}`, { dependsOn: [id] });
      board.addTasks("p", [added], new Map([[added.id, 1]]));
      board.raisePaths(board.node(taskKey(added)), () => 1);
    }
    const order: string[] = [];
    for (let [key] = start(board); key !== undefined; [key] = start(board)) {
      order.push(key);
      succeed(board, key as `${string}/${string}`);
    }
    expect(order.slice(0, 3)).toEqual(["p/t3", "p/t7", "p/t8"]);
    expect(order).toHaveLength(12);
  });
});

describe("an operator's wish is not lost", () => {
  test("a resume before the agent has ended lets the task go on", () => {
    const { board, task } = oneRunning();
    controlTask(board, "p/a", "pause", NOW_MS);
    expect(namesOf(board.decide(NOW_MS), "stop")).toEqual(["p/a"]);
    controlTask(board, "p/a", "resume", NOW_MS);
    endAttempt(board, "p/a", { type: "stopped" }, NOW_MS, 0.5);
    expect(task.state).toBe("ready");
    expect(start(board)).toEqual(["p/a"]);
  });

  test("resuming the plan also takes back a pause that is under way", () => {
    const { board, task } = oneRunning();
    controlPlan(board, "p", "pause", NOW_MS);
    expect(task.wish).toBe("pause");
    controlPlan(board, "p", "resume", NOW_MS);
    expect(task.wish).toBeNull();
    expect(namesOf(board.decide(NOW_MS), "stop")).toEqual([]);
  });

  test.each(["cancel", "skip"] as const)("a pause does not bring back what a %s ends", (action) => {
    const { board, task } = oneRunning();
    controlTask(board, "p/a", action, NOW_MS);
    expect(() => controlTask(board, "p/a", "pause", NOW_MS)).toThrow(`about to ${action}`);
    controlPlan(board, "p", "pause", NOW_MS);
    expect(task.wish).toBe(action);
    endAttempt(board, "p/a", { type: "stopped" }, NOW_MS, 0.5);
    expect(task.state).toBe(action === "cancel" ? "cancelled" : "skipped");
  });

  test("an agent that ended before it was told to stop is not told any more", () => {
    const { board } = oneRunning();
    controlTask(board, "p/a", "pause", NOW_MS);
    failWith(board, "p/a", "crashed");
    controlTask(board, "p/a", "resume", NOW_MS);
    const decisions = board.decide(NOW_MS);
    expect([namesOf(decisions, "stop"), namesOf(decisions, "start")]).toEqual([[], ["p/a"]]);
  });

  test("a wish for a merge that the engine's death cut off is carried out by the next engine", () => {
    const { board, task } = oneRunning();
    succeed(board, "p/a", true);
    expect(namesOf(board.decide(NOW_MS), "merge")).toEqual(["p/a"]);
    controlTask(board, "p/a", "cancel", NOW_MS);
    const next = new Board(settingsOf());
    const stored = structuredClone(task);
    putOn(next, planRecord("p"), [stored]);
    expect(next.decide(NOW_MS)).toEqual([]);
    expect(stored.state).toBe("cancelled");
  });

  test("a retry of the whole plan neither merges what is to be merged by hand nor resumes what is paused", () => {
    const board = new Board(settingsOf());
    const tasks = addPlan(board, "p", { manual: { merge: "manual" }, held: {}, broken: {} });
    start(board);
    succeed(board, "p/manual", true);
    controlTask(board, "p/held", "pause", NOW_MS);
    endAttempt(board, "p/held", { type: "stopped" }, NOW_MS, 0.5);
    failWith(board, "p/broken", "billing");
    expect(controlPlan(board, "p", "retry", NOW_MS)).toEqual(["p/broken"]);
    expect(statesOf(tasks)).toEqual({ manual: "waiting", held: "waiting", broken: "ready" });
  });
});

describe("how a plan stands", () => {
  test("a plan that waits for a claim of one that waits for a person needs that person, too", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { writes: ["x"] } });
    addPlan(board, "q", { a: { writes: ["x"] }, b: { writes: ["x"] } });
    start(board);
    start(board);
    expect(standingOf(board.plan("q")).state).toBe("running");
    failWith(board, "p/a", "billing");
    expect(standingOf(board.plan("q")).state).toBe("needs-person");
    controlTask(board, "p/a", "cancel", NOW_MS);
    expect(standingOf(board.plan("q")).state).toBe("running");
  });

  test("paused, waiting for a merge by hand, done, failed", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { merge: "manual" } });
    controlPlan(board, "p", "pause", NOW_MS);
    expect(standingOf(board.plan("p")).state).toBe("needs-person");
    controlPlan(board, "p", "resume", NOW_MS);
    start(board);
    expect(standingOf(board.plan("p")).state).toBe("running");
    succeed(board, "p/a", true);
    expect(standingOf(board.plan("p")).state).toBe("needs-person");
    controlTask(board, "p/a", "merge", NOW_MS);
    board.decide(NOW_MS);
    merged(board, "p/a");
    expect(standingOf(board.plan("p")).state).toBe("succeeded");
  });
});

describe("an edit of a plan under way", () => {
  test("drops, changes and adds; a task that somebody paused stays paused", () => {
    const board = new Board(settingsOf());
    const tasks = addPlan(board, "p", { a: {}, b: { dependsOn: ["a"] }, c: { dependsOn: ["b"] }, held: {} });
    controlTask(board, "p/held", "pause", NOW_MS);
    start(board);
    board.rewire("p", {
      dropped: new Set(["b"]),
      changed: (task) => {
        if (task.id !== "c" && task.id !== "held") return false;
        task.spec = { ...task.spec, dependsOn: task.id === "c" ? ["new"] : [] };
        return true;
      },
      added: [makeTask("p", "new", { dependsOn: ["a"] })],
      weightOf: () => 1,
    });
    expect([...board.plan("p").nodes.keys()].toSorted()).toEqual(["a", "c", "held", "new"]);
    expect(tasks["held"]?.wait?.code).toBe("paused");
    succeed(board, "p/a");
    expect(start(board)).toEqual(["p/new"]);
    succeed(board, "p/new");
    expect(start(board)).toEqual(["p/c"]);
  });

  test("a task that is dropped together with the one whose claim it waits for is told of no more", () => {
    const board = new Board(settingsOf({ limitAgents: 2 }));
    addPlan(board, "p", {
      run: { writes: ["y"], priority: 9 },
      a: { writes: ["x", "y"], priority: 8 },
      b: { writes: ["x"] },
      c: {},
    });
    start(board);
    board.takeChanges();
    board.takeTouched();
    board.rewire("p", { dropped: new Set(["a", "b"]), changed: () => false, added: [], weightOf: () => 1 });
    const told = [
      ...board.takeChanges().map((change) => change.task.id),
      ...board.takeTouched().map((task) => task.id),
    ];
    expect(told).not.toContain("a");
    expect(told).not.toContain("b");
  });
});

describe("a clock that is set", () => {
  test("back: nothing starts early, and nothing is lost", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: {} });
    start(board);
    failWith(board, "p/a", "rate-limit", { retryAfterMs: 60_000 });
    expect(start(board, NOW_MS - 3_600_000)).toEqual([]);
    expect(board.nextWakeMs(NOW_MS - 3_600_000)).toBe(NOW_MS + 60_000);
    expect(start(board, NOW_MS + 60_000)).toEqual(["p/a"]);
  });

  test("far ahead: everything that is due goes on at once, in order", () => {
    const board = new Board(settingsOf());
    addPlan(board, "p", { a: { retries: 5 }, b: { retries: 5, priority: 1 } });
    start(board);
    failWith(board, "p/a", "crashed");
    failWith(board, "p/b", "crashed");
    expect(start(board, NOW_MS + 86_400_000)).toEqual(["p/b", "p/a"]);
    expect(board.nextWakeMs(NOW_MS + 86_400_000)).toBeNull();
  });
});

test("a verify that fails after merging is repaired as often as is allowed, then a person is asked", () => {
  const board = new Board(settingsOf({ maxRepairs: 2 }));
  const tasks = addPlan(board, "p", { a: {} });
  for (let repair = 0; repair <= 2; repair += 1) {
    start(board);
    succeed(board, "p/a", true);
    board.decide(NOW_MS);
    endMerge(board, "p/a", { type: "verify-failed", output: "1 failed", canRepair: true });
  }
  expect(tasks["a"]).toMatchObject({ state: "waiting", wait: { code: "verify", command: "orchestrator retry p/a" } });
  expect(tasks["a"]?.ledger).toMatchObject({ repairs: 2, retries: 0, continuations: 0 });
});

function oneRunning(): { board: Board; task: TaskRecord } {
  const board = new Board(settingsOf());
  const { a: task } = addPlan(board, "p", { a: {} });
  if (task === undefined) throw new Error("no task");
  start(board);
  return { board, task };
}

function chainOf(planId: string, size: number): TaskRecord[] {
  return Array.from({ length: size }, (_, index) =>
    makeTask(planId, `t${index}`, { dependsOn: index === 0 ? [] : [`t${index - 1}`] }),
  );
}

function statesOf(tasks: Readonly<Record<string, TaskRecord>>): Record<string, string> {
  return Object.fromEntries(Object.entries(tasks).map(([id, task]) => [id, task.state]));
}

describe("R2: what an end tells of the provider", () => {
  test("an agent that worked and did not succeed closes the circuit as the probe, and breaks a row of failures", () => {
    for (const cause of ["reported-failure", "turn-limit", "command-failed"] as const) {
      const board = new Board(settingsOf());
      addPlan(board, "p", { first: {}, probe: {}, next: {} });
      start(board);
      failWith(board, "p/first", "auth");
      for (const key of ["p/probe", "p/next"] as const) endAttempt(board, key, { type: "interrupted" }, NOW_MS, 0.5);
      expect(start(board, NOW_MS + 60_000)).toEqual(["p/probe"]);
      const end = { type: "failed", cause, message: "x", remedy: null, retryAfterMs: null, resetsAtMs: null } as const;
      endAttempt(board, "p/probe", end, NOW_MS + 60_000, 0.5);
      expect(board.gate("alpha", NOW_MS)).toEqual({ state: "open-to-all" });
      expect(start(board, NOW_MS + 60_000)).toContain("p/next");
    }
    const board = new Board(settingsOf());
    addPlan(board, "p", Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`t${index}`, {}])));
    for (let index = 0; index < 9; index += 1) {
      start(board);
      failWith(board, `p/t${index}`, index === 4 ? "reported-failure" : "transient");
    }
    expect(board.gate("alpha", NOW_MS)).toEqual({ state: "open-to-all" });
  });

  test("another key: who waits for one goes on at once, one of them as the probe, and nothing is spent", () => {
    const board = new Board(settingsOf());
    const { a, b, c, other } = addPlan(board, "p", { a: {}, b: {}, c: {}, other: { provider: "beta" } });
    start(board);
    for (const key of ["p/a", "p/b", "p/other"] as const) failWith(board, key, "auth");
    failWith(board, "p/c", "billing");
    expect(tryNewKey(board, ({ record }) => record.provider === "alpha", NOW_MS + 1)).toEqual(["p/a", "p/b"]);
    expect([a?.ledger.retries, c?.wait?.code, other?.wait?.code]).toEqual([0, "billing", "auth"]);
    expect(start(board, NOW_MS + 1)).toEqual(["p/a"]);
    succeed(board, "p/a");
    expect(start(board, NOW_MS + 1)).toEqual(["p/b"]);
    expect(b?.state).toBe("running");
  });
});
