/** Plans come in, grow and change. Everything is checked before `commit`; inside it nothing can be refused any more. */
import { AppError } from "../errors.ts";
import { checkGraph, longestPaths } from "../plan/graph.ts";
import {
  newTask,
  taskKey,
  type Budget,
  type PlanRecord,
  type TaskRecord,
  type TaskSpec,
  type Workflow,
} from "../plan/records.ts";
import { isEnded } from "../plan/task-state.ts";
import { weigher } from "../plan/workflow.ts";
import type { Parts } from "./parts.ts";
import { addPlan } from "./recover.ts";

export interface NewPlan {
  readonly id: string;
  readonly name: string | null;
  readonly goal: string | null;
  readonly target: string;
  readonly maxConcurrent: number;
  readonly budget: Budget;
  readonly isPaused: boolean;
  readonly tasks: readonly TaskSpec[];
  /** The steps of each task, roles resolved to providers. */
  readonly workflowOf: (task: TaskSpec) => Workflow;
  readonly text: string;
  readonly file: string | null;
  readonly settings: string;
  readonly startSha: string;
}

/** Stores a new plan and puts it on the board. Call inside `commit`. */
export function insertPlan(parts: Parts, plan: NewPlan): PlanRecord {
  const { store, clock } = parts;
  const record = recordOf(plan, clock.nowMs());
  store.plans.insert({
    ...record,
    endedAtMs: null,
    file: plan.file,
    startSha: plan.startSha,
    text: plan.text,
    config: plan.settings,
  });
  const first = store.tasks.nextOrdinal();
  const tasks = plan.tasks.map((spec, index) => newTask(plan.id, first + index, spec, plan.workflowOf(spec)));
  store.tasks.insertMany(tasks);
  store.events.append({
    planId: plan.id,
    taskId: null,
    attemptId: null,
    body: { type: "plan-created", target: plan.target, tasks: tasks.length },
  });
  addPlan(parts, record, tasks);
  return record;
}

function recordOf(plan: NewPlan, createdAtMs: number): PlanRecord {
  const { id, name, goal, target, maxConcurrent, budget, isPaused } = plan;
  return { id, name, goal, target, maxConcurrent, budget, createdAtMs, paused: isPaused };
}

/** What a plan submitted again under its name means for the tasks that are there. */
export interface Continuation {
  /** Ended well and unchanged: kept as they are. */
  readonly kept: readonly string[];
  /** New, changed, or ended badly: they run (again). */
  readonly fresh: readonly string[];
  /** No longer in the plan. */
  readonly dropped: readonly string[];
}

/**
 * Compares a plan's stored tasks with those submitted under the same name. Throws PLAN_EXISTS when the plan is under
 * way and the texts differ; answers null when it is under way with the same text.
 */
export function compareWithStored(parts: Parts, planId: string, tasks: readonly TaskSpec[]): Continuation | null {
  const stored = new Map(parts.store.tasks.listByPlan(planId).map((task) => [task.id, task]));
  const wanted = new Map(tasks.map((spec) => [spec.id, spec]));
  const kept: string[] = [];
  const fresh: string[] = [];
  let isSame = [...stored.values()].every((task) => isOfText(task, wanted));
  for (const spec of tasks) {
    const old = stored.get(spec.id);
    const isUnchanged = old !== undefined && JSON.stringify(old.spec) === JSON.stringify(spec);
    if (!isUnchanged) isSame = false;
    const isDone = old?.state === "succeeded" || (old?.state === "skipped" && !wasLeftBehind(old));
    (isUnchanged && isDone ? kept : fresh).push(spec.id);
  }
  const dropped = [...stored.keys()].filter((id) => !wanted.has(id));
  const isUnderWay = [...stored.values()].some((task) => !isEnded(task.state) && task.state !== "blocked");
  if (!isUnderWay) return { kept, fresh, dropped };
  if (isSame) return null;
  throw new AppError(
    "PLAN_EXISTS",
    `plan "${planId}" is under way with another text. Change it with update_plan (orchestrator edit), cancel it first (orchestrator cancel ${planId}), or give this one another name`,
    { details: { plan: planId } },
  );
}

/** What agents proposed is in no text. */
function isOfText(task: TaskRecord, wanted: ReadonlyMap<string, TaskSpec>): boolean {
  return wanted.has(task.id) || wasLeftBehind(task) || task.proposedBy !== null;
}

const LEFT_BEHIND = "no longer in the plan";

function wasLeftBehind(task: TaskRecord): boolean {
  return task.message === LEFT_BEHIND;
}

/**
 * A task that ran and is not in the new text: what it did and said stays to be looked up, and it holds up nobody. Its
 * edges may lead to tasks that are gone.
 */
function leaveBehind(task: TaskRecord): TaskRecord {
  const spec = { ...task.spec, dependsOn: [] };
  const state = task.state === "succeeded" ? "succeeded" : "skipped";
  return { ...task, spec, state, wait: null, cause: null, message: LEFT_BEHIND, holdsClaims: false };
}

/** Puts a changed plan in the place of one that is not under way. Call inside `commit`. */
export function replacePlan(parts: Parts, plan: NewPlan, continuation: Continuation): void {
  const { store, board } = parts;
  const old = store.plans.get(plan.id);
  if (old === null) throw new AppError("PLAN_NOT_FOUND", `there is no plan "${plan.id}"`);
  const stored = new Map(store.tasks.listByPlan(plan.id).map((task) => [task.id, task]));
  const dropped = [...stored.values()].filter((task) => continuation.dropped.includes(task.id));
  const [gone, left] = partition(dropped, (task) => store.attempts.listByTask(plan.id, task.id).length === 0);
  const leftBehind = left.map(leaveBehind);
  store.tasks.saveMany(leftBehind);
  for (const task of gone) store.tasks.remove(plan.id, task.id);
  const fresh = new Set(continuation.fresh);
  let ordinal = store.tasks.nextOrdinal();
  const tasks: TaskRecord[] = plan.tasks.map((spec) => {
    const before = stored.get(spec.id);
    if (before !== undefined && !fresh.has(spec.id))
      return wasLeftBehind(before) ? { ...before, message: null } : before;
    const task = newTask(plan.id, before?.ordinal ?? ordinal++, spec, plan.workflowOf(spec));
    // Attempts count on, so that the numbers in trailers and logs stay unique.
    return before === undefined ? task : { ...task, ledger: { ...task.ledger, attempts: before.ledger.attempts } };
  });
  store.tasks.insertMany(tasks.filter((task) => !stored.has(task.id)));
  store.tasks.saveMany(tasks.filter((task) => stored.has(task.id) && task !== stored.get(task.id)));
  for (const id of fresh) {
    if (stored.has(id)) store.tasks.setWork(plan.id, id, { report: null, verifyOutput: null, endedAtMs: null });
  }
  const record = recordOf(plan, old.createdAtMs);
  // With nothing to run no task changes its state, and nothing would tell that it ended again.
  const endedAtMs = fresh.size === 0 ? (old.endedAtMs ?? parts.clock.nowMs()) : null;
  store.plans.update(plan.id, { ...record, text: plan.text, config: plan.settings, endedAtMs, file: plan.file });
  store.events.append({
    planId: plan.id,
    taskId: null,
    attemptId: null,
    body: { type: "plan-changed", added: continuation.fresh.length, changed: 0, dropped: continuation.dropped.length },
  });
  if (board.hasPlan(plan.id)) board.removePlan(plan.id);
  addPlan(parts, record, [...tasks, ...leftBehind]);
}

function partition<Item>(items: readonly Item[], test: (item: Item) => boolean): [yes: Item[], no: Item[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

export interface PlanEdit {
  readonly add: readonly TaskSpec[];
  /** Whole new specs of tasks that have not started. */
  readonly change: readonly TaskSpec[];
  readonly drop: readonly string[];
  /** The task whose agent proposed what is added. */
  readonly proposedBy?: string;
}

/**
 * Checks an edit against the plan as it is: only what has not started may change or go. Throws TASK_STATE,
 * TASK_NOT_FOUND, PLAN_DUPLICATE_TASK, PLAN_UNKNOWN_DEPENDENCY or PLAN_CYCLE. Answers the plan's specs afterwards.
 */
export function checkEdit(parts: Parts, planId: string, edit: PlanEdit): readonly TaskSpec[] {
  const plan = parts.board.plan(planId);
  for (const id of [...edit.change.map((spec) => spec.id), ...edit.drop]) {
    const node = plan.nodes.get(id);
    if (node === undefined) throw new AppError("TASK_NOT_FOUND", `plan "${planId}" has no task "${id}"`);
    const { record } = node;
    const hasNotStarted =
      record.ledger.attempts === 0 &&
      (record.state === "pending" ||
        record.state === "ready" ||
        record.state === "blocked" ||
        record.state === "waiting");
    if (!hasNotStarted) {
      throw new AppError(
        "TASK_STATE",
        `task ${taskKey(record)} is ${record.state}: only a task that has not started can be changed or dropped; cancel or skip it instead`,
        { details: { task: taskKey(record), state: record.state } },
      );
    }
  }
  const dropped = new Set(edit.drop);
  const changed = new Map(edit.change.map((spec) => [spec.id, spec]));
  const kept = [...plan.nodes.values()].map((node) => node.record.spec).filter((spec) => !dropped.has(spec.id));
  const specs = [...kept.map((spec) => changed.get(spec.id) ?? spec), ...edit.add];
  checkGraph(specs);
  for (const { id, continues, dependsOn } of specs) {
    // Two of a chain at once would share a folder and a conversation.
    if (continues === null || dependsOn.includes(continues)) continue;
    throw new AppError("PLAN_INVALID", `task "${id}" continues "${continues}", so it must depend on it`);
  }
  return specs;
}

/** Carries out an edit that `checkEdit` let through, in the same turn of the event loop. Call inside `commit`. */
export function applyEdit(
  parts: Parts,
  planId: string,
  edit: PlanEdit,
  workflowOf: (task: TaskSpec) => Workflow,
): void {
  const { store, board } = parts;
  const plan = board.plan(planId);
  const { record } = plan;
  const first = store.tasks.nextOrdinal();
  const added = edit.add.map((spec, index) =>
    newTask(planId, first + index, spec, workflowOf(spec), edit.proposedBy ?? null),
  );
  store.tasks.insertMany(added);
  for (const task of added) {
    store.events.append({
      planId,
      taskId: task.id,
      attemptId: null,
      body: { type: "task-added", title: task.spec.title },
    });
  }
  if (edit.change.length === 0 && edit.drop.length === 0) {
    const weightOf = weigher(store.roles.meanDurations());
    const order = checkGraph(
      added.map(({ spec }) => ({ id: spec.id, dependsOn: spec.dependsOn.filter((id) => !plan.nodes.has(id)) })),
    );
    const byId = new Map(added.map((task) => [task.id, task]));
    const lengths = longestPaths(
      added.map((task) => task.spec),
      order,
      (id) => weightOf(byId.get(id)),
    );
    board.addTasks(planId, added, lengths);
    for (const task of added) board.raisePaths(board.node(taskKey(task)), weightOf);
  } else {
    rebuild(parts, record, edit, added, workflowOf);
  }
  store.plans.update(planId, { endedAtMs: null });
  const body = {
    type: "plan-changed",
    added: added.length,
    changed: edit.change.length,
    dropped: edit.drop.length,
  } as const;
  store.events.append({ planId, taskId: null, attemptId: null, body });
}

/** Edges changed: the plan's tasks change in place, and the board takes its edges anew. */
function rebuild(
  parts: Parts,
  record: PlanRecord,
  edit: PlanEdit,
  added: readonly TaskRecord[],
  workflowOf: (task: TaskSpec) => Workflow,
): void {
  const { store, board } = parts;
  const changed = new Map(edit.change.map((spec) => [spec.id, spec]));
  const dropped = new Set(edit.drop);
  for (const id of dropped) {
    store.tasks.remove(record.id, id);
    store.events.append({ planId: record.id, taskId: id, attemptId: null, body: { type: "task-dropped" } });
  }
  board.rewire(record.id, {
    dropped,
    changed: (task) => {
      const spec = changed.get(task.id);
      if (spec === undefined) return false;
      task.spec = spec;
      task.workflow = workflowOf(spec);
      task.step = 0;
      task.provider = task.workflow.steps[0]?.provider ?? "";
      task.ruledOut = [];
      return true;
    },
    added,
    weightOf: weigher(store.roles.meanDurations()),
  });
}
