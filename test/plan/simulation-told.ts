/** What the board tells of slots, claims, waits and plans, held against what really is. */
import { standingOf } from "../../src/plan/explain.ts";
import type { AttemptEnd } from "../../src/plan/outcomes.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded } from "../../src/plan/task-state.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { shareAFile } from "./claim-book.ts";
import type { SimulatedPlan, World } from "./simulated-world.ts";

/** Now and then, after a look. */
export function checkTold(world: World): void {
  checkSlots(world);
  checkHolders(world);
  for (const plan of world.plans) if (world.board.hasPlan(plan.record.id)) checkStanding(world, plan);
}

/** Who waits has no slot, and whoever ended gave it back: of the engine, of its plan and of its provider. */
function checkSlots({ account, board, plans }: World): void {
  const pairs: [string, number, number][] = [["the engine", board.runningCount, account.book.running.size]];
  for (const { name } of board.providers()) pairs.push([name, board.runningOf(name), account.runningOf(name)]);
  for (const { record } of plans) {
    if (board.hasPlan(record.id)) pairs.push([record.id, board.plan(record.id).running, account.runningIn(record.id)]);
  }
  for (const [whose, told, real] of pairs) {
    if (told !== real) throw new BrokenPromise("slots", `${told} slots of ${whose} are taken, and ${real} agents run`);
  }
}

/** Claims are held by those who have them and by nobody else, and no two that overlap are at work together. */
function checkHolders({ account, board, plans }: World): void {
  const { holders, running } = account.book;
  for (const target of new Set(plans.map(({ record }) => record.target))) {
    const real = [...holders].filter(([, claim]) => claim.target === target && claim.writes.length > 0);
    const told = board.claims.holders(target).map(({ record }) => taskKey(record));
    if (namesOf(told) !== namesOf(real.map(([key]) => key))) {
      const words = `claims on ${target} are told to be those of ${namesOf(told)}`;
      throw new BrokenPromise("claims", `${words}, and are those of ${namesOf(real.map(([key]) => key))}`);
    }
    const atWork = real.filter(([key]) => running.has(key));
    for (const [index, [key, { writes }]] of atWork.entries()) {
      const other = atWork.slice(index + 1).find(([, claim]) => shareAFile(claim.writes, writes));
      if (other !== undefined) throw new BrokenPromise("claims", `${key} and ${other[0]} run together`);
    }
  }
  for (const key of running.keys()) {
    if (!holders.has(key)) throw new BrokenPromise("claims", `${key} runs without its claims`);
  }
}

function namesOf(keys: readonly TaskKey[]): string {
  return keys.toSorted().join(", ");
}

/** An exit code comes from this: what moves is not told as done or as a person's to move, nor the other way round. */
function checkStanding({ board }: World, { record, tasks }: SimulatedPlan): void {
  const { state } = standingOf(board.plan(record.id));
  const isDone = tasks.every((task) => task.state === "succeeded" || task.state === "skipped");
  const isOver = tasks.every((task) => isEnded(task.state) || task.state === "blocked");
  const moving = tasks.find((task) => task.state === "running" || (!record.paused && isMovingByItself(task)));
  const isTrue = {
    succeeded: isDone,
    failed: isOver && !isDone,
    "needs-person": !isOver && moving === undefined,
    running: !isOver,
  };
  if (isTrue[state]) return;
  const words = isOver ? (isDone ? "all is done" : "all is over") : `${moving?.id ?? "nothing"} moves`;
  throw new BrokenPromise("standing", `${record.id} is told as ${state}, but ${words}`);
}

function isMovingByItself({ state, wait }: TaskRecord): boolean {
  return state === "ready" || state === "merging" || (state === "waiting" && wait?.untilMs != null);
}

/** Longest bound of the waits before another try, for the first retry and at all. */
const FIRST_BOUND_MS = 5_000;
const LAST_BOUND_MS = 300_000;

/** Before another try anything up to a bound that doubles, and never less than the provider asked for. */
export function checkWaitAfter(
  { account, nowMs }: World,
  { wait, provider, planId, id }: TaskRecord,
  end: AttemptEnd,
): void {
  if (end.type !== "failed" || wait === null || wait.untilMs === null) return;
  const key = taskKey({ planId, id });
  if (wait.code === "backoff") {
    const boundMs = Math.min(LAST_BOUND_MS, FIRST_BOUND_MS * 2 ** (account.spentBy(key).retries - 1));
    const leastMs = nowMs + (end.retryAfterMs ?? 0);
    if (wait.untilMs >= leastMs && wait.untilMs <= Math.max(leastMs, nowMs + boundMs)) return;
    throw new BrokenPromise(
      "back-off",
      `${key} waits ${wait.untilMs - nowMs} ms, at most ${boundMs} or as it was told`,
    );
  }
  if (wait.code !== "usage-limit") return;
  const parkedUntilMs = account.book.health.get(provider)?.parkedUntilMs ?? null;
  if (wait.untilMs === parkedUntilMs) return;
  throw new BrokenPromise(
    "timers",
    `${key} waits until ${wait.untilMs}, and ${provider} is parked until ${parkedUntilMs}`,
  );
}
