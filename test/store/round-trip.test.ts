import fc from "fast-check";
import { expect, test } from "vitest";
import { FAILURE_CAUSES } from "../../src/plan/failure-cause.ts";
import {
  CONSENTS,
  TURN_KINDS as NEXT_TURN_KINDS,
  type Budget,
  type ProviderHealth,
  type TaskRecord,
  type TaskSpec,
} from "../../src/plan/records.ts";
import { TASK_STATES, WAIT_CODES } from "../../src/plan/task-state.ts";
import { ATTEMPT_OUTCOMES, ATTEMPT_STATES, type AttemptRow } from "../../src/store/attempts.ts";
import { MERGE_STATES, type MergeRow } from "../../src/store/merges.ts";
import type { PlanRow } from "../../src/store/plans.ts";
import type { SessionRow } from "../../src/store/sessions.ts";
import type { TaskWork } from "../../src/store/tasks.ts";
import { TURN_KINDS } from "../../src/store/turns.ts";
import { sampleAttempt, samplePlan, sampleTask, storeWithTasks, temporaryStore } from "./support.ts";

/** Whatever a text may hold: NUL, control characters, quotes, any plane of Unicode. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom(
    "",
    "\0",
    "a\0b",
    "'; DROP TABLE tasks; --",
    "\u2028\u0085\ufeff",
    "🏳️‍🌈",
    "{}",
    "null",
    "__proto__",
    "1e3",
  ),
);
const orNull = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> => fc.option(value, { nil: null });
/** Plain objects: what comes out of the store has a prototype. */
const record = <Row>(model: { [Property in keyof Row]: fc.Arbitrary<Row[Property]> }): fc.Arbitrary<Row> =>
  fc.record<Row>(model, { noNullPrototype: true });
const texts = fc.array(anyText, { maxLength: 4 });
const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
// SQLite knows no -0, nor does JSON.
const amount = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const tokens = record({ inputTokens: whole, outputTokens: whole, cachedInputTokens: whole });

const budget: fc.Arbitrary<Budget> = record({ usd: orNull(amount), tokens: orNull(whole), minutes: orNull(amount) });

const plan: fc.Arbitrary<Omit<PlanRow, "id">> = record({
  name: orNull(anyText),
  goal: orNull(anyText),
  target: anyText,
  maxConcurrent: whole,
  budget,
  createdAtMs: whole,
  paused: fc.boolean(),
  endedAtMs: orNull(whole),
  file: orNull(anyText),
  startSha: orNull(anyText),
  text: anyText,
  config: anyText,
});

const spec: fc.Arbitrary<Omit<TaskSpec, "id">> = record({
  title: anyText,
  prompt: anyText,
  agent: anyText,
  dependsOn: fc.constantFrom([], ["a"], ["a", "b"]),
  writes: orNull(texts),
  onFailure: fc.constantFrom("hard", "soft", "skip"),
  workflow: orNull(anyText),
  verify: orNull(texts),
  merge: fc.constantFrom("auto", "manual", "none"),
  timeoutMinutes: amount,
  priority: fc.integer(),
  retries: orNull(whole),
  continues: orNull(anyText),
});

const task: fc.Arbitrary<Omit<TaskRecord, "planId" | "id" | "ordinal" | "spec">> = record({
  workflow: record({
    steps: fc.array(record({ agent: anyText, provider: anyText, prompt: orNull(anyText) }), {
      minLength: 1,
      maxLength: 3,
    }),
    maxRounds: whole,
  }),
  step: whole,
  proposedBy: orNull(anyText),
  provider: anyText,
  ruledOut: fc.array(anyText, { maxLength: 2 }),
  state: fc.constantFrom(...TASK_STATES),
  wait: orNull(
    record({
      code: fc.constantFrom(...WAIT_CODES),
      message: anyText,
      command: orNull(anyText),
      untilMs: orNull(whole),
    }),
  ),
  stage: fc.constantFrom("work", "merge"),
  cause: orNull(fc.constantFrom(...FAILURE_CAUSES)),
  message: orNull(anyText),
  ledger: record({
    attempts: whole,
    retries: whole,
    continuations: whole,
    freshSessions: whole,
    repairs: whole,
    rounds: whole,
    waits: whole,
  }),
  nextTurn: record({
    kind: fc.constantFrom(...NEXT_TURN_KINDS),
    note: orNull(anyText),
  }),
  wish: orNull(fc.constantFrom("cancel", "pause", "skip")),
  holdsClaims: fc.boolean(),
  consent: orNull(fc.constantFrom(...CONSENTS)),
  mergedSha: orNull(anyText),
});

const work: fc.Arbitrary<TaskWork> = record({
  branch: orNull(anyText),
  worktree: orNull(anyText),
  baseSha: orNull(anyText),
  headSha: orNull(anyText),
  report: orNull(record({ status: anyText, summary: anyText, verdict: anyText, followUps: texts })),
  verifyOutput: orNull(anyText),
  startedAtMs: orNull(whole),
  endedAtMs: orNull(whole),
});

const attempt: fc.Arbitrary<Omit<AttemptRow, "id" | "planId" | "taskId">> = record({
  number: whole,
  step: whole,
  report: orNull(record({ status: anyText, summary: anyText, verdict: anyText })),
  headSha: orNull(anyText),
  role: anyText,
  provider: anyText,
  kind: anyText,
  model: orNull(anyText),
  state: fc.constantFrom(...ATTEMPT_STATES),
  pid: orNull(whole),
  processStart: orNull(anyText),
  sessionId: orNull(anyText),
  turnKind: fc.constantFrom(...NEXT_TURN_KINDS),
  startedAtMs: whole,
  endedAtMs: whole,
  outcome: orNull(fc.constantFrom(...ATTEMPT_OUTCOMES)),
  cause: orNull(fc.constantFrom(...FAILURE_CAUSES)),
  message: orNull(anyText),
  exitCode: orNull(fc.integer()),
  signal: orNull(anyText),
  costUsd: orNull(amount),
  tokens: orNull(tokens),
  booked: record({ usd: amount, tokens: whole, minutes: amount }),
  finalText: orNull(anyText),
  denials: texts,
  straysKilled: whole,
});

const session: fc.Arbitrary<Omit<SessionRow, "planId" | "taskId" | "lastAttemptId">> = record({
  role: anyText,
  kind: anyText,
  sessionId: anyText,
  worktree: anyText,
  totals: orNull(record({ tokens, costUsd: orNull(amount) })),
  isUsable: fc.boolean(),
});

const merge: fc.Arbitrary<Omit<MergeRow, "id" | "planId" | "taskId">> = record({
  target: anyText,
  strategy: anyText,
  branchSha: anyText,
  state: fc.constantFrom(...MERGE_STATES),
  targetSha: orNull(anyText),
  candidateSha: orNull(anyText),
  startedAtMs: whole,
  endedAtMs: orNull(whole),
  outcome: orNull(anyText),
  message: orNull(anyText),
  verifyOutput: orNull(anyText),
});

const health: fc.Arbitrary<ProviderHealth> = record({
  name: anyText,
  failuresInARow: whole,
  openUntilMs: orNull(whole),
  parkedUntilMs: orNull(whole),
  isResetUnknown: fc.boolean(),
  parkings: whole,
  reason: orNull(anyText),
});

/** A new id for each row of a test. */
function counter(): () => string {
  let count = 0;
  return () => `row-${(count += 1)}`;
}

test("S1: any plan comes back as it went in, whether inserted or updated", () => {
  const store = temporaryStore();
  const nextId = counter();
  fc.assert(
    fc.property(plan, (values) => {
      const inserted = { id: nextId(), ...values };
      store.plans.insert(inserted);
      expect(store.plans.get(inserted.id)).toStrictEqual(inserted);
      const updated = samplePlan(nextId());
      store.plans.insert(updated);
      store.plans.update(updated.id, values);
      expect(store.plans.get(updated.id)).toStrictEqual({ ...values, id: updated.id });
      const { text: _text, config: _config, ...listed } = inserted;
      expect(store.plans.list().at(-2)).toStrictEqual(listed);
    }),
  );
});

test("S1: any task comes back as it went in, whether inserted or saved, and so does the work done for it", () => {
  const store = storeWithTasks();
  const nextId = counter();
  fc.assert(
    fc.property(task, spec, work, (values, specValues, workValues) => {
      const ordinal = store.tasks.nextOrdinal();
      const ids = [nextId(), nextId()] as const;
      const taskOf = (id: string, at: number): TaskRecord => ({
        ...values,
        planId: "p",
        id,
        ordinal: at,
        spec: { ...specValues, id },
      });
      store.tasks.insertMany([taskOf(ids[0], ordinal), sampleTask("p", ids[1], ordinal + 1)]);
      store.tasks.save(taskOf(ids[1], ordinal + 1));
      expect(store.tasks.get("p", ids[0])).toStrictEqual(taskOf(ids[0], ordinal));
      expect(store.tasks.get("p", ids[1])).toStrictEqual(taskOf(ids[1], ordinal + 1));
      for (const dependency of specValues.dependsOn) {
        expect(store.tasks.dependentsOf("p", dependency)).toEqual(expect.arrayContaining([...ids]));
      }
      store.tasks.setWork("p", ids[0], workValues);
      expect(store.tasks.getWork("p", ids[0])).toStrictEqual(workValues);
    }),
  );
});

test("S1: any attempt comes back as it went in, whether inserted or updated", () => {
  const store = storeWithTasks();
  const nextId = counter();
  fc.assert(
    fc.property(attempt, (values) => {
      const inserted: AttemptRow = { id: nextId(), planId: "p", taskId: "a", ...values };
      store.attempts.insert(inserted);
      expect(store.attempts.get(inserted.id)).toStrictEqual(inserted);
      const id = nextId();
      store.attempts.insert(sampleAttempt(id, "p", "b"));
      store.attempts.update(id, values);
      expect(store.attempts.get(id)).toStrictEqual({ ...inserted, id, taskId: "b" });
    }),
  );
});

test("S4: any session comes back as it went in", () => {
  const store = storeWithTasks();
  store.attempts.insert(sampleAttempt("x", "p", "a"));
  fc.assert(
    fc.property(session, fc.constantFrom("x", null), (values, lastAttemptId) => {
      const row: SessionRow = { planId: "p", taskId: "a", lastAttemptId, ...values };
      store.sessions.save(row);
      expect(store.sessions.latest("p", "a", row.role)).toStrictEqual(row);
    }),
  );
});

test("S2: any entry of a conversation comes back as it went in", () => {
  const store = storeWithTasks();
  store.attempts.insert(sampleAttempt("x", "p", "a"));
  fc.assert(
    fc.property(anyText, fc.constantFrom(...TURN_KINDS), whole, (text, kind, atMs) => {
      const stored = store.turns.append({ attemptId: "x", planId: "p", taskId: "a", atMs, kind, text });
      expect(store.turns.listByTask("p", "a", { limit: 1 })).toStrictEqual([stored]);
      expect(stored).toStrictEqual({ id: stored.id, attemptId: "x", planId: "p", taskId: "a", atMs, kind, text });
    }),
  );
});

test("any merge, provider's health, request key and value of meta comes back as it went in", () => {
  const store = storeWithTasks();
  const nextId = counter();
  fc.assert(
    fc.property(merge, health, fc.jsonValue(), anyText, (values, provider, response, value) => {
      const row: MergeRow = { id: nextId(), planId: "p", taskId: "a", ...values };
      store.merges.insert(row);
      expect(store.merges.get(row.id)).toStrictEqual(row);
      store.providers.save(provider);
      expect(store.providers.loadAll()).toContainEqual(provider);
      store.requestKeys.put({ key: row.id, operation: value, inputHash: value, response });
      expect(JSON.stringify(store.requestKeys.find(row.id)?.response)).toBe(JSON.stringify(response));
      store.meta.set(value, value);
      expect(store.meta.get(value)).toBe(value);
    }),
  );
});

test("any event comes back as it was appended", () => {
  const store = temporaryStore();
  fc.assert(
    fc.property(anyText, orNull(anyText), orNull(anyText), orNull(anyText), (message, planId, taskId, attemptId) => {
      const stored = store.events.append({ planId, taskId, attemptId, body: { type: "warning", message } });
      expect(store.events.since(stored.seq - 1, { limit: 1 })).toStrictEqual([stored]);
      const filter = { limit: 1, ...(planId === null ? {} : { planId }), ...(taskId === null ? {} : { taskId }) };
      expect(store.events.since(stored.seq - 1, filter)).toStrictEqual([stored]);
    }),
  );
});

test("texts of many megabytes are kept whole where no cap is promised, and cut at both caps where one is", () => {
  const store = storeWithTasks();
  const huge = "line of output é😀\n".repeat(400_000);
  store.tasks.setWork("p", "a", { verifyOutput: huge });
  expect(store.tasks.getWork("p", "a")?.verifyOutput === huge).toBe(true);
  store.attempts.insert(sampleAttempt("x", "p", "a", { finalText: huge }));
  const cut = store.attempts.get("x")?.finalText ?? "";
  expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(64 * 1024);
  expect(Buffer.byteLength(cut)).toBeGreaterThan(64 * 1024 - 100);
  store.attempts.update("x", { finalText: `${huge}end` });
  expect(store.attempts.get("x")?.finalText).toMatch(/end$/);
  expect(Buffer.byteLength(store.attempts.get("x")?.finalText ?? "")).toBeLessThanOrEqual(64 * 1024);
  const turn = store.turns.append({ attemptId: "x", planId: "p", taskId: "a", atMs: 1, kind: "text", text: huge });
  expect(Buffer.byteLength(turn.text)).toBeLessThanOrEqual(16 * 1024);
  expect(store.turns.listByTask("p", "a", { limit: 1 })).toEqual([turn]);
});

test("half of a surrogate pair becomes one replacement character, not three", () => {
  const store = storeWithTasks();
  store.tasks.setWork("p", "a", { verifyOutput: "a\ud800b\udfff" });
  expect(store.tasks.getWork("p", "a")?.verifyOutput).toBe("a\ufffdb\ufffd");
});
