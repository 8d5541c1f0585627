/** How SQLite carries out what the engine asks it, in a repository whose history is long. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test, vi } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { openStore } from "../../src/store/store.ts";
import { samplePlan, sampleTask, temporaryFolder } from "./support.ts";

/** They grow with the history; all others with what is open, or with plans. */
const GROWING = ["events", "turns", "attempts", "merges", "consultations"];

test("S1: no question of the engine reads through the events, the conversations, attempts or merges of all times", () => {
  const file = join(temporaryFolder(), "state.db");
  const prepare = vi.spyOn(Database.prototype, "prepare");
  const store = openStore(file, { clock: systemClock });
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany([sampleTask("p", "a", 1)]);
  // These are put together when they are first asked.
  const page = { limit: 10 };
  for (const of of [{}, { planId: "p" }, { planId: "p", taskId: "a" }]) store.events.since(0, { ...page, ...of });
  store.events.tasksSince("p", 0);
  store.turns.listByTask("p", "a", page);
  store.turns.listByTask("p", "a", { ...page, beforeId: 5 });
  const asked = [...new Set(prepare.mock.calls.map(([sql]) => sql))].filter((sql) => /^\s*(SELECT|WITH)/i.test(sql));
  prepare.mockRestore();
  store.close();
  const database = new Database(file);
  try {
    const read = asked.flatMap((sql) => {
      const parameters = Array.from({ length: sql.split("?").length - 1 }, () => null);
      const steps = database.prepare<unknown[], { detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all(...parameters);
      // `SCAN events` reads it all, `SEARCH` what an index leads to. An index of what is open alone may be read whole.
      const isWhole = (detail: string): boolean =>
        GROWING.some((table) => detail.startsWith(`SCAN ${table}`)) && !/ INDEX \w+_open$/.test(detail);
      return steps.filter(({ detail }) => isWhole(detail)).map(({ detail }) => `${detail}: ${sql}`);
    });
    expect(asked.length).toBeGreaterThan(20);
    expect(read).toEqual([]);
  } finally {
    database.close();
  }
});

test("the tasks that something happened to after an event are told once each, of that plan alone", () => {
  const store = openStore(join(temporaryFolder(), "state.db"), { clock: systemClock });
  try {
    for (const [plan, ordinal] of [
      ["p", 1],
      ["q", 3],
    ] as const) {
      store.plans.insert(samplePlan(plan));
      store.tasks.insertMany([sampleTask(plan, "a", ordinal), sampleTask(plan, "b", ordinal + 1)]);
    }
    const note = (planId: string, taskId: string | null): number =>
      store.events.append({ planId, taskId, attemptId: null, body: { type: "task-dropped" } }).seq;
    const first = note("p", "a");
    const second = note("p", "b");
    note("q", "a");
    note("p", "b");
    note("p", null);
    expect(store.events.tasksSince("p", 0).sort()).toEqual(["a", "b"]);
    expect(store.events.tasksSince("p", first)).toEqual(["b"]);
    expect(store.events.tasksSince("p", second + 2)).toEqual([]);
    expect(store.events.tasksSince("q", second)).toEqual(["a"]);
  } finally {
    store.close();
  }
});
