/** A task on the board with its edges and its place in the queues. Only `board.ts` and its helpers hold nodes. */
import { PlanBudget, type PlanFunds } from "./budget.ts";
import type { PlanRecord, TaskRecord } from "./records.ts";
import type { TaskState } from "./task-state.ts";

export interface PlanNode {
  readonly record: PlanRecord;
  readonly nodes: Map<string, TaskNode>;
  readonly counts: Record<TaskState, number>;
  /** What it may use up and what it has. */
  readonly budget: PlanBudget;
  /** Waiting tasks that move again without a person. */
  movingWaits: number;
  /** Those of them that wait for a claim: they move when its holder does, which may itself wait for a person. */
  lockWaits: number;
  running: number;
}

export interface TaskNode {
  readonly record: TaskRecord;
  readonly plan: PlanNode;
  readonly dependencies: TaskNode[];
  readonly dependents: TaskNode[];
  /** Dependencies that are not satisfied. */
  openCount: number;
  /** Dependencies that failed hard or are blocked. */
  failedCount: number;
  /** Longest remaining path, in the unit of the weights. */
  pathLength: number;
  /** Changes whenever the task leaves a queue; an entry with an older ticket is stale. */
  ticket: number;
  /** Whose claim this task waits for. */
  blockedBy: TaskNode | null;
  /** Tasks that wait for this one's claim. */
  readonly blocks: Set<TaskNode>;
  /** Place in the line of waiting claims; null when not in it. */
  linePlace: number | null;
  isMergeActive: boolean;
}

export function newPlanNode(record: PlanRecord, funds?: Partial<PlanFunds>): PlanNode {
  return {
    record,
    budget: new PlanBudget(record, funds),
    nodes: new Map(),
    counts: {
      pending: 0,
      ready: 0,
      waiting: 0,
      running: 0,
      merging: 0,
      blocked: 0,
      succeeded: 0,
      skipped: 0,
      failed: 0,
      cancelled: 0,
    },
    movingWaits: 0,
    lockWaits: 0,
    running: 0,
  };
}

export function newTaskNode(record: TaskRecord, plan: PlanNode): TaskNode {
  return {
    record,
    plan,
    dependencies: [],
    dependents: [],
    openCount: 0,
    failedCount: 0,
    pathLength: 0,
    ticket: 0,
    blockedBy: null,
    blocks: new Set(),
    linePlace: null,
    isMergeActive: false,
  };
}

/** What of a task says whether those behind it may start. */
export type TaskFacts = Pick<TaskRecord, "id" | "state" | "spec">;

/**
 * True when `dependent` may count on the task: it is done, or its failure mode says that others may go on. Never for
 * one that continues it: they share a folder and a conversation, and a retry would run both at once in it.
 */
export function isSatisfied(task: TaskFacts, dependent: TaskRecord): boolean {
  switch (task.state) {
    case "succeeded":
    case "skipped":
      return true;
    case "failed":
    case "cancelled":
      return !isNeeded(task, dependent);
    case "pending":
    case "ready":
    case "waiting":
    case "running":
    case "merging":
    case "blocked":
      return false;
  }
}

/** True when `dependent` can't start before a person does something. */
export function isFailing(task: TaskFacts, dependent: TaskRecord): boolean {
  if (task.state === "blocked") return true;
  return (task.state === "failed" || task.state === "cancelled") && isNeeded(task, dependent);
}

function isNeeded({ id, spec }: TaskFacts, dependent: TaskRecord): boolean {
  return spec.onFailure === "hard" || dependent.spec.continues === id;
}

/** The failed or cancelled task at the bottom of a chain of blocked ones; null when the task is not blocked. */
export function rootFailure(node: TaskNode): TaskNode | null {
  const seen = new Set<TaskNode>();
  let current: TaskNode | undefined = node;
  while (current !== undefined && !seen.has(current)) {
    if (current.record.state !== "blocked") return current === node ? null : current;
    seen.add(current);
    const { record, dependencies }: TaskNode = current;
    current = dependencies.find((dependency) => isFailing(dependency.record, record));
  }
  return null;
}
