/** Small boards for the tests of the plan's core. */
import { Board, type BoardSettings, type Decision } from "../../src/plan/board.ts";
import { DEFAULT_RETRY_SETTINGS } from "../../src/plan/consequence.ts";
import { checkGraph, longestPaths } from "../../src/plan/graph.ts";
import { endAttempt, endMerge, type AttemptEnd } from "../../src/plan/outcomes.ts";
import {
  newTask,
  singleStep,
  taskKey,
  type PlanRecord,
  type TaskKey,
  type TaskRecord,
  type TaskSpec,
  type Workflow,
} from "../../src/plan/records.ts";
import { normalizeTask } from "../../src/plan/schema.ts";
import type { FailureCause } from "../../src/plan/failure-cause.ts";

export const NOW_MS = 1_000_000_000;

export type TaskOptions = Partial<Omit<TaskSpec, "id">> & {
  readonly provider?: string;
  readonly steps?: Workflow;
};

export function settingsOf(more: Partial<BoardSettings> = {}): BoardSettings {
  return {
    limitAgents: 4,
    providerLimits: new Map(),
    retry: DEFAULT_RETRY_SETTINGS,
    gate: { failuresToOpen: 5, openMs: 60_000, usageProbesMs: [300_000, 900_000] },
    maxRepairs: 2,
    ...more,
  };
}

export function planRecord(id: string, more: Partial<PlanRecord> = {}): PlanRecord {
  return {
    id,
    name: null,
    goal: null,
    target: "main",
    maxConcurrent: 1_000,
    budget: { usd: null, tokens: null, minutes: null },
    createdAtMs: NOW_MS,
    paused: false,
    ...more,
  };
}

let nextOrdinal = 0;

export function makeTask(planId: string, id: string, options: TaskOptions = {}): TaskRecord {
  const { provider = "alpha", steps: workflow, ...spec } = options;
  nextOrdinal += 1;
  return newTask(
    planId,
    nextOrdinal,
    { ...normalizeTask({ id, prompt: "x" }), ...spec },
    workflow ?? singleStep(spec.agent ?? "coder", provider),
  );
}

/** Puts a plan on the board. `tasks`: id to what is special about it. */
export function addPlan(
  board: Board,
  planId: string,
  tasks: Readonly<Record<string, TaskOptions>>,
  more: Partial<PlanRecord> = {},
): Record<string, TaskRecord> {
  const records = Object.fromEntries(Object.entries(tasks).map(([id, options]) => [id, makeTask(planId, id, options)]));
  putOn(board, planRecord(planId, more), Object.values(records));
  return records;
}

export function putOn(board: Board, plan: PlanRecord, tasks: readonly TaskRecord[]): void {
  const specs = tasks.map((task) => task.spec);
  board.addPlan(
    plan,
    tasks,
    longestPaths(specs, checkGraph(specs), () => 1),
  );
}

/** Starts what may start, and answers the names of it in order. */
export function start(board: Board, nowMs = NOW_MS): string[] {
  return namesOf(board.decide(nowMs), "start");
}

export function namesOf(decisions: readonly Decision[], type: Decision["type"]): string[] {
  return decisions.flatMap((decision) => (decision.type === type ? [taskKey(decision.task)] : []));
}

export function succeed(board: Board, key: TaskKey, hasChanges = false): void {
  endAttempt(board, key, { type: "succeeded", hasChanges, message: null }, NOW_MS, 0.5);
}

export function failWith(board: Board, key: TaskKey, cause: FailureCause, more: Partial<FailedEnd> = {}): void {
  const told = { message: `it was ${cause}`, remedy: null, retryAfterMs: null, resetsAtMs: null, ...more };
  endAttempt(board, key, { type: "failed", cause, ...told }, NOW_MS, 0.5);
}

/** Ends the merge that is under way for a task. */
export function merged(board: Board, key: TaskKey): void {
  endMerge(board, key, { type: "merged", sha: "0123abc" });
}

type FailedEnd = Extract<AttemptEnd, { type: "failed" }>;

export { Board };
