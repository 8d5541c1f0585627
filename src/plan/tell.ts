/**
 * What it means for a task that something is said to its agent. Pure over the board; whoever calls keeps the message.
 *
 * A finished task is never run again, so what is said to its agent begins a task of its own that continues it: the same
 * conversation, in the same folder, on a branch of its own. What is said to that one later goes to the end of the chain.
 */
import { AppError } from "../errors.ts";
import type { Board } from "./board.ts";
import { controlTask } from "./controls.ts";
import { DECOMPOSE_TASK } from "./decomposition.ts";
import type { PlanNode, TaskNode } from "./node.ts";
import { freeId } from "./plan-id.ts";
import { taskKey, type TaskKey, type TaskSpec } from "./records.ts";
import { goToStep } from "./workflow.ts";

export type Told =
  /** Its agent is at work: it hears it in this turn or in another one right after it. */
  | { readonly type: "working"; readonly node: TaskNode }
  /** Kept for its next turn, which is not brought forward. */
  | { readonly type: "kept"; readonly node: TaskNode }
  /** It was on its way into the target; its agent works on first. */
  | { readonly type: "called-back"; readonly node: TaskNode }
  /** It had failed, been cancelled or been rejected for the last time, and is opened again. */
  | { readonly type: "opened"; readonly node: TaskNode }
  /** It is done: `spec` is the task to add. Nothing was changed. */
  | { readonly type: "follow-up"; readonly node: TaskNode; readonly spec: TaskSpec };

/** Changes the board as far as needed. Throws TASK_NOT_FOUND, or TASK_STATE where nobody will be there to hear it. */
export function tellTask(board: Board, key: TaskKey, message: string, nowMs: number): Told {
  const node = newestOf(board.node(key));
  const { record } = node;
  if (record.id === DECOMPOSE_TASK) {
    throw new AppError(
      "TASK_STATE",
      `${taskKey(record)} only decomposes the goal: change its tasks with update_plan (orchestrator edit), or make a new plan`,
    );
  }
  if (record.wish === "cancel" || record.wish === "skip") {
    throw new AppError("TASK_STATE", `can't tell ${taskKey(record)} anything: it will ${record.wish}; try again then`);
  }
  switch (record.state) {
    case "pending":
    case "ready":
    case "blocked":
      return { type: "kept", node };
    case "running":
      return { type: "working", node };
    case "waiting":
      // Kept only, it would be merged unheard when somebody approves in spite of the reviewer.
      return record.wait?.code === "review" ? open(board, node, nowMs) : tellWaiting(board, node);
    case "merging":
      // A merge that moves can't be called back.
      return node.isMergeActive ? followUp(node, message) : callBack(board, node);
    case "failed":
    case "cancelled":
      return open(board, node, nowMs);
    case "succeeded":
    case "skipped":
      return followUp(node, message);
  }
}

/** The last of the tasks that continue this one; itself where there is none. */
function newestOf(node: TaskNode): TaskNode {
  const next = new Map<string, TaskNode>();
  for (const other of node.plan.nodes.values()) {
    if (other.record.spec.continues !== null) next.set(other.record.spec.continues, other);
  }
  const seen = new Set<TaskNode>();
  let newest = node;
  for (let after = next.get(node.record.id); after !== undefined && !seen.has(after);) {
    seen.add(after);
    newest = after;
    after = next.get(after.record.id);
  }
  return newest;
}

function tellWaiting(board: Board, node: TaskNode): Told {
  const { record } = node;
  if (record.stage !== "merge") return { type: "kept", node };
  if (record.wait?.code !== "paused") return callBack(board, node);
  record.stage = "work";
  record.consent = null;
  record.nextTurn = { kind: "message", note: null };
  goToStep(record, 0);
  board.touch(record);
  return { type: "kept", node };
}

/** What a person had let through was another state of the work. */
function callBack(board: Board, node: TaskNode): Told {
  const { record } = node;
  record.stage = "work";
  record.consent = null;
  record.nextTurn = { kind: "message", note: null };
  board.move(node, "ready", { step: 0, cause: null, message: "something new was said to its agent" });
  return { type: "called-back", node };
}

function open(board: Board, node: TaskNode, nowMs: number): Told {
  const { record } = node;
  record.stage = "work";
  record.consent = null;
  // Who is told something is who does the task, whichever step it had come to.
  goToStep(record, 0);
  controlTask(board, taskKey(record), "retry", nowMs);
  if (record.nextTurn.kind === "again" && record.nextTurn.note === null) {
    record.nextTurn = { kind: "message", note: null };
  }
  return { type: "opened", node };
}

function followUp(node: TaskNode, message: string): Told {
  const { record, plan } = node;
  const spec: TaskSpec = {
    ...record.spec,
    id: freeId(withoutNumber(plan, record.spec), (id) => plan.nodes.has(id)),
    prompt: message,
    dependsOn: [record.id],
    continues: record.id,
  };
  return { type: "follow-up", node, spec };
}

/** `a`, `a-2`, `a-3`: numbered after the first of the chain, not `a-2-2`. */
function withoutNumber(plan: PlanNode, spec: TaskSpec): string {
  return firstOf(spec, (id) => plan.nodes.get(id)?.record.spec ?? null);
}

/** The id of the task that a chain began with: it names the folder in which all of them work. */
export function firstOf(spec: TaskSpec, find: (id: string) => TaskSpec | null): string {
  const seen = new Set<string>([spec.id]);
  let first = spec;
  for (;;) {
    const { continues } = first;
    if (continues === null) return first.id;
    const before = find(continues);
    // One that is no longer in the plan still names the folder.
    if (before === null || seen.has(continues)) return continues;
    seen.add(continues);
    first = before;
  }
}
