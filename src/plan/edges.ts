/**
 * The edges between tasks, and what a task's state means along them. Each task counts its open and its failed
 * dependencies, so that an end costs the edges that leave it and not a look at the plan.
 */
import { AppError } from "../errors.ts";
import { Heap } from "./heap.ts";
import { isFailing, isSatisfied, type PlanNode, type TaskFacts, type TaskNode } from "./node.ts";
import { taskKey, type TaskRecord } from "./records.ts";
import type { TaskState } from "./task-state.ts";

/** Ties tasks of a plan to what they depend on, and counts what that means for them. */
export function link(plan: PlanNode, nodes: Iterable<TaskNode>): void {
  for (const node of nodes) {
    for (const id of node.record.spec.dependsOn) {
      const dependency = plan.nodes.get(id);
      if (dependency === undefined) throw new AppError("INTERNAL", `${taskKey(node.record)} depends on unknown ${id}`);
      node.dependencies.push(dependency);
      dependency.dependents.push(node);
      if (!isSatisfied(dependency.record, node.record)) node.openCount += 1;
      if (isFailing(dependency.record, node.record)) node.failedCount += 1;
    }
  }
}

/** Ties a whole plan anew, after its specs changed. */
export function relink(plan: PlanNode): void {
  for (const node of plan.nodes.values()) {
    node.dependencies.length = 0;
    node.dependents.length = 0;
    node.openCount = 0;
    node.failedCount = 0;
  }
  link(plan, plan.nodes.values());
}

/** Where a task belongs that has not started or is opened again: by its dependencies alone. */
export function stateByDependencies(node: TaskNode): "pending" | "ready" | "blocked" {
  if (node.failedCount > 0) return "blocked";
  return node.openCount > 0 ? "pending" : "ready";
}

/** A task as it stood before it changed. */
export function factsOf({ record: { id, state, spec } }: TaskNode): TaskFacts {
  return { id, state, spec };
}

/**
 * Counts what a task's new state means for those behind it, and lets `step` move each that belongs elsewhere now. A
 * queue, not recursion: chains may be very long. `step` must not tell dependents itself.
 */
export function tellDependents(
  first: TaskNode,
  before: TaskFacts,
  step: (dependent: TaskNode, to: "pending" | "ready" | "blocked") => void,
): void {
  // After an edit one may go back before those behind it heard of its first step: they hear once, from what they know of
  // it to what it is. Each step for itself against what it is now would count the second one twice.
  const untold = new Map([[first, before]]);
  for (const [node, known] of untold) {
    untold.delete(node);
    if (kindOf(known.state) === kindOf(node.record.state)) continue;
    for (const dependent of node.dependents) {
      const { satisfied, failing } = difference(known, node.record, dependent.record);
      if (satisfied === 0 && failing === 0) continue;
      dependent.openCount -= satisfied;
      dependent.failedCount += failing;
      const { state, ledger, wait } = dependent.record;
      const isInLine = state === "ready" || wait?.code === "lock";
      const hasNotBegun = state === "pending" || state === "blocked" || (isInLine && ledger.attempts === 0);
      if (!hasNotBegun) continue;
      const next = stateByDependencies(dependent);
      if (next === state) continue;
      const facts = factsOf(dependent);
      step(dependent, next);
      if (!untold.has(dependent)) untold.set(dependent, facts);
    }
  }
}

/** Steps within a kind mean nothing to anybody, however many depend on the task. */
function kindOf(state: TaskState): "open" | "blocked" | "done" | "given-up" {
  if (state === "blocked") return "blocked";
  if (state === "failed" || state === "cancelled") return "given-up";
  return state === "succeeded" || state === "skipped" ? "done" : "open";
}

/** What a step of a task means for one that depends on it. */
function difference(
  before: TaskFacts,
  after: TaskFacts,
  dependent: TaskRecord,
): { readonly satisfied: number; readonly failing: number } {
  return {
    satisfied: Number(isSatisfied(after, dependent)) - Number(isSatisfied(before, dependent)),
    failing: Number(isFailing(after, dependent)) - Number(isFailing(before, dependent)),
  };
}

/**
 * Raises the path lengths in front of a task after something longer was put behind it, and tells whose rose. Taken in
 * the order of the old lengths, which is an order of dependents before dependencies: each task is raised once, to its
 * last length. Any other order raises a ladder of diamonds once for each way through it.
 */
export function raisePaths(
  node: TaskNode,
  weightOf: (record: TaskRecord) => number,
  onRaised: (raised: TaskNode) => void,
): void {
  const raised = new Heap<{ node: TaskNode; oldLength: number }>((left, right) => left.oldLength < right.oldLength);
  raised.push({ node, oldLength: -1 });
  const waiting = new Set<TaskNode>();
  for (let next = raised.pop(); next !== undefined; next = raised.pop()) {
    const current = next.node;
    waiting.delete(current);
    for (const dependency of current.dependencies) {
      const length = current.pathLength + weightOf(dependency.record);
      if (length <= dependency.pathLength) continue;
      if (!waiting.has(dependency)) {
        waiting.add(dependency);
        raised.push({ node: dependency, oldLength: dependency.pathLength });
      }
      dependency.pathLength = length;
      onRaised(dependency);
    }
  }
}
