/** What must be true after every step of the simulation. Each check tells the promise that it found broken. */
import type { Board } from "../../src/plan/board.ts";
import { claimsOverlap } from "../../src/plan/claims.ts";
import { explainTask, standingOf } from "../../src/plan/explain.ts";
import type { TaskNode } from "../../src/plan/node.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded } from "../../src/plan/task-state.ts";
import { BrokenPromise } from "./account.ts";
import type { World } from "./simulate.ts";

/** Order: what a task depends on is done, or its failure mode lets it go on. */
export function checkStart(world: World, task: TaskRecord): void {
  // What has begun goes on, also when somebody opened a soft dependency again meanwhile.
  if (task.ledger.attempts > 1) return;
  const { tasks } = world.planOf(task);
  for (const id of task.spec.dependsOn) {
    const dependency = tasks.find((candidate) => candidate.id === id);
    const state = dependency?.state ?? "gone";
    const isDone = state === "succeeded" || state === "skipped";
    const isLetThrough = (state === "failed" || state === "cancelled") && dependency?.spec.onFailure !== "hard";
    if (!isDone && !isLetThrough) throw new BrokenPromise("order", `${taskKey(task)} started while ${id} is ${state}`);
  }
}

/** Bounds, and that the board's view of who runs is the truth. */
export function checkBounds(world: World): void {
  const { account, settings, plans } = world;
  if (account.running.size > settings.limitAgents) {
    throw new BrokenPromise("bounds", `${account.running.size} agents run, ${settings.limitAgents} may`);
  }
  const ofProvider = new Map<string, number>();
  for (const { record, tasks } of plans) {
    const counts = new Map<string, number>();
    let running = 0;
    for (const task of tasks) {
      const doesRun = account.running.has(taskKey(task));
      counts.set(task.state, (counts.get(task.state) ?? 0) + 1);
      if ((task.state === "running") !== doesRun) {
        const words = `${taskKey(task)} is ${task.state}, but its agent ${doesRun ? "runs" : "does not run"}`;
        throw new BrokenPromise("no orphan", words);
      }
      if (!doesRun) continue;
      running += 1;
      ofProvider.set(task.provider, (ofProvider.get(task.provider) ?? 0) + 1);
    }
    if (running > record.maxConcurrent) throw new BrokenPromise("bounds", `${running} of plan ${record.id} run`);
    const standing = standingOf(world.board.plan(record.id));
    for (const [state, count] of Object.entries(standing.counts)) {
      const real = counts.get(state) ?? 0;
      if (real !== count) throw new BrokenPromise("counts", `${record.id} counts ${count} ${state}, there are ${real}`);
    }
  }
  for (const [provider, limit] of settings.providerLimits) {
    const running = ofProvider.get(provider) ?? 0;
    if (running > limit) throw new BrokenPromise("bounds", `${running} agents of ${provider} run, ${limit} may`);
  }
}

/** No slot is idle while somebody could use it, and nobody who could start was passed over for one who comes later. */
export function checkOrderOfStarts(world: World, started: readonly TaskRecord[]): void {
  const { account, board, settings } = world;
  for (const { record, tasks } of world.plans) {
    const plan = board.plan(record.id);
    const lengths = pathLengths(tasks);
    for (const task of tasks) {
      const key = taskKey(task);
      if (task.wait?.code === "lock" && account.blockerOf(task, record.target, claimsOverlap) === undefined) {
        throw new BrokenPromise("wakes", `${key} waits for a claim that nobody holds or asked for before it`);
      }
      if (task.state === "merging" && !record.paused && !account.merging.has(record.target)) {
        throw new BrokenPromise("wakes", `${key} waits for its merge, and nothing is being merged`);
      }
      if (task.state !== "ready" || record.paused || plan.running >= record.maxConcurrent) continue;
      if (board.runningOf(task.provider) >= (settings.providerLimits.get(task.provider) ?? Infinity)) continue;
      const gate = board.gate(task.provider, world.nowMs).state;
      if (gate === "shut" || (gate === "one-probe" && account.probes.has(task.provider))) continue;
      if (account.running.size < settings.limitAgents) {
        throw new BrokenPromise("wakes", `${key} is ready and a slot is free, but it was not started`);
      }
      const later = started.find((other) => other.planId === task.planId && comesAfter(other, task, lengths));
      if (later !== undefined) throw new BrokenPromise("queue", `${taskKey(later)} started before ${key}`);
    }
  }
}

/** The rule in other words: who has begun, then the longer path, then priority, then age. */
function comesAfter(started: TaskRecord, left: TaskRecord, lengths: ReadonlyMap<string, number>): boolean {
  const rank = (task: TaskRecord, attempts: number): number[] => [
    attempts > 0 ? 0 : 1,
    -(lengths.get(task.id) ?? 0),
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

/** Longest remaining path in tasks. `tasks` are in dependency order. */
function pathLengths(tasks: readonly TaskRecord[]): Map<string, number> {
  const lengths = new Map<string, number>();
  for (const task of tasks.toReversed()) {
    const own = lengths.get(task.id) ?? 1;
    lengths.set(task.id, own);
    for (const id of task.spec.dependsOn) lengths.set(id, Math.max(lengths.get(id) ?? 1, own + 1));
  }
  return lengths;
}

/** Nothing moves: each open task leads, over those it waits for, to a command for a person. */
export function checkIdle(world: World): void {
  const answered = new Set<TaskKey>();
  for (const { record, tasks } of world.plans) {
    for (const task of tasks) {
      if (isEnded(task.state)) continue;
      const key = taskKey(task);
      if (!leadsToCommand(world, key, answered)) {
        const { message } = explainTask(world.board, key, world.nowMs);
        throw new BrokenPromise("why", `${key} waits, and no command clears it: ${message}`);
      }
    }
    const { state } = standingOf(world.board.plan(record.id));
    if (state === "running") throw new BrokenPromise("standing", `${record.id} is told as running, but nothing moves`);
  }
}

/** `answered`: tasks that are known to lead to a command; filled with what is found out. */
function leadsToCommand(world: World, first: TaskKey, answered: Set<TaskKey>): boolean {
  const seen = new Set<TaskKey>();
  const open = [first];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    if (seen.has(key)) continue;
    seen.add(key);
    const { command, waitsFor, message } = explainTask(world.board, key, world.nowMs);
    if (message === "") throw new BrokenPromise("why", `${key} has no explanation`);
    if (command !== null || answered.has(key)) {
      answered.add(first);
      return true;
    }
    open.push(...waitsFor);
  }
  return false;
}

/** A board that was built from the store is the one that was there before. */
export function checkRestored(live: Board, restored: Board, nowMs: number): void {
  for (const plan of live.plans()) {
    for (const node of plan.nodes.values()) {
      const key = taskKey(node.record);
      const before = summaryOf(node);
      const after = summaryOf(restored.node(key));
      if (before !== after) throw new BrokenPromise("restored", `${key} was ${before}, is ${after}`);
    }
    const { target } = plan.record;
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
