/**
 * A plan's tasks on the board: how they come, how they leave, and how their shape changes while the plan runs. Each
 * costs the size of what comes, leaves or changes, or of this one plan, and never of another.
 */
import { AppError } from "../errors.ts";
import { link, relink, stateByDependencies } from "./edges.ts";
import { checkGraph, longestPaths } from "./graph.ts";
import { newTaskNode, type PlanNode, type TaskNode } from "./node.ts";
import type { Places } from "./places.ts";
import type { TaskRecord } from "./records.ts";

export interface Rewiring {
  readonly dropped: ReadonlySet<string>;
  /** Changes the record where it is to change, and says whether it did. */
  readonly changed: (task: TaskRecord) => boolean;
  readonly added: readonly TaskRecord[];
  readonly weightOf: (task: TaskRecord) => number;
}

/** Tasks, new or read back from the store, that nothing on the board depends on yet. */
export function putOnBoard(
  places: Places,
  plan: PlanNode,
  tasks: readonly TaskRecord[],
  pathLengths: ReadonlyMap<string, number>,
): void {
  const added = addNodes(plan, tasks);
  link(plan, added);
  for (const node of added) {
    node.pathLength = pathLengths.get(node.record.id) ?? 1;
    places.claims.restore(node);
    // A waiting claim's place in line is not stored: it asks again.
    const { record } = node;
    if (record.wait?.code === "lock") {
      record.state = "ready";
      record.wait = null;
      places.journal.step(record, "waiting");
    }
    places.enter(node);
  }
  settle(places, added);
}

/** Takes all of a plan off. Nothing of it may run or merge. */
export function takeOffBoard(places: Places, plan: PlanNode): void {
  for (const node of plan.nodes.values()) {
    if (node.record.state === "running" || node.isMergeActive) {
      throw new AppError("INTERNAL", `plan ${plan.record.id} can't leave the board while ${node.record.id} moves`);
    }
  }
  for (const node of plan.nodes.values()) {
    places.leave(node);
    places.wake(places.claims.release(node));
  }
}

/** Drops and changes tasks that have not started and adds new ones. The result must be a graph without a cycle. */
export function rewire(places: Places, plan: PlanNode, edit: Rewiring): void {
  const woken: TaskNode[] = [];
  for (const [id, node] of plan.nodes) {
    const isDropped = edit.dropped.has(id);
    if (!isDropped && !edit.changed(node.record)) continue;
    places.leave(node);
    woken.push(...places.claims.release(node));
    if (!isDropped) {
      reenter(places, node);
      continue;
    }
    plan.nodes.delete(id);
    places.journal.forget(node.record);
  }
  // Only now, or one that is dropped later in the loop would be told of once more.
  places.wake(woken.filter((node) => node.plan.nodes.get(node.record.id) === node));
  const added = addNodes(plan, edit.added);
  relink(plan);
  for (const node of added) places.enter(node);
  measure(places, plan, edit.weightOf);
  settle(places, plan.nodes.values());
}

function addNodes(plan: PlanNode, tasks: readonly TaskRecord[]): TaskNode[] {
  const added = tasks.map((record) => newTaskNode(record, plan));
  for (const node of added) plan.nodes.set(node.record.id, node);
  return added;
}

/** Puts a task whose text changed back where it belongs. */
function reenter(places: Places, node: TaskNode): void {
  const { record } = node;
  // A new text answers what the old one waited for, but never an operator who paused the task.
  if (record.state === "waiting" && record.wait?.code !== "paused") {
    record.state = "pending";
    record.wait = null;
    places.journal.step(record, "waiting");
  }
  places.enter(node);
  places.journal.touch(record);
}

function measure(places: Places, plan: PlanNode, weightOf: (record: TaskRecord) => number): void {
  const specs = [...plan.nodes.values()].map((node) => node.record.spec);
  const lengths = longestPaths(specs, checkGraph(specs), (id) => {
    const node = plan.nodes.get(id);
    return node === undefined ? 1 : weightOf(node.record);
  });
  for (const node of plan.nodes.values()) {
    node.pathLength = lengths.get(node.record.id) ?? 1;
    places.requeue(node);
  }
}

/** Gives tasks that have not begun the state that their dependencies say. */
function settle(places: Places, nodes: Iterable<TaskNode>): void {
  for (const node of nodes) {
    const { state, ledger } = node.record;
    const isOpen = state === "pending" || state === "blocked" || (state === "ready" && ledger.attempts === 0);
    const next = stateByDependencies(node);
    if (isOpen && next !== state) places.move(node, next);
  }
}
