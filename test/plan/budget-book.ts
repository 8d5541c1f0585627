/** What plans used up and what is set aside, in the simulation's own words (`src/plan/budget.ts`): the board is not asked. */
import { BUDGET_UNITS, DEFAULT_USE, type Amounts, type BudgetUnit, type KnownAmounts } from "../../src/plan/budget.ts";
import { taskKey, type Budget, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { KEPT_USES } from "../../src/plan/use-table.ts";

/** Plain values, so that what was never committed can be taken back. */
export interface BudgetBook {
  used: Map<string, Amounts>;
  aside: Map<TaskKey, Amounts>;
  /** What the latest attempts of a role told, the last one last. */
  told: Map<string, Record<BudgetUnit, number[]>>;
}

const NOTHING: Amounts = { usd: 0, tokens: 0, minutes: 0 };

export function usedBy(book: BudgetBook, planId: string): Amounts {
  return book.used.get(planId) ?? NOTHING;
}

export function asideIn(book: BudgetBook, planId: string): Amounts {
  const own = [...book.aside].filter(([key]) => key.startsWith(`${planId}/`)).map(([, amounts]) => amounts);
  return own.reduce(plus, NOTHING);
}

/** "over": only a higher bound helps. "not-yet": what runs may use less than it has set aside. */
export function roomFor(book: BudgetBook, task: TaskRecord, limits: Budget): "fits" | "not-yet" | "over" {
  if (BUDGET_UNITS.every((unit) => limits[unit] === null)) return "fits";
  const need = needOf(book, task, limits);
  const used = usedBy(book, task.planId);
  const aside = asideIn(book, task.planId);
  const isBeyond = (unit: BudgetUnit, more: number): boolean => {
    const limit = limits[unit];
    return limit !== null && need[unit] > 0 && used[unit] + more + need[unit] > limit * (1 + 1e-9);
  };
  if (BUDGET_UNITS.some((unit) => isBeyond(unit, 0))) return "over";
  return BUDGET_UNITS.some((unit) => isBeyond(unit, aside[unit])) ? "not-yet" : "fits";
}

export function setAside(book: BudgetBook, task: TaskRecord, limits: Budget): void {
  book.aside.set(taskKey(task), needOf(book, task, limits));
}

/** Once: what was not told is what was set aside. */
export function bookUse(book: BudgetBook, key: TaskKey, told: KnownAmounts): void {
  const [planId = ""] = key.split("/");
  const aside = book.aside.get(key) ?? NOTHING;
  const { usd, tokens, minutes } = told;
  const used = { usd: usd ?? aside.usd, tokens: tokens ?? aside.tokens, minutes: minutes ?? aside.minutes };
  book.used.set(planId, plus(usedBy(book, planId), used));
}

export function learnUse(book: BudgetBook, role: string, told: KnownAmounts): void {
  const before = book.told.get(role);
  const lately = (unit: BudgetUnit): number[] => [...(before?.[unit] ?? []), told[unit] ?? []].flat().slice(-KEPT_USES);
  book.told.set(role, { usd: lately("usd"), tokens: lately("tokens"), minutes: lately("minutes") });
}

function needOf(book: BudgetBook, task: TaskRecord, limits: Budget): Amounts {
  const role = task.workflow.steps[task.step]?.agent ?? "";
  const used = usedBy(book, task.planId);
  const of = (unit: BudgetUnit): number => {
    const told = book.told.get(role)?.[unit] ?? [];
    if (told.length > 0) return told.reduce((sum, amount) => sum + amount, 0) / told.length;
    const limit = limits[unit] ?? Infinity;
    const left = limit - used[unit];
    // What two sums of the same cents differ by is not left.
    return left > 1e-9 * limit || limit === Infinity ? Math.min(left, DEFAULT_USE[unit]) : DEFAULT_USE[unit];
  };
  return { usd: of("usd"), tokens: of("tokens"), minutes: Math.min(of("minutes"), task.spec.timeoutMinutes) };
}

function plus(left: Amounts, right: Amounts): Amounts {
  return {
    usd: left.usd + right.usd,
    tokens: left.tokens + right.tokens,
    minutes: left.minutes + right.minutes,
  };
}
