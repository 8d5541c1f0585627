/** Every stop has a reason (DESIGN 3.12): what `why` says of a task is true, and leads to something that can be done. */
import { claimsOverlap } from "../../src/plan/claims.ts";
import { explainTask, standingOf, type Explanation } from "../../src/plan/explain.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded } from "../../src/plan/task-state.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { blockersOf } from "./claim-book.ts";
import { candidatesOf } from "./provider-lists.ts";
import type { World } from "./simulated-world.ts";

/** After a look: for each task that does not run, `why` names what it waits for, and that is really so. */
export function checkReasons(world: World): void {
  for (const task of world.tasks()) {
    if (isEnded(task.state)) continue;
    const key = taskKey(task);
    const why = explainTask(world.board, key, world.nowMs);
    const problem = why.message === "" ? "nothing is told" : whatIsWrong(world, task, why);
    if (problem === null) continue;
    throw new BrokenPromise("why", `${key} (${task.state}) is told as "${why.code}: ${why.message}", but ${problem}`);
  }
}

function whatIsWrong(world: World, task: TaskRecord, why: Explanation): string | null {
  const { account, nowMs } = world;
  const { record: plan } = world.planOf(task);
  switch (task.state) {
    case "running":
      return account.book.running.has(taskKey(task)) ? null : "it does not run";
    case "pending":
      return why.code === "dependencies" && why.waitsFor.length > 0 && why.waitsFor.every((key) => isOpen(world, key))
        ? null
        : "it waits for something else";
    case "blocked":
      return why.code === "blocked" && why.command !== null ? null : "nothing is named that clears it";
    case "ready": {
      const obstacle = account.obstacleTo(task, plan, nowMs);
      const codes = {
        paused: ["paused"],
        machine: ["machine"],
        gate: ["circuit-open", "usage-limit"],
        plan: ["slot"],
        provider: ["slot"],
        budget: ["budget", "slot"],
      };
      const expected: readonly string[] = obstacle === null || obstacle === "engine" ? ["slot"] : codes[obstacle];
      if (!expected.includes(why.code ?? "")) return `what keeps it is the ${obstacle}`;
      if (obstacle === "paused") return why.command === null ? "no command is named" : null;
      if (obstacle === "machine") return null;
      // All that is left ends by itself: a slot when who has it ends, a gate by time or by its probe.
      if (obstacle !== "gate") return account.book.running.size > 0 ? null : "nobody has a slot";
      return why.untilMs !== null || candidatesOf(account.book, task).some((name) => account.book.probes.has(name))
        ? null
        : "no time is told";
    }
    case "merging":
      if (plan.paused && why.code === "paused") return null;
      if (account.limits.lack !== null && why.code === "machine") return null;
      return account.book.merging.has(plan.target) ? null : "nothing is being merged";
    case "waiting":
      if (why.code === "lock") {
        const blockers = blockersOf(account.book, task, plan.target, claimsOverlap);
        const wrong = why.waitsFor.find((key) => !blockers.includes(key));
        if (wrong !== undefined) return `${wrong} is in nobody's way`;
      }
      return whatIsWrongWithWait(task, why);
    default:
      return null;
  }
}

function whatIsWrongWithWait({ wait }: TaskRecord, why: Explanation): string | null {
  if (wait === null) return "it waits for nothing";
  if (why.code !== wait.code) return `its wait is ${wait.code}`;
  switch (wait.code) {
    case "lock":
      return why.waitsFor.length > 0 ? null : "nobody is named";
    case "backoff":
    case "usage-limit":
      return why.untilMs === null ? "no time is told" : null;
    default:
      return why.command === null ? "no command is named" : null;
  }
}

function isOpen(world: World, key: TaskKey): boolean {
  const { record } = world.board.node(key);
  return !isEnded(record.state);
}

/** Nothing moves: each open task leads, over those it waits for, to a command for a person. */
export function checkIdle(world: World): void {
  const answered = new Set<TaskKey>();
  for (const task of world.tasks()) {
    if (isEnded(task.state)) continue;
    const key = taskKey(task);
    if (leadsToCommand(world, key, answered)) continue;
    const { message } = explainTask(world.board, key, world.nowMs);
    throw new BrokenPromise("why", `${key} waits, and no command clears it: ${message}`);
  }
  for (const { record } of world.plans) {
    if (!world.board.hasPlan(record.id)) continue;
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
