import { describe, expect, test } from "vitest";
import type { TaskRecord } from "../../src/plan/records.ts";
import { controlTask } from "../../src/plan/controls.ts";
import { explainTask, standingOf } from "../../src/plan/explain.ts";
import { taskKey, type TaskKey } from "../../src/plan/records.ts";
import {
  addPlan,
  Board,
  failWith,
  makeTask,
  merged,
  NOW_MS,
  planRecord,
  putOn,
  settingsOf,
  start,
  succeed,
  type TaskOptions,
} from "./boards.ts";

/**
 * Work is counted, not timed: each record tells when something reads it. One event may read the tasks next to it, and
 * how many it reads must not depend on how many there are.
 */
class Watched {
  readonly read = new Set<TaskRecord>();
  /** How often any record was read. */
  reads = 0;
  readonly board: Board;

  constructor(size: number, optionsOf: (index: number) => TaskOptions) {
    this.board = new Board(settingsOf());
    const tasks = Array.from({ length: size }, (_, index) => this.#watch(makeTask("p", `t${index}`, optionsOf(index))));
    putOn(this.board, planRecord("p"), tasks);
    this.board.decide(NOW_MS);
    this.#forget();
  }

  /** How many records `work` read. */
  countOf(work: (board: Board) => void): number {
    this.#forget();
    work(this.board);
    return this.read.size;
  }

  #forget(): void {
    this.board.takeChanges();
    this.board.takeTouched();
    this.read.clear();
  }

  #watch(record: TaskRecord): TaskRecord {
    const watched: TaskRecord = new Proxy(record, {
      get: (target, name, receiver) => {
        this.read.add(record);
        this.reads += 1;
        return Reflect.get(target, name, receiver) as unknown;
      },
    });
    return watched;
  }
}

const SHAPES: Readonly<Record<string, (index: number) => TaskOptions>> = {
  "tasks that know nothing of each other": () => ({}),
  "chains of a hundred": (index) => ({ dependsOn: index % 100 === 0 ? [] : [`t${index - 1}`] }),
  "one long chain": (index) => ({ dependsOn: index === 0 ? [] : [`t${index - 1}`] }),
  "pairs of which each has a claim of its own": (index) => ({
    writes: [`src/m${index}/**`],
    dependsOn: index % 2 === 0 ? [] : [`t${index - 1}`],
  }),
  "all for one file": () => ({ writes: ["src/a.ts"] }),
};

describe("one event costs the same with a thousand tasks and with many more", () => {
  const EVENTS: Readonly<Record<string, (board: Board) => void>> = {
    "a success": (board) => {
      succeed(board, "p/t0");
      board.decide(NOW_MS);
    },
    "a success that is merged": (board) => {
      succeed(board, "p/t0", true);
      board.decide(NOW_MS);
      merged(board, "p/t0");
      board.decide(NOW_MS);
    },
    "a back-off": (board) => {
      failWith(board, "p/t0", "transient");
      board.decide(NOW_MS);
      board.decide(NOW_MS + 3_600_000);
    },
    "a provider that is shut": (board) => {
      failWith(board, "p/t0", "auth");
      board.decide(NOW_MS);
      board.nextWakeMs(NOW_MS);
    },
    "an operator": (board) => {
      controlTask(board, "p/t500", "skip", NOW_MS);
      controlTask(board, "p/t0", "pause", NOW_MS);
      board.decide(NOW_MS);
    },
    "a look at how the plan stands, and why one task waits": (board) => {
      standingOf(board.plan("p"));
      explainTask(board, "p/t500", NOW_MS);
    },
  };
  const named = Object.entries(EVENTS).flatMap(([event, act]) =>
    Object.entries(SHAPES).map(([shape, optionsOf]) => ({ event, act, shape, optionsOf })),
  );
  test.each(named)("$event: $shape", ({ event, act, optionsOf, shape }) => {
    const few = new Watched(1_000, optionsOf).countOf(act);
    const many = new Watched(event === "a success" ? 100_000 : 20_000, optionsOf).countOf(act);
    // Whose claim it waits for is told by the head of its line.
    const isInLine = shape === "all for one file" && event.startsWith("a look");
    expect(many).toBeLessThanOrEqual(isInLine ? 502 : few + 4);
    expect(few).toBeLessThanOrEqual(isInLine ? 502 : 40);
  });
});

test("a failure is told to its dependents alone: a hundred thousand others are not asked", () => {
  const board = new Watched(100_000, (index) => ({ dependsOn: index > 0 && index <= 50 ? ["t0"] : [] }));
  const count = board.countOf((it) => failWith(it, "p/t0", "timed-out"));
  expect(count).toBe(51);
});

test("twenty thousand tasks with claims of their own behind one that claims all: each is compared with few", () => {
  const size = 20_000;
  const watched = new Watched(size, (index) =>
    index === 0 ? { writes: ["**"], priority: 1 } : { writes: [`src/m${index}/**`] },
  );
  const { board } = watched;
  expect(standingOf(board.plan("p")).counts).toMatchObject({ running: 1, waiting: size - 1 });
  // Each with each would be two hundred million.
  expect(watched.reads).toBeLessThan(size * 100);
  watched.reads = 0;
  succeed(board, "p/t0");
  expect(start(board)).toHaveLength(4);
  expect(watched.reads).toBeLessThan(size * 100);
});

describe("putting something longer behind a task", () => {
  test("raises each task in front once, however many ways lead to it", () => {
    const board = new Board(settingsOf());
    const rungs = 200;
    const tasks: Record<string, TaskOptions> = { "r0-a": {}, "r0-b": { dependsOn: ["r0-a"] } };
    for (let rung = 1; rung < rungs; rung += 1) {
      const before = [`r${rung - 1}-a`, `r${rung - 1}-b`];
      tasks[`r${rung}-a`] = { dependsOn: before };
      tasks[`r${rung}-b`] = { dependsOn: [`r${rung}-a`, ...before] };
    }
    addPlan(board, "p", tasks);
    const added = makeTask("p", "last", { dependsOn: [`r${rungs - 1}-a`, `r${rungs - 1}-b`] });
    board.addTasks("p", [added], new Map([["last", 1]]));
    let weighed = 0;
    board.raisePaths(board.node("p/last"), () => {
      weighed += 1;
      return 1;
    });
    expect(board.node("p/r0-a").pathLength).toBe(rungs * 2 + 1);
    // Once for each edge; a step for each way through the ladder would be 2 to the power of 200.
    expect(weighed).toBeLessThanOrEqual(rungs * 5);
  });

  test("a chain of a hundred thousand is raised without recursion", () => {
    const board = new Board(settingsOf());
    const tasks = Array.from({ length: 100_000 }, (_, index) =>
      makeTask("p", `t${index}`, { dependsOn: index === 0 ? [] : [`t${index - 1}`] }),
    );
    putOn(board, planRecord("p"), tasks);
    const added = makeTask("p", "last", { dependsOn: ["t99999"] });
    board.addTasks("p", [added], new Map([["last", 1]]));
    board.raisePaths(board.node("p/last"), () => 1);
    expect(board.node("p/t0").pathLength).toBe(100_001);
  });
});

test("ten thousand tasks run to their end, in the order of their edges", () => {
  const board = new Board(settingsOf({ limitAgents: 16 }));
  const size = 10_000;
  const tasks = Array.from({ length: size }, (_, index) =>
    makeTask("p", `t${index}`, {
      dependsOn: [index - 1, index - 7, Math.floor(index / 2)]
        .filter((other) => other >= 0 && other < index && index % 5 !== 0)
        .map((other) => `t${other}`),
      writes: index % 3 === 0 ? [`src/m${index % 50}/**`] : [],
    }),
  );
  for (const task of tasks) task.spec = { ...task.spec, dependsOn: [...new Set(task.spec.dependsOn)] };
  putOn(board, planRecord("p"), tasks);
  const running: TaskKey[] = [];
  const ended = new Set<string>();
  for (;;) {
    for (const decision of board.decide(NOW_MS)) {
      if (decision.type !== "start") continue;
      for (const id of decision.task.spec.dependsOn) expect(ended.has(id)).toBe(true);
      running.push(taskKey(decision.task));
    }
    const key = running.shift();
    if (key === undefined) break;
    succeed(board, key);
    ended.add(key.slice(2));
  }
  expect(ended.size).toBe(size);
  expect(standingOf(board.plan("p")).state).toBe("succeeded");
});
