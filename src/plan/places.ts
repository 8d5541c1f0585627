/**
 * Where every task is: each state has its place (the ready queue, a merge line, a slot, a timer), and a step from state
 * to state takes the task out of the one and puts it into the other, counts it, and notes it in the journal. So nothing
 * is ever in a place that its state does not say.
 */
import { AppError } from "../errors.ts";
import { ClaimTable } from "./claim-table.ts";
import { factsOf, tellDependents } from "./edges.ts";
import type { FailureCause } from "./failure-cause.ts";
import { Journal } from "./journal.ts";
import { MergeLines } from "./merge-lines.ts";
import type { TaskNode } from "./node.ts";
import { ProviderTable } from "./provider-table.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { taskKey, type TaskRecord } from "./records.ts";
import { isEnded, mayFollow, type TaskState, type Wait } from "./task-state.ts";
import { WaitTimers } from "./wait-timers.ts";
import { countWait } from "./waits.ts";
import { goToStep } from "./workflow.ts";

export interface MoveDetails {
  readonly wait?: Wait;
  readonly cause?: FailureCause | null;
  readonly message?: string | null;
  /** The step of its workflow that it is at from now on. */
  readonly step?: number;
}

export class Places {
  readonly claims = new ClaimTable();
  readonly ready = new ReadyQueue();
  readonly providers = new ProviderTable();
  readonly merges = new MergeLines();
  readonly timers = new WaitTimers();
  readonly journal = new Journal();
  /** Tasks of all plans that have a slot. */
  running = 0;

  /** Moves a task to another state with all that hangs on it: queues, counts, claims, timers, dependents. */
  move(node: TaskNode, to: TaskState, details: MoveDetails = {}): void {
    const before = factsOf(node);
    this.#step(node, to, details);
    tellDependents(node, before, (dependent, next) => this.#step(dependent, next, {}));
  }

  /** One step of one task; its dependents are told by `move`. */
  #step(node: TaskNode, to: TaskState, { wait, cause, message, step }: MoveDetails): void {
    const { record } = node;
    const from = record.state;
    if (!mayFollow(from, to)) {
      throw new AppError("INTERNAL", `task ${taskKey(record)} can't go from ${from} to ${to}`);
    }
    this.leave(node);
    record.state = to;
    record.wait = wait ?? null;
    if (cause !== undefined) record.cause = cause;
    if (message !== undefined) record.message = message;
    // Between leaving and entering: queues and slots go by the provider.
    if (step !== undefined) goToStep(record, step);
    this.enter(node);
    this.journal.step(record, from);
    if (givesUpClaims(record)) this.wake(this.claims.release(node));
  }

  /** Takes a task out of whatever its state put it in. */
  leave(node: TaskNode): void {
    const { record, plan } = node;
    node.ticket += 1;
    plan.counts[record.state] -= 1;
    if (record.state === "waiting") countWait(plan, record.wait, -1);
    if (record.state === "merging") this.merges.leave(node);
    if (record.state === "running") {
      plan.running -= 1;
      this.running -= 1;
      this.providers.freeSlot(node);
      plan.budget.release(record.id);
    }
  }

  /** Puts a task into whatever its state wants. */
  enter(node: TaskNode): void {
    const { record, plan } = node;
    plan.counts[record.state] += 1;
    switch (record.state) {
      case "ready":
        return this.ready.push(node);
      case "waiting":
        countWait(plan, record.wait, 1);
        if (record.wait?.untilMs != null) this.timers.set(node, record.wait.untilMs);
        return;
      case "running":
        plan.running += 1;
        this.running += 1;
        return this.providers.takeSlot(node);
      case "merging":
        return this.merges.enter(node);
      case "pending":
      case "blocked":
      case "succeeded":
      case "skipped":
      case "failed":
      case "cancelled":
        return;
    }
  }

  /** The task's wait ends at another moment: the timer it has is stale. */
  moveWait(node: TaskNode, byMs: number): void {
    const { record } = node;
    const { wait } = record;
    if (record.state !== "waiting" || wait?.untilMs == null) return;
    node.ticket += 1;
    record.wait = { ...wait, untilMs: wait.untilMs + byMs };
    this.timers.set(node, wait.untilMs + byMs);
    this.journal.touch(record);
  }

  /** A ready task's rank changed: the entry it has in the queue is stale. */
  requeue(node: TaskNode): void {
    if (node.record.state !== "ready") return;
    node.ticket += 1;
    this.ready.push(node);
  }

  wake(waiters: readonly TaskNode[]): void {
    for (const waiter of waiters) {
      if (waiter.record.state === "waiting" && waiter.record.wait?.code === "lock") this.move(waiter, "ready");
    }
  }
}

function givesUpClaims({ state, wait, holdsClaims }: TaskRecord): boolean {
  if (isEnded(state) || state === "blocked" || state === "pending") return true;
  // Who stops for another reason leaves the line of waiting claims, or those behind would wait for that reason too.
  return state === "waiting" && !holdsClaims && wait?.code !== "lock";
}
