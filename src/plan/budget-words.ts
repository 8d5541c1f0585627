/** The words of a plan's budget: what was used, what is set aside, what the next attempt needs, and what clears it. */
import { BUDGET_UNITS, type Amounts, type BudgetUnit, type BudgetVerdict } from "./budget.ts";
import type { PlanNode, TaskNode } from "./node.ts";
import type { Budget } from "./records.ts";
import type { Wait } from "./task-state.ts";
import type { UseTable } from "./use-table.ts";
import { stepOf } from "./workflow.ts";

/** The wait of a task that its plan's budget has no room for. */
export function budgetWait(node: TaskNode, verdict: Exclude<BudgetVerdict, { type: "fits" }>, uses: UseTable): Wait {
  if (verdict.type === "unpriced") {
    const { provider } = verdict.funds;
    return {
      code: "budget",
      message: `the plan's budget is in money, and ${unpricedWords(verdict.funds)}`,
      command: `orchestrator config set providers.${provider}.prices '{"${verdict.funds.model ?? "*"}":{"input":…,"output":…}}'`,
      untilMs: null,
    };
  }
  const message = `${needWords(node, verdict, uses)}; ${leftWords(node.plan, verdict.units)}`;
  const command = verdict.type === "over" ? raiseCommand(node.plan, verdict.need, verdict.units) : null;
  return { code: "budget", message, command, untilMs: null };
}

export function unpricedWords({ provider, model }: { provider: string; model: string | null }): string {
  const what = model === null ? `${provider}'s own choice of a model` : `${model} on ${provider}`;
  return `nobody knows what ${what} costs: add providers.${provider}.prices to the config (${JSON.stringify(model ?? "*")}: US dollars for a million input and output tokens)`;
}

type NoRoom = Extract<BudgetVerdict, { type: "over" | "not-yet" }>;

/** "coder is expected to use 0.80 USD (the mean of its last 7 attempts)". */
function needWords({ record }: TaskNode, { need, units, funds }: NoRoom, uses: UseTable): string {
  const { agent } = stepOf(record);
  const { count } = uses.expected(funds.useKey);
  const amounts = units.map((unit) => amountWords(unit, need[unit])).join(" and ");
  return `its next attempt (${agent}) is expected to use ${amounts} (${basisWords(count)})`;
}

function basisWords(count: number): string {
  return count === 0
    ? "a guess: none of its kind has ended yet"
    : `the mean of the last ${count === 1 ? "one" : count} of its kind`;
}

/** "of the plan's budget of 5.00 USD 4.70 are used and 0.10 set aside for what runs". */
function leftWords(plan: PlanNode, units: readonly BudgetUnit[]): string {
  const { limits, spent, reserved } = plan.budget;
  return units
    .map((unit) => {
      const aside = reserved[unit] === 0 ? "" : ` and ${numberWords(unit, reserved[unit])} set aside for what runs`;
      return `of the plan's budget of ${amountWords(unit, limits[unit] ?? 0)} ${numberWords(unit, spent[unit])} are used${aside}`;
    })
    .join("; ");
}

/** A budget that has room for one more such attempt. */
function raiseCommand(plan: PlanNode, need: Amounts, units: readonly BudgetUnit[]): string {
  const { spent, reserved } = plan.budget;
  const raised = units.map((unit) => `${unit}=${roundedUp(unit, spent[unit] + reserved[unit] + need[unit])}`);
  return `orchestrator edit ${plan.record.id} ${raised.map((one) => `--budget ${one}`).join(" ")}`;
}

/** Cents, thousands of tokens and whole minutes are fine enough to think in. */
function roundedUp(unit: BudgetUnit, amount: number): number {
  const step = { usd: 0.01, tokens: 1_000, minutes: 1 }[unit];
  const steps = Math.ceil(amount / step - 1e-6);
  return unit === "usd" ? Number((steps / 100).toFixed(2)) : steps * step;
}

export function amountWords(unit: BudgetUnit, amount: number): string {
  return `${numberWords(unit, amount)} ${unit === "usd" ? "USD" : unit}`;
}

function numberWords(unit: BudgetUnit, amount: number): string {
  switch (unit) {
    case "usd":
      return amount > 0 && amount < 0.1 ? String(Number(amount.toPrecision(2))) : amount.toFixed(2);
    case "tokens":
      return Math.round(amount).toLocaleString("en");
    case "minutes":
      return String(Number(amount.toFixed(amount < 1 ? 2 : 1)));
  }
}

/** "2 of 5 USD used, 1 USD set aside": for a plan's line; null without a budget. */
export function standingWords(budget: { limits: Budget; spent: Amounts; reserved: Amounts }): string | null {
  const words = BUDGET_UNITS.flatMap((unit) => {
    const limit = budget.limits[unit];
    if (limit === null) return [];
    const aside = budget.reserved[unit] === 0 ? "" : ` (${numberWords(unit, budget.reserved[unit])} more set aside)`;
    return [`${numberWords(unit, budget.spent[unit])} of ${amountWords(unit, limit)}${aside}`];
  });
  return words.length === 0 ? null : words.join(", ");
}

export interface BudgetForecast {
  readonly limits: Budget;
  readonly reserves: readonly (Amounts & { readonly agent: string; readonly knownFrom: number })[];
  readonly once: Amounts;
}

/** Lines that tell of a plan that has not started what it may use. */
export function forecastLines({ limits, reserves, once }: BudgetForecast): string[] {
  const units = BUDGET_UNITS.filter((unit) => limits[unit] !== null);
  const words = (of: Readonly<Record<BudgetUnit, number | null>>): string =>
    units.map((unit) => amountWords(unit, of[unit] ?? 0)).join(", ");
  return [
    `budget: ${words(limits)}; every step once is expected to use ${words(once)}`,
    ...reserves.map((use) => `  set aside for each ${use.agent}: ${words(use)} (${basisWords(use.knownFrom)})`),
  ];
}
