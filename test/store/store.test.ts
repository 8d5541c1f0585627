import { spawnSync } from "node:child_process";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { hasCode } from "../../src/errors.ts";
import type { NewEvent, StoredEvent } from "../../src/events/event.ts";
import { openStore } from "../../src/store/store.ts";
import {
  sampleAttempt,
  samplePlan,
  sampleTask,
  settableClock,
  storeWithTasks,
  temporaryFolder,
  temporaryStore,
  thrownBy,
} from "./support.ts";

const warning = (message: string, of: Partial<NewEvent> = {}): NewEvent => ({
  planId: null,
  taskId: null,
  attemptId: null,
  body: { type: "warning", message },
  ...of,
});

const messages = (events: readonly StoredEvent[]): unknown[] =>
  events.map(({ body }) => (body.type === "warning" ? body.message : body.type));

test("S1: a change and its event are there after the store was closed and opened again", () => {
  const file = join(temporaryFolder(), "state.db");
  const before = openStore(file, { clock: systemClock });
  before.transaction(() => {
    before.plans.insert(samplePlan("p", { name: "rate-limit" }));
    before.tasks.insertMany([sampleTask("p", "a", 1)]);
    before.events.append(warning("made", { planId: "p" }));
  });
  before.close();
  const after = openStore(file, { clock: systemClock });
  expect(after.plans.get("p")?.name).toBe("rate-limit");
  expect(after.tasks.listOpen()).toEqual([sampleTask("p", "a", 1)]);
  expect(messages(after.events.since(0, { limit: 10 }))).toEqual(["made"]);
  after.close();
});

test("events reach listeners after the commit, in order, with the change they tell already readable", () => {
  const store = storeWithTasks();
  const heard: unknown[] = [];
  store.onCommit((events) => heard.push([messages(events), store.tasks.get("p", "a")?.state]));
  store.transaction(() => {
    store.events.append(warning("one"));
    const task = store.tasks.get("p", "a");
    if (task !== null) store.tasks.save({ ...task, state: "ready" });
    store.events.append(warning("two"));
    expect(heard).toEqual([]);
  });
  store.events.append(warning("three"));
  expect(heard).toEqual([
    [["one", "two"], "ready"],
    [["three"], "ready"],
  ]);
});

test("a transaction that throws leaves no change and no event, and throws what its work threw", () => {
  const store = storeWithTasks();
  const heard: StoredEvent[] = [];
  store.onCommit((events) => heard.push(...events));
  const wrong = new RangeError("wrong");
  const thrown = thrownBy(() =>
    store.transaction(() => {
      store.meta.set("k", "v");
      store.events.append(warning("lost"));
      throw wrong;
    }),
  );
  expect(thrown).toBe(wrong);
  expect(store.meta.get("k")).toBeNull();
  expect(store.events.lastSeq()).toBe(0);
  expect(heard).toEqual([]);
  store.events.append(warning("next"));
  expect(messages(heard)).toEqual(["next"]);
});

test("a nested transaction joins the outer; when it throws, only its own part is undone", () => {
  const store = temporaryStore();
  const heard: StoredEvent[][] = [];
  store.onCommit((events) => heard.push([...events]));
  store.transaction(() => {
    store.meta.set("outer", "1");
    store.events.append(warning("outer 1"));
    thrownBy(() =>
      store.transaction(() => {
        store.meta.set("inner", "1");
        store.events.append(warning("inner"));
        throw new Error("inner");
      }),
    );
    store.transaction(() => store.events.append(warning("joined")));
    expect(heard).toEqual([]);
    store.events.append(warning("outer 2"));
  });
  expect([store.meta.get("outer"), store.meta.get("inner")]).toEqual(["1", null]);
  expect(heard.map(messages)).toEqual([["outer 1", "joined", "outer 2"]]);
  expect(messages(store.events.since(0, { limit: 10 }))).toEqual(["outer 1", "joined", "outer 2"]);
});

test("an outer transaction that throws takes the inner ones that had ended along", () => {
  const store = temporaryStore();
  const heard: StoredEvent[] = [];
  store.onCommit((events) => heard.push(...events));
  thrownBy(() =>
    store.transaction(() => {
      store.transaction(() => store.events.append(warning("inner")));
      throw new Error("outer");
    }),
  );
  expect(heard).toEqual([]);
  expect(store.events.lastSeq()).toBe(0);
});

test("a listener that commits is told of it after all listeners have heard the first", () => {
  const store = temporaryStore();
  const heard: string[] = [];
  store.onCommit((events) => {
    heard.push(`first ${messages(events).join()}`);
    if (messages(events).includes("a")) store.events.append(warning("b"));
  });
  store.onCommit((events) => heard.push(`second ${messages(events).join()}`));
  store.events.append(warning("a"));
  expect(heard).toEqual(["first a", "second a", "first b", "second b"]);
});

test("a listener's throw is reported; the change stands, the others hear it, and one that left hears nothing", () => {
  const reported: unknown[] = [];
  const store = openStore(join(temporaryFolder(), "state.db"), {
    clock: systemClock,
    onListenerError: (thrown) => reported.push(thrown),
  });
  const heard: StoredEvent[] = [];
  const wrong = new Error("listener");
  store.onCommit(() => {
    throw wrong;
  });
  const leave = store.onCommit((events) => heard.push(...events));
  expect(store.transaction(() => store.events.append(warning("a")).seq)).toBe(1);
  leave();
  store.events.append(warning("b"));
  expect(messages(heard)).toEqual(["a"]);
  expect(reported).toEqual([wrong, wrong]);
  expect(store.events.lastSeq()).toBe(2);
  store.close();
});

test("an async transaction is refused and undone", () => {
  const store = temporaryStore();
  const thrown = thrownBy(() =>
    store.transaction(() => {
      store.meta.set("k", "v");
      return Promise.resolve();
    }),
  );
  expect(thrown).toBeInstanceOf(TypeError);
  expect(store.meta.get("k")).toBeNull();
});

test("a transaction holds the file for writing from its start, so that what it read stays true until it writes", () => {
  const store = temporaryStore();
  const other = new Database(store.file, { timeout: 0 });
  store.transaction(() => {
    store.meta.get("k");
    expect(() => other.exec("BEGIN IMMEDIATE")).toThrow(/locked/);
  });
  other.exec("BEGIN IMMEDIATE; ROLLBACK");
  other.close();
});

test("events are numbered without gaps or repeats and found by plan, task and page", () => {
  const clock = settableClock();
  const store = temporaryStore(clock);
  const of = { a: { planId: "p", taskId: "a" }, b: { planId: "p", taskId: "b" }, other: { planId: "q", taskId: "a" } };
  clock.setMs(5);
  store.events.append(warning("1", of.a));
  clock.setMs(3);
  store.events.append(warning("2", of.b));
  store.events.append(warning("3", of.other));
  store.events.append(warning("4", of.a));
  const all = store.events.since(0, { limit: 10 });
  expect(all.map(({ seq, atMs }) => [seq, atMs])).toEqual([
    [1, 5],
    [2, 3],
    [3, 3],
    [4, 3],
  ]);
  expect(messages(store.events.since(1, { limit: 2 }))).toEqual(["2", "3"]);
  expect(messages(store.events.since(0, { limit: 10, planId: "p" }))).toEqual(["1", "2", "4"]);
  expect(messages(store.events.since(1, { limit: 10, planId: "p", taskId: "a" }))).toEqual(["4"]);
  expect(store.events.since(4, { limit: 10 })).toEqual([]);
  expect(store.events.lastSeq()).toBe(4);
});

test("tasks of a plan may be inserted in any order of their dependencies, all or none", () => {
  const store = temporaryStore();
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany([
    sampleTask("p", "last", 1, { dependsOn: ["middle", "first", "first"] }),
    sampleTask("p", "middle", 2, { dependsOn: ["first"] }),
    sampleTask("p", "first", 3),
  ]);
  expect(store.tasks.dependentsOf("p", "first")).toEqual(["last", "middle"]);
  const thrown = thrownBy(() =>
    store.tasks.insertMany([sampleTask("p", "x", 4), sampleTask("p", "y", 5, { dependsOn: ["nobody"] })]),
  );
  expect(hasCode(thrown, "INTERNAL")).toBe(true);
  expect(String(thrown)).toContain("FOREIGN KEY");
  expect(store.tasks.listByPlan("p").map(({ id }) => id)).toEqual(["last", "middle", "first"]);
});

test("dependencies follow the spec of a saved task", () => {
  const store = storeWithTasks();
  store.tasks.insertMany([sampleTask("p", "c", 3)]);
  store.tasks.save(sampleTask("p", "b", 2, { dependsOn: ["c"] }));
  expect(store.tasks.dependentsOf("p", "a")).toEqual([]);
  expect(store.tasks.dependentsOf("p", "c")).toEqual(["b"]);
  store.tasks.save({ ...sampleTask("p", "b", 2, { dependsOn: ["c"] }), state: "ready" });
  expect(store.tasks.dependentsOf("p", "c")).toEqual(["b"]);
});

test("foreign keys: a task needs its plan, an attempt its task, an entry of a conversation its attempt", () => {
  const store = storeWithTasks();
  const refused = [
    () => store.tasks.insertMany([sampleTask("nowhere", "a", 9)]),
    () => store.attempts.insert(sampleAttempt("x", "p", "nobody")),
    () => store.turns.append({ attemptId: "x", planId: "p", taskId: "a", atMs: 1, kind: "text", text: "" }),
  ];
  for (const act of refused) expect(String(thrownBy(act))).toContain("FOREIGN KEY");
});

test("a task that others need or that has history is not removed; one that never started is, with its dependencies", () => {
  const store = storeWithTasks();
  expect(String(thrownBy(() => store.tasks.remove("p", "a")))).toContain("FOREIGN KEY");
  store.tasks.remove("p", "b");
  expect(store.tasks.dependentsOf("p", "a")).toEqual([]);
  store.attempts.insert(sampleAttempt("x", "p", "a"));
  expect(String(thrownBy(() => store.tasks.remove("p", "a")))).toContain("FOREIGN KEY");
  expect(
    hasCode(
      thrownBy(() => store.tasks.remove("p", "b")),
      "TASK_NOT_FOUND",
    ),
  ).toBe(true);
  expect(store.tasks.listByPlan("p").map(({ id }) => id)).toEqual(["a"]);
});

test("a task and its dependents may change in one transaction, in whatever order", () => {
  const store = storeWithTasks();
  store.transaction(() => {
    store.tasks.remove("p", "a");
    store.tasks.save(sampleTask("p", "b", 2));
  });
  expect(store.tasks.listByPlan("p").map(({ id }) => id)).toEqual(["b"]);
});

test("the record of a task and the work done for it are written apart", () => {
  const store = storeWithTasks();
  store.tasks.setWork("p", "a", { branch: "orchestrator/p/a", startedAtMs: 5 });
  store.tasks.save({ ...sampleTask("p", "a", 1), state: "running", holdsClaims: true });
  store.tasks.setWork("p", "a", { report: { status: "done", summary: "ok", verdict: "approve", extra: [1] } });
  expect(store.tasks.get("p", "a")).toEqual({ ...sampleTask("p", "a", 1), state: "running", holdsClaims: true });
  const work = {
    branch: "orchestrator/p/a",
    worktree: null,
    baseSha: null,
    headSha: null,
    report: { status: "done", summary: "ok", verdict: "approve", extra: [1] },
    verifyOutput: null,
    startedAtMs: 5,
    endedAtMs: null,
  };
  expect(store.tasks.getWork("p", "a")).toEqual(work);
  expect([...store.tasks.listWork("p").keys()]).toEqual(["a", "b"]);
  expect(store.tasks.listWork("p").get("a")).toEqual(work);
  store.tasks.setWork("p", "a", { branch: null });
  expect(store.tasks.getWork("p", "a")?.branch).toBeNull();
});

test("what is not there is null to ask for and an error to change", () => {
  const store = storeWithTasks();
  expect(store.plans.get("x")).toBeNull();
  expect(store.tasks.get("p", "x")).toBeNull();
  expect(store.tasks.getWork("x", "a")).toBeNull();
  expect(store.attempts.get("x")).toBeNull();
  expect(store.sessions.latest("p", "a", "coder")).toBeNull();
  expect(
    hasCode(
      thrownBy(() => store.plans.update("x", { paused: true })),
      "PLAN_NOT_FOUND",
    ),
  ).toBe(true);
  expect(
    hasCode(
      thrownBy(() => store.tasks.save(sampleTask("p", "x", 9))),
      "TASK_NOT_FOUND",
    ),
  ).toBe(true);
  expect(
    hasCode(
      thrownBy(() => store.tasks.setWork("p", "x", {})),
      "TASK_NOT_FOUND",
    ),
  ).toBe(true);
  expect(
    hasCode(
      thrownBy(() => store.attempts.update("x", { pid: 1 })),
      "INTERNAL",
    ),
  ).toBe(true);
});

test("saving many tasks of which one is unknown saves none", () => {
  const store = storeWithTasks();
  thrownBy(() => store.tasks.saveMany([{ ...sampleTask("p", "a", 1), state: "ready" }, sampleTask("p", "x", 9)]));
  expect(store.tasks.get("p", "a")?.state).toBe("pending");
});

test("open tasks are those of plans that have not ended, oldest first over all plans", () => {
  const store = storeWithTasks();
  store.plans.insert(samplePlan("q"));
  store.plans.insert(samplePlan("done", { endedAtMs: 5 }));
  store.tasks.insertMany([sampleTask("done", "a", 3), sampleTask("q", "a", 4)]);
  store.tasks.insertMany([sampleTask("p", "c", store.tasks.nextOrdinal())]);
  const open = store.tasks.listOpen();
  expect(open.map(({ planId, id, ordinal }) => `${planId}/${id} ${ordinal}`)).toEqual([
    "p/a 1",
    "p/b 2",
    "q/a 4",
    "p/c 5",
  ]);
  expect(store.plans.listOpen().map(({ id }) => id)).toEqual(["p", "q"]);
  store.plans.update("p", { endedAtMs: 6 });
  expect(store.tasks.listOpen().map(({ planId }) => planId)).toEqual(["q"]);
  expect(store.plans.list().map(({ id }) => id)).toEqual(["p", "q", "done"]);
});

test("a task never has two attempts under way", () => {
  const store = storeWithTasks();
  store.attempts.insert(sampleAttempt("1", "p", "a"));
  const thrown = thrownBy(() => store.attempts.insert(sampleAttempt("2", "p", "a", { number: 2 })));
  expect(String(thrown)).toContain("UNIQUE");
  store.attempts.update("1", { state: "ended", endedAtMs: 9, outcome: "failed", cause: "stalled" });
  store.attempts.insert(sampleAttempt("2", "p", "a", { number: 2 }));
  store.attempts.insert(sampleAttempt("3", "p", "b"));
  expect(store.attempts.listOpen().map(({ id }) => id)).toEqual(["2", "3"]);
  expect(store.attempts.listByTask("p", "a").map(({ id, outcome }) => [id, outcome])).toEqual([
    ["1", "failed"],
    ["2", null],
  ]);
});

test("what a plan used up is the sum over its attempts, unknown amounts left out", () => {
  const store = storeWithTasks();
  const none = { costUsd: 0, tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 } };
  expect(store.attempts.usageOf("p")).toEqual(none);
  const tokens = { inputTokens: 10, outputTokens: 20, cachedInputTokens: 5 };
  store.attempts.insert(sampleAttempt("1", "p", "a", { endedAtMs: 1, costUsd: 0.5, tokens }));
  store.attempts.insert(sampleAttempt("2", "p", "a", { endedAtMs: 1, costUsd: 0.25 }));
  store.attempts.insert(sampleAttempt("3", "p", "b", { tokens }));
  const sum = { inputTokens: 20, outputTokens: 40, cachedInputTokens: 10 };
  expect(store.attempts.usageOf("p")).toEqual({ costUsd: 0.75, tokens: sum });
  expect(store.attempts.usageOf("q")).toEqual(none);
});

test("S4: the latest session of a task and role is the one saved last, with its counters, also after a restart", () => {
  const file = join(temporaryFolder(), "state.db");
  const store = openStore(file, { clock: systemClock });
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany([sampleTask("p", "a", 1)]);
  store.attempts.insert(sampleAttempt("x", "p", "a"));
  const tokens = { inputTokens: 1, outputTokens: 2, cachedInputTokens: 3 };
  const session = { planId: "p", taskId: "a", role: "coder", worktree: "/w", lastAttemptId: "x", isUsable: true };
  const claude = { ...session, kind: "claude", sessionId: "s-claude", totals: { tokens, costUsd: 0.25 } };
  const codex = { ...session, kind: "codex", sessionId: "s-codex", totals: null };
  const goose = { ...session, kind: "goose", sessionId: "s-goose", totals: { tokens, costUsd: null } };
  for (const one of [claude, codex, goose]) store.sessions.save(one);
  store.sessions.save({ ...claude, isUsable: false });
  store.close();
  const again = openStore(file, { clock: systemClock });
  expect(again.sessions.latest("p", "a", "coder")).toEqual({ ...claude, isUsable: false });
  expect(again.sessions.latest("p", "a", "reviewer")).toBeNull();
  expect(again.sessions.listByTask("p", "a")).toEqual([codex, goose, { ...claude, isUsable: false }]);
  again.close();
});

test("S2: a conversation is read back page by page, in order, after a restart", () => {
  const file = join(temporaryFolder(), "state.db");
  const store = openStore(file, { clock: systemClock });
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany([sampleTask("p", "a", 1), sampleTask("p", "b", 2)]);
  store.attempts.insert(sampleAttempt("x", "p", "a"));
  store.attempts.insert(sampleAttempt("y", "p", "b"));
  for (let index = 1; index <= 5; index += 1) {
    store.turns.append({ attemptId: "x", planId: "p", taskId: "a", atMs: index, kind: "text", text: `a${index}` });
    store.turns.append({ attemptId: "y", planId: "p", taskId: "b", atMs: index, kind: "tool", text: `b${index}` });
  }
  store.close();
  const again = openStore(file, { clock: systemClock });
  const last = again.turns.listByTask("p", "a", { limit: 2 });
  expect(last.map(({ text }) => text)).toEqual(["a4", "a5"]);
  const before = again.turns.listByTask("p", "a", { limit: 10, beforeId: last[0]?.id ?? 0 });
  expect(before.map(({ text }) => text)).toEqual(["a1", "a2", "a3"]);
  expect(again.turns.listByAttempt("y", { limit: 1 }).map(({ text, kind }) => [text, kind])).toEqual([["b5", "tool"]]);
  again.close();
});

test("merges under way and merges done are told apart", () => {
  const store = storeWithTasks();
  const merge = {
    planId: "p",
    target: "main",
    strategy: "merge",
    branchSha: "1".repeat(40),
    state: "building",
    targetSha: null,
    candidateSha: null,
    startedAtMs: 1,
    endedAtMs: null,
    outcome: null,
    message: null,
    verifyOutput: null,
  } as const;
  store.merges.insert({ ...merge, id: "1", taskId: "a" });
  store.merges.insert({ ...merge, id: "2", taskId: "b" });
  store.merges.update("1", { state: "verifying", candidateSha: "2".repeat(40) });
  expect(store.merges.listOpen().map(({ id, state }) => [id, state])).toEqual([
    ["1", "verifying"],
    ["2", "building"],
  ]);
  store.merges.update("1", { state: "ended", outcome: "merged", endedAtMs: 2 });
  store.merges.update("2", { state: "ended", outcome: "conflict", endedAtMs: 2, message: "src/a.ts" });
  expect(store.merges.listOpen()).toEqual([]);
  expect(store.merges.mergedOf("p").map(({ id, candidateSha }) => [id, candidateSha])).toEqual([["1", "2".repeat(40)]]);
  expect(store.merges.listByTask("p", "b").map(({ message }) => message)).toEqual(["src/a.ts"]);
  expect(store.merges.get("2")?.outcome).toBe("conflict");
});

test("a request key gives the first answer to the same call and is refused to any other", () => {
  const clock = settableClock(1000);
  const store = temporaryStore(clock);
  expect(store.requestKeys.findAnswer("k", "create_plan", "h1")).toBeNull();
  store.requestKeys.put({ key: "k", operation: "create_plan", inputHash: "h1", response: { planId: "p" } });
  expect(store.requestKeys.findAnswer("k", "create_plan", "h1")).toEqual({ response: { planId: "p" } });
  expect(store.requestKeys.find("k")).toEqual({
    key: "k",
    operation: "create_plan",
    inputHash: "h1",
    response: { planId: "p" },
  });
  for (const reuse of [
    () => store.requestKeys.findAnswer("k", "create_plan", "h2"),
    () => store.requestKeys.findAnswer("k", "spawn_agent", "h1"),
    () => store.requestKeys.put({ key: "k", operation: "create_plan", inputHash: "h1", response: null }),
  ]) {
    expect(hasCode(thrownBy(reuse), "REQUEST_KEY_REUSED")).toBe(true);
  }
  clock.setMs(2000);
  store.requestKeys.put({ key: "new", operation: "control", inputHash: "h", response: undefined });
  expect(store.requestKeys.findAnswer("new", "control", "h")).toEqual({ response: null });
  expect(store.requestKeys.prune(1000)).toBe(0);
  clock.setMs(2001);
  expect(store.requestKeys.prune(1000)).toBe(1);
  expect(store.requestKeys.find("k")).toBeNull();
  expect(store.requestKeys.find("new")).not.toBeNull();
});

test("a request key is stored with the change it stands for, or not at all", () => {
  const store = temporaryStore();
  thrownBy(() =>
    store.transaction(() => {
      store.plans.insert(samplePlan("p"));
      store.requestKeys.put({ key: "k", operation: "create_plan", inputHash: "h", response: 1 });
      throw new Error("later");
    }),
  );
  expect([store.plans.get("p"), store.requestKeys.find("k")]).toEqual([null, null]);
});

test("mean durations are the mean of what was recorded for each role", () => {
  const store = temporaryStore();
  expect(store.roles.meanDurations()).toEqual(new Map());
  for (const durationMs of [100, 200, 600]) store.roles.recordDuration("coder", durationMs);
  store.roles.recordDuration("reviewer", 50);
  expect(store.roles.meanDurations()).toEqual(
    new Map([
      ["coder", 300],
      ["reviewer", 50],
    ]),
  );
});

test("a value of meta that is ensured is made once", () => {
  const store = temporaryStore();
  let made = 0;
  const make = (): string => `id-${(made += 1)}`;
  expect([store.meta.ensure("engineId", make), store.meta.ensure("engineId", make)]).toEqual(["id-1", "id-1"]);
  store.meta.set("engineId", "other");
  expect(store.meta.get("engineId")).toBe("other");
});

test("a row that something else wrote is an error that names table, row and column", () => {
  const folder = temporaryFolder();
  const file = join(folder, "state.db");
  const store = openStore(file, { clock: systemClock });
  store.plans.insert(samplePlan("p"));
  store.tasks.insertMany([sampleTask("p", "a", 1), sampleTask("p", "b", 2)]);
  store.close();
  spoil(file, `UPDATE tasks SET spec = '{"id":"a"' WHERE id = 'a'; UPDATE tasks SET state = 'asleep' WHERE id = 'b'`);
  const again = openStore(file, { clock: systemClock });
  const broken = thrownBy(() => again.tasks.get("p", "a"));
  expect(hasCode(broken, "STATE_UNUSABLE") && broken.details).toEqual({
    file,
    table: "tasks",
    row: "p/a",
    column: "spec",
  });
  const unknown = thrownBy(() => again.tasks.listByPlan("p"));
  expect(String(unknown)).toContain("table tasks, row p/a, column spec");
  expect(String(thrownBy(() => again.tasks.get("p", "b")))).toMatch(/row p\/b, column state .*expected one of pending/);
  again.close();
});

/** Changes the file by other means than the store: another program. */
function spoil(file: string, sql: string): void {
  const code = `const D = require("better-sqlite3"); const d = new D(process.argv[1]); d.exec(process.argv[2]); d.close();`;
  const done = spawnSync(process.execPath, ["-e", code, file, sql], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(done.stderr);
}

test("after close every call says that the engine is stopping; closing twice is fine", () => {
  const store = storeWithTasks();
  store.close();
  store.close();
  for (const act of [
    () => store.tasks.listOpen(),
    () => store.meta.set("k", "v"),
    () => store.transaction(() => 1),
    () => store.events.append(warning("late")),
  ]) {
    expect(hasCode(thrownBy(act), "ENGINE_STOPPING")).toBe(true);
  }
});
