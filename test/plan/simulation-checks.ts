/** What must be true at every moment of a simulated life. Each check names the promise that it found broken. */
import type { Board } from "../../src/plan/board.ts";
import { claimsOverlap } from "../../src/plan/claims.ts";
import { standingOf } from "../../src/plan/explain.ts";
import type { TaskChange } from "../../src/plan/journal.ts";
import type { PlanNode, TaskNode } from "../../src/plan/node.ts";
import { taskKey, type TaskKey, type TaskRecord, type TaskSpec } from "../../src/plan/records.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { checkBudget, checkBudgetWait, isStillWithoutRoom } from "./simulated-budgets.ts";
import type { Cause, World } from "./simulated-world.ts";

/** Order: what a task depends on is done, or its failure mode lets it go on. */
export function checkStart(world: World, task: TaskRecord): void {
  checkChain(world, task);
  // What has begun goes on, also when somebody opened a soft dependency again meanwhile.
  if (task.ledger.attempts > 1) return;
  for (const dependency of dependenciesOf(world, task)) {
    if (isDone(dependency, task)) continue;
    throw new BrokenPromise("order", `${taskKey(task)} started while ${dependency.id} is ${dependency.state}`);
  }
}

/** One that continues another has its folder and its conversation: the two never run beside each other. */
function checkChain(world: World, task: TaskRecord): void {
  const { tasks } = world.planOf(task);
  const find = (id: string) => tasks.find((other) => other.id === id)?.spec ?? null;
  const first = firstOf(task.spec, find);
  const other = tasks.find((one) => one !== task && one.state === "running" && firstOf(one.spec, find) === first);
  if (other === undefined) return;
  throw new BrokenPromise("chain", `${taskKey(task)} starts in the folder of ${first}, where ${other.id} runs`);
}

/** Failures stay apart: what one task's end changes are itself, those behind it, and who waited for its claim. */
export function checkChange(world: World, { task, from, to, wait }: TaskChange, cause: Cause): void {
  const key = taskKey(task);
  if (to === "succeeded") checkHeard(world, key);
  if (from === "succeeded" || from === "skipped") throw new BrokenPromise("once", `${key} was ${from} and is ${to}`);
  const broken = (why: string): BrokenPromise =>
    new BrokenPromise("apart", `${key} goes from ${from} to ${to}${wait === null ? "" : ` (${wait.code})`} ${why}`);
  if (to === "failed" && (cause.type !== "end" || cause.key !== key)) throw broken("without an end of its own");
  switch (cause.type) {
    case "people":
      return;
    case "look": {
      const isStart = from === "ready" && (to === "running" || wait?.code === "lock" || wait?.code === "budget");
      // By a timer, by a wish that an engine's death left behind, or by a claim that such a wish freed.
      const isGoingOn = from === "waiting" || from === "merging" || isByDependencies(from, to);
      if (!isStart && !isGoingOn) throw broken("while the board only looked");
      return;
    }
    case "end": {
      if (key === cause.key) return;
      // What one used may leave room, and tells what others of its role will use; who never began asks its dependencies.
      const hadNoRoom = world.account.book.waits.get(key)?.code === "budget";
      const isWoken = from === "waiting" && (to === "ready" || hadNoRoom);
      if (hadNoRoom && isStillWithoutRoom(world, task)) throw broken("and there is no more room than before");
      const isBehind = isByDependencies(from, to) || (from === "waiting" && (to === "pending" || to === "blocked"));
      if (!isWoken && !(isBehind && isBehindOf(world, task, cause.key))) throw broken(`by the end of ${cause.key}`);
      return;
    }
  }
}

function isByDependencies(from: string, to: string): boolean {
  const states = ["pending", "ready", "blocked"];
  return states.includes(from) && states.includes(to);
}

function isBehindOf(world: World, task: TaskRecord, key: TaskKey): boolean {
  return dependenciesOf(world, task).some(
    (dependency) => taskKey(dependency) === key || isBehindOf(world, dependency, key),
  );
}

/** Nothing that was said to an agent is passed over: it hears it before its task counts as done. */
function checkHeard(world: World, key: TaskKey): void {
  const [message] = world.store.undelivered(key);
  if (message !== undefined) throw new BrokenPromise("mail", `${key} is done without message ${message.number}`);
  const [answer] = world.store.unheardAnswers(key);
  if (answer !== undefined) throw new BrokenPromise("answers", `${key} is done without the answer to ${answer.id}`);
}

/** At the end: what nobody heard was said to a task that was given up or lost, and is there for whoever opens it. */
export function checkAllHeard(world: World): void {
  for (const { task, number, isDelivered } of world.store.rows.messages) {
    if (isDelivered || world.store.rows.told.get(task) !== "succeeded") continue;
    throw new BrokenPromise("mail", `message ${number} came to ${task} when that was done, and nobody will hear it`);
  }
}

/** After every commit: the board's counts are the truth, who is told as running runs, and states follow the edges. */
export function checkStates(world: World): void {
  const { account, board, store } = world;
  for (const { record, tasks } of world.plans) {
    if (!board.hasPlan(record.id)) continue;
    const node = board.plan(record.id);
    const counts: Record<string, number> = {};
    for (const task of tasks) {
      const key = taskKey(task);
      counts[task.state] = (counts[task.state] ?? 0) + 1;
      const told = store.rows.told.get(key);
      if (told !== task.state) throw new BrokenPromise("events", `${key} is ${task.state}, told as ${told}`);
      const doesRun = account.book.running.has(key);
      if ((task.state === "running") !== doesRun) {
        const words = `${key} is ${task.state}, but its agent ${doesRun ? "runs" : "does not run"}`;
        throw new BrokenPromise("no orphan", words);
      }
      checkByDependencies(task, node);
      if (task.wait?.code === "question" && store.openParked(key).length === 0) {
        throw new BrokenPromise("answers", `${key} waits for an answer, and all are there`);
      }
    }
    checkBudget(world, record.id);
    for (const [state, count] of Object.entries(standingOf(node).counts)) {
      const real = counts[state] ?? 0;
      if (real !== count) throw new BrokenPromise("counts", `${record.id} counts ${count} ${state}, there are ${real}`);
    }
  }
}

/** What each task counts of its edges is what they are; one that counts wrong may start too early, or never. */
export function checkCounts({ board }: World): void {
  for (const plan of board.plans()) {
    for (const { record, dependencies, openCount, failedCount } of plan.nodes.values()) {
      const open = dependencies.filter((one) => !isDone(one.record, record)).length;
      const failed = dependencies.filter((one) => one.record.state === "blocked" || isLost(one.record, record)).length;
      if (open === openCount && failed === failedCount) continue;
      const words = `${openCount} open and ${failedCount} lost dependencies, it has ${open} and ${failed}`;
      throw new BrokenPromise("edges", `${taskKey(record)} counts ${words}`);
    }
  }
}

function checkByDependencies(task: TaskRecord, { nodes }: PlanNode): void {
  const { state } = task;
  const isNew = (state === "ready" || task.wait?.code === "lock") && task.ledger.attempts === 0;
  if (state !== "pending" && state !== "blocked" && !isNew) return;
  let expected = "ready";
  for (const id of task.spec.dependsOn) {
    const dependency = nodes.get(id)?.record;
    if (dependency === undefined || isDone(dependency, task)) continue;
    if (dependency.state === "blocked" || isLost(dependency, task)) expected = "blocked";
    else if (expected === "ready") expected = "pending";
  }
  if (expected !== (isNew ? "ready" : state)) {
    throw new BrokenPromise("edges", `${taskKey(task)} is ${state}, but its dependencies make it ${expected}`);
  }
}

/** Nothing is lost: the store has each record as the board has it. Costs the size of all plans. */
export function checkStored(world: World): void {
  for (const task of world.tasks()) {
    const stored = world.store.rows.tasks.get(taskKey(task));
    const live = JSON.stringify(task);
    if (stored !== live) throw new BrokenPromise("touched", `the store has ${stored}, the board ${live}`);
  }
}

/** After a look: no slot is idle while somebody could use it, no timer is overdue, nobody waits for nothing. */
export function checkAfterLook(world: World, startsBefore: ReadonlySet<TaskKey>): void {
  const { account, board, nowMs } = world;
  const left: TaskRecord[] = [];
  for (const { record, tasks } of world.plans) {
    if (!board.hasPlan(record.id)) continue;
    for (const task of tasks) {
      const key = taskKey(task);
      const { wait, state } = task;
      if (wait?.code === "lock" && account.blockerOf(task, record.target, claimsOverlap) === undefined) {
        throw new BrokenPromise("wakes", `${key} waits for a claim that nobody holds or asked for before it`);
      }
      if (state === "waiting" && wait?.untilMs != null && wait.untilMs <= nowMs) {
        throw new BrokenPromise("timers", `${key} waits until ${wait.untilMs}, it is ${nowMs}`);
      }
      const mayMerge = !record.paused && account.limits.lack === null;
      if (state === "merging" && mayMerge && !account.book.merging.has(record.target)) {
        throw new BrokenPromise("wakes", `${key} waits for its merge, and nothing is being merged`);
      }
      checkBudgetWait(world, task, record);
      if (state !== "ready") continue;
      const obstacle = account.obstacleTo(task, record, nowMs);
      if (obstacle === null) throw new BrokenPromise("wakes", `${key} could start, but was not started`);
      if (obstacle === "engine") left.push(task);
    }
  }
  if (left.length > 0) checkQueue(world, left, startsBefore);
}

/** Nobody who could start was passed over for one who comes later. */
function checkQueue(world: World, left: readonly TaskRecord[], startsBefore: ReadonlySet<TaskKey>): void {
  const lengths = pathLengths(world);
  const started = [...world.tasks()].filter((task) => task.state === "running" && !startsBefore.has(taskKey(task)));
  for (const task of left) {
    const later = started.find((other) => comesAfter(other, task, lengths));
    if (later !== undefined) throw new BrokenPromise("queue", `${taskKey(later)} started before ${taskKey(task)}`);
  }
}

/** The rule in other words: who has begun, then the longer path, then priority, then age. */
function comesAfter(started: TaskRecord, left: TaskRecord, lengths: ReadonlyMap<TaskKey, number>): boolean {
  const rank = (task: TaskRecord, attempts: number): number[] => [
    attempts > 0 ? 0 : 1,
    -(lengths.get(taskKey(task)) ?? 0),
    -task.spec.priority,
    task.ordinal,
  ];
  const startedRank = rank(started, started.ledger.attempts - 1);
  const leftRank = rank(left, left.ledger.attempts);
  for (const [index, value] of startedRank.entries()) {
    const other = leftRank[index] ?? 0;
    if (value !== other) return value > other;
  }
  return false;
}

/** Longest remaining path in tasks. */
function pathLengths(world: World): Map<TaskKey, number> {
  const lengths = new Map<TaskKey, number>();
  for (const { record, tasks } of world.plans) {
    for (const task of tasks.toReversed()) {
      const own = lengths.get(taskKey(task)) ?? 1;
      lengths.set(taskKey(task), own);
      for (const id of task.spec.dependsOn) {
        const key = taskKey({ planId: record.id, id });
        lengths.set(key, Math.max(lengths.get(key) ?? 1, own + 1));
      }
    }
  }
  return lengths;
}

/** A board that was built from the store is the one that was there before. */
export function checkRestored(live: Board, restored: Board, nowMs: number): void {
  for (const plan of restored.plans()) {
    for (const node of plan.nodes.values()) {
      const key = taskKey(node.record);
      const before = summaryOf(live.node(key));
      const after = summaryOf(node);
      if (before !== after) throw new BrokenPromise("restored", `${key} was ${before}, is ${after}`);
    }
    const { target, id } = plan.record;
    const paused = [live.plan(id).record.paused, plan.record.paused];
    if (paused[0] !== paused[1]) throw new BrokenPromise("restored", `${id} was paused: ${paused[0]}, is ${paused[1]}`);
    const before = holderNames(live, target);
    const after = holderNames(restored, target);
    if (before !== after) throw new BrokenPromise("restored", `claims of ${before} are now those of ${after}`);
  }
  for (const { name } of live.providers()) {
    const before = JSON.stringify([live.runningOf(name), live.gate(name, nowMs)]);
    const after = JSON.stringify([restored.runningOf(name), restored.gate(name, nowMs)]);
    if (before !== after) throw new BrokenPromise("restored", `${name} was ${before}, is ${after}`);
  }
  // It may wake earlier: who waited for a claim is ready again, and asks its provider first.
  const before = live.nextWakeMs(nowMs);
  const after = restored.nextWakeMs(nowMs);
  if (before !== null && (after === null || after > before)) {
    throw new BrokenPromise("restored", `wakes at ${after}, not ${before}`);
  }
}

function summaryOf(node: TaskNode): string {
  const { record, openCount, failedCount, pathLength } = node;
  // Who waits for a claim asks again after a restart.
  const state = record.wait?.code === "lock" ? "ready" : record.state;
  return JSON.stringify({ state, stage: record.stage, openCount, failedCount, pathLength, holds: record.holdsClaims });
}

function holderNames(board: Board, target: string): string {
  return board.claims
    .holders(target)
    .map((node) => taskKey(node.record))
    .toSorted()
    .join(", ");
}

function dependenciesOf(world: World, task: TaskRecord): TaskRecord[] {
  const { tasks } = world.planOf(task);
  return task.spec.dependsOn.map((id) => {
    const dependency = tasks.find((candidate) => candidate.id === id);
    if (dependency === undefined) throw new BrokenPromise("order", `${taskKey(task)} depends on ${id}, which is gone`);
    return dependency;
  });
}

/** `dependent` may count on it: it is done, or its failure mode says that others may go on, though none in its folder. */
function isDone({ id, state, spec }: TaskRecord, dependent: TaskRecord): boolean {
  if (state === "failed" || state === "cancelled") return spec.onFailure !== "hard" && dependent.spec.continues !== id;
  return state === "succeeded" || state === "skipped";
}

function isLost({ id, state, spec }: TaskRecord, dependent: TaskRecord): boolean {
  const isNeeded = spec.onFailure === "hard" || dependent.spec.continues === id;
  return (state === "failed" || state === "cancelled") && isNeeded;
}

/** The task that a chain began with. */
function firstOf(spec: TaskSpec, find: (id: string) => TaskSpec | null): string {
  const before = spec.continues === null ? null : find(spec.continues);
  return before === null ? (spec.continues ?? spec.id) : firstOf(before, find);
}
