/**
 * The task state machine (DESIGN section 4), told in prose before the table:
 *
 * A task is `pending` while a dependency is open. Then it is `ready`: it may start as soon as its claims, a slot and its
 * provider's slot can be had together. `waiting` is a stop with a reason: before the first attempt, between two
 * attempts, or on the way into the target. `running` has an agent, or is being finished after one. `merging` is in the
 * merge queue of its target. `blocked` is what a task becomes when a dependency failed that it can't do without; it is
 * left when that dependency is retried, or when either is skipped. `succeeded`, `skipped`, `failed` and `cancelled` are
 * ends; `retry` opens the last two.
 */
export const TASK_STATES = [
  "pending",
  "ready",
  "waiting",
  "running",
  "merging",
  "blocked",
  "succeeded",
  "skipped",
  "failed",
  "cancelled",
] as const;

export type TaskState = (typeof TASK_STATES)[number];

const ENDED: ReadonlySet<TaskState> = new Set(["succeeded", "skipped", "failed", "cancelled"]);

export function isEnded(state: TaskState): boolean {
  return ENDED.has(state);
}

/** What may follow each state. Any other step is a bug and throws where it is tried. */
const NEXT: Readonly<Record<TaskState, readonly TaskState[]>> = {
  pending: ["ready", "waiting", "blocked", "cancelled", "skipped"],
  ready: ["pending", "waiting", "running", "blocked", "cancelled", "skipped", "failed"],
  waiting: ["waiting", "pending", "ready", "merging", "succeeded", "failed", "cancelled", "skipped", "blocked"],
  running: ["waiting", "ready", "merging", "succeeded", "skipped", "failed", "cancelled"],
  merging: ["succeeded", "ready", "waiting", "failed", "cancelled", "skipped"],
  blocked: ["pending", "ready", "waiting", "cancelled", "skipped"],
  succeeded: [],
  skipped: [],
  failed: ["pending", "ready", "waiting", "merging", "blocked", "skipped"],
  cancelled: ["pending", "ready", "waiting", "merging", "blocked", "skipped"],
};

export function mayFollow(from: TaskState, to: TaskState): boolean {
  return NEXT[from].includes(to);
}

/** What a waiting task waits for. A closed list: surfaces and tests branch on it. */
export const WAIT_CODES = [
  /** Another task holds, or waited earlier for, an overlapping write claim. */
  "lock",
  "budget",
  "circuit-open",
  "usage-limit",
  "backoff",
  "auth",
  "billing",
  "permission-denied",
  "spawn-failed",
  "invalid-request",
  "approval",
  "paused",
  /** The target lacks a dependency's merge, or is itself red. */
  "target",
  "question",
  "review",
  "conflict",
  "manual-merge",
  "verify",
  /** The machine lacks something (room on a disk, descriptors, processes, memory). It is tried again by itself. */
  "machine",
] as const;

export type WaitCode = (typeof WAIT_CODES)[number];

/** Waits that end by themselves: by time, by another task, or by a change of the checkout that we watch for. */
const MOVES_BY_ITSELF: ReadonlySet<WaitCode> = new Set([
  "lock",
  "circuit-open",
  "usage-limit",
  "backoff",
  "machine",
  // Whoever is asked has a deadline; after the last one the agent goes on without an answer.
  "question",
]);

/** True when only a person (or a parent agent) can clear the wait. */
export function needsPerson(code: WaitCode): boolean {
  return !MOVES_BY_ITSELF.has(code);
}

/** Why a task is not running, and what clears it (DESIGN section 3, rule 12). */
export interface Wait {
  readonly code: WaitCode;
  readonly message: string;
  /** The command that clears it, as a person types it; null when it clears by itself. */
  readonly command: string | null;
  /** Epoch; the wait ends by itself then. Null: not by time. */
  readonly untilMs: number | null;
}
