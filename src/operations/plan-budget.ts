/** A plan's budget at the surface: what is refused, what a preview and a status tell of it. */
import { z } from "zod";
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import { BUDGET_UNITS, fundsKey, NOTHING_USED, plus, PlanBudget, type Amounts } from "../plan/budget.ts";
import { amountWords, unpricedWords } from "../plan/budget-words.ts";
import { changeBudget } from "../plan/change-budget.ts";
import type { PlanNode } from "../plan/node.ts";
import type { Budget, TaskSpec } from "../plan/records.ts";
import { budgetSchema, type BudgetInput } from "../plan/schema.ts";
import { CONSULTATION, roleFunds } from "../scheduler/plan-funds.ts";
import type { PlanSettings } from "../scheduler/settings.ts";
import { workflowOf } from "../scheduler/workflow-of.ts";

const amounts = z.object({ usd: z.number(), tokens: z.number(), minutes: z.number() });
const limits = z.object({
  usd: z.number().nullable(),
  tokens: z.number().nullable(),
  minutes: z.number().nullable(),
});

export const budgetStatusSchema = z.object({
  limits,
  /** What ended attempts and consultations are booked with. */
  used: amounts,
  /** What is set aside for those that run. */
  reserved: amounts,
});

export const budgetPreviewSchema = z.object({
  limits,
  /** What each attempt of a role is expected to use, which is set aside before it starts. */
  reserves: z.array(
    z.object({
      agent: z.string(),
      usd: z.number(),
      tokens: z.number(),
      minutes: z.number(),
      /** Of how many earlier attempts it is the mean; 0: a guess. */
      knownFrom: z.number(),
    }),
  ),
  /** Every step of every task once. */
  once: amounts,
});

export type BudgetPreview = z.infer<typeof budgetPreviewSchema>;

/** Null without a budget. */
export function budgetStatus({ budget }: PlanNode): z.infer<typeof budgetStatusSchema> | null {
  if (!budget.isBounded) return null;
  return { limits: { ...budget.limits }, used: { ...budget.spent }, reserved: { ...budget.reserved } };
}

/** Throws PRICE_UNKNOWN where a budget in money has a task whose model's price nobody knows. */
export function checkPrices(settings: PlanSettings, tasks: readonly TaskSpec[], budget: Budget): void {
  if (budget.usd === null) return;
  const funds = roleFunds(settings);
  for (const task of tasks) {
    for (const [agent, provider] of spendersOf(settings, task)) {
      const role = funds.get(fundsKey(agent, provider));
      if (role === undefined || role.isFree || role.isPriced) continue;
      throw new AppError(
        "PRICE_UNKNOWN",
        `the plan has a budget in US dollars, but for task "${task.id}" (agent ${agent}) ${unpricedWords(role)}; or bound it in \`tokens\` or \`minutes\` instead`,
        { details: { task: task.id, agent, provider: role.provider, model: role.model } },
      );
    }
  }
}

/** Each step's role with each provider that it may go to. */
function spendersOf(settings: PlanSettings, task: TaskSpec): [agent: string, provider: string][] {
  return workflowOf(settings, task).steps.flatMap(({ agent, provider, otherProviders = [] }) =>
    [provider, ...otherProviders].map((name): [string, string] => [agent, name]),
  );
}

/** Null without a budget. */
export function budgetPreview(
  app: App,
  settings: PlanSettings,
  tasks: readonly TaskSpec[],
  limitsOf: Budget,
): BudgetPreview | null {
  const { uses } = app.parts.board;
  const budget = new PlanBudget({ budget: limitsOf }, { roles: roleFunds(settings) });
  if (!budget.isBounded) return null;
  const reserves = new Map<string, BudgetPreview["reserves"][number]>();
  let once: Amounts = NOTHING_USED;
  for (const task of tasks) {
    for (const { agent, provider } of workflowOf(settings, task).steps) {
      const need = budget.need({ role: agent, provider, timeoutMinutes: task.timeoutMinutes }, uses);
      once = plus(once, need);
      const { count } = uses.expected(budget.fundsOf({ role: agent, provider }).useKey);
      if (!reserves.has(agent)) reserves.set(agent, { agent, ...need, knownFrom: count });
    }
  }
  return { limits: { ...limitsOf }, reserves: [...reserves.values()], once };
}

/** What people should know before it starts. */
export function budgetWarnings(preview: BudgetPreview | null, settings: PlanSettings): string[] {
  if (preview === null) return [];
  const warnings: string[] = [];
  const short = BUDGET_UNITS.filter((unit) => preview.once[unit] > (preview.limits[unit] ?? Infinity));
  if (short.length > 0) {
    const known = preview.reserves.every(({ knownFrom }) => knownFrom > 0) ? "" : ", some of it guessed";
    const expected = short.map((unit) => amountWords(unit, preview.once[unit])).join(" and ");
    warnings.push(
      `all steps once are expected to use ${expected}${known}: more than the budget, so some may wait for you to raise it`,
    );
  }
  // Empty where no agent CLI is installed: there is nobody to be asked, whatever the budget.
  const provider = settings.roles["orchestrator"]?.provider ?? "";
  const consulted = provider === "" ? undefined : roleFunds(settings).get(fundsKey(CONSULTATION, provider));
  const isConsulted = settings.questions.route.includes("orchestrator") && consulted !== undefined;
  if (isConsulted && preview.limits.usd !== null && !consulted.isPriced && !consulted.isFree) {
    warnings.push(`the orchestrator role is not asked for answers under this budget: ${unpricedWords(consulted)}`);
  }
  return warnings;
}

/** A budget with some of its bounds changed. */
export function changedBudget(budget: Budget, change: BudgetInput): Budget {
  const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  return { ...budget, ...given };
}

/**
 * The budget of a plan that is submitted again. A bound that the text gives otherwise than the last time counts; where it
 * says the same, or nothing more, the bound stays as it is: somebody may have raised it since (`edit`), or given it on
 * the command line, and neither is to be undone by who only joins the plan again.
 */
export function budgetAgain(app: App, planId: string, said: BudgetInput): Budget {
  const { budget } = app.parts.board.plan(planId).record;
  const before = budgetSaid(app, planId);
  const news = BUDGET_UNITS.filter((unit) => said[unit] !== undefined && said[unit] !== before[unit]);
  return { ...budget, ...Object.fromEntries(news.map((unit) => [unit, said[unit]])) };
}

/** Call inside a commit, with what `budgetAgain` was given. */
export function noteBudgetSaid(app: App, planId: string, said: BudgetInput): void {
  const { store } = app.parts;
  const text = textOf(app, planId);
  store.plans.update(planId, { text: JSON.stringify({ ...text, budget: { ...budgetSaid(app, planId), ...said } }) });
}

function budgetSaid(app: App, planId: string): BudgetInput {
  return budgetSchema.safeParse(textOf(app, planId)["budget"]).data ?? {};
}

/** What was submitted last. */
function textOf(app: App, planId: string): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).parse(JSON.parse(app.parts.store.plans.get(planId)?.text ?? "{}"));
}

/** Counts at once: who waited for it goes on. Call inside a commit. */
export function saveBudget(app: App, planId: string, budget: Budget): void {
  const { board, store, clock } = app.parts;
  changeBudget(board, planId, budget, clock.nowMs());
  store.plans.update(planId, { budget });
  const body = { type: "plan-budget", ...budget } as const;
  store.events.append({ planId, taskId: null, attemptId: null, body });
}
