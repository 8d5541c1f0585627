/** Budgets of a simulated life: what turns use, what people set, and what must be true of it (`src/plan/budget.ts`). */
import { bookedWith, BUDGET_UNITS, type BudgetUnit } from "../../src/plan/budget.ts";
import { changeBudget, reconsiderBudgets } from "../../src/plan/change-budget.ts";
import type { AttemptEnd } from "../../src/plan/outcomes.ts";
import { taskKey, type Budget, type PlanRecord, type TaskRecord } from "../../src/plan/records.ts";
import { stepOf } from "../../src/plan/workflow.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { asideIn, bookUse, learnUse, roomFor, usedBy } from "./budget-book.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { World } from "./simulated-world.ts";

const NO_BUDGET: Budget = { usd: null, tokens: null, minutes: null };

/** Of a plan that is made. */
export function budgetOf({ life }: World, random: SeededRandom): Budget {
  return life.without.includes("budgets") ? NO_BUDGET : randomBudget(random);
}

/** Enough for some attempts, so that most plans that have one come to its end. */
function randomBudget(random: SeededRandom): Budget {
  if (random.chance(0.75)) return NO_BUDGET;
  return {
    usd: random.chance(0.6) ? 1 + random.below(12) : null,
    tokens: random.chance(0.4) ? (1 + random.below(12)) * 1_000_000 : null,
    minutes: random.chance(0.4) ? 10 + random.below(90) : null,
  };
}

// --- turns -------------------------------------------------------------------------------------------------------------

/** The row of an attempt says what is set aside for it before its agent is there: a death in between books just that. */
export function openRow({ board, store }: World, task: TaskRecord): void {
  const booked = board.plan(task.planId).budget.reservedFor(task.id);
  store.rows.attempts.push({ task: taskKey(task), role: stepOf(task).agent, booked, told: null });
}

/** As the scheduler's `plan-funds.ts` has it: what was told, else what was set aside. In the transaction of the end. */
export function bookTurn({ account, board, random, store }: World, record: TaskRecord, end: AttemptEnd): void {
  const key = taskKey(record);
  const { attempts } = store.rows;
  const row = attempts.findLast(({ task }) => task === key);
  if (row === undefined) return;
  // It never began, so it has no row.
  if (end.type === "not-started") return void attempts.splice(attempts.lastIndexOf(row), 1);
  const some = (amount: number): number | null => (random.chance(0.75) ? amount : null);
  const told = {
    usd: some(random.below(150) / 100),
    tokens: some(random.below(1_500_000)),
    minutes: some(random.below(150) / 10),
  };
  const { budget } = board.plan(record.planId);
  row.booked = bookedWith(told, budget.reservedFor(record.id));
  budget.charge(row.booked);
  bookUse(account.book, key, told);
  if (end.type !== "succeeded" && end.type !== "asked") return;
  row.told = told;
  // In the order of the ends, as they are read back.
  attempts.push(...attempts.splice(attempts.lastIndexOf(row), 1));
  board.uses.note(row.role, told);
  learnUse(account.book, row.role, told);
}

/** What one used may leave room, and what it told changes what all of its role are expected to use. */
export function reconsider({ board, nowMs }: World): void {
  reconsiderBudgets(board, nowMs);
}

// --- people ------------------------------------------------------------------------------------------------------------

/** Types in what a task that has no room named. What is told as enough must be: somebody goes on. */
export function raiseBudget(world: World, planId: string, command: string): void {
  const before = world.written;
  const budget = { ...world.plan(planId).record.budget };
  for (const [, unit = "", amount = ""] of command.matchAll(/--budget (\w+)=([\d.]+)/g)) {
    budget[unit as BudgetUnit] = Number(amount);
  }
  giveBudget(world, planId, budget);
  if (world.written === before) throw new BrokenPromise("why", `"${command}" let nobody go on`);
  // Who is asked again and again has enough of it.
  if (world.isKind && world.random.chance(0.5)) giveBudget(world, planId, NO_BUDGET);
}

/** A person gives a plan another budget, or none. */
export function budgetIsEdited(world: World): void {
  const plan = world.random.choose(world.plans, ({ record }) => record.id);
  if (plan === undefined) return;
  world.open(plan.record.id);
  giveBudget(world, plan.record.id, randomBudget(world.random));
}

function giveBudget(world: World, planId: string, budget: Budget): void {
  world.note(() => `  the budget of ${planId} is ${JSON.stringify(budget)}`);
  world.commit({ type: "people" }, () => {
    changeBudget(world.board, planId, budget, world.nowMs);
    world.store.savePlan(world.plan(planId).record);
  });
}

// --- checks ------------------------------------------------------------------------------------------------------------

/** What is booked and set aside is what really was, each once, also over restarts. */
export function checkBudget({ account, board }: World, planId: string): void {
  const { spent, reserved } = board.plan(planId).budget;
  const used = usedBy(account.book, planId);
  const aside = asideIn(account.book, planId);
  for (const unit of BUDGET_UNITS) {
    const isUsed = isAbout(spent[unit], used[unit]);
    if (isUsed && isAbout(reserved[unit], aside[unit])) continue;
    const [words, told, real] = isUsed ? ["set aside", reserved, aside] : ["used", spent, used];
    throw new BrokenPromise("budget", `${told[unit]} ${unit} of ${planId} are told as ${words}, it is ${real[unit]}`);
  }
}

function isAbout(told: number, real: number): boolean {
  return Math.abs(told - real) <= 1e-6 * Math.max(1, real);
}

/** Nobody waits for a budget that has room: neither at once nor when those that run used less. */
export function checkBudgetWait({ account }: World, task: TaskRecord, { budget }: PlanRecord): void {
  if (task.wait?.code !== "budget" || roomFor(account.book, task, budget) === "over") return;
  throw new BrokenPromise("wakes", `${taskKey(task)} waits for a budget that has room for it`);
}

export function isStillWithoutRoom(world: World, task: TaskRecord): boolean {
  return task.state === "ready" && roomFor(world.account.book, task, world.planOf(task).record.budget) === "over";
}
