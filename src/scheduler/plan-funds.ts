/** What plans are told of money: their roles' prices, and what was booked so far. */
import {
  bookedWith,
  fundsKey,
  NOTHING_USED,
  type Amounts,
  type BudgetUnit,
  type PlanBudget,
  type PlanFunds,
  type RoleFunds,
} from "../plan/budget.ts";
import { amountWords, standingWords } from "../plan/budget-words.ts";
import { costOfTokens, priceOf, type Price } from "../plan/prices.ts";
import type { TokenUsage, TurnEnd } from "../agents/backend.ts";
import type { Store } from "../store/store.ts";
import type { Parts } from "./parts.ts";
import { modelFor, type PlanSettings, type ProviderSettings } from "./settings.ts";

/** A turn of the orchestrator role for questions; no role can have such a name. */
export const CONSULTATION = "orchestrator, asked";

/** How many attempts are looked at to learn what each role uses. */
const LEARNED_FROM = 2_000;

export function fundsOf(parts: Parts, planId: string): PlanFunds {
  const { store } = parts;
  const open = store.consultations.listOpen().filter((row) => row.planId === planId);
  return {
    spent: store.attempts.bookedOf(planId),
    roles: roleFunds(parts.settingsOf(planId)),
    reserved: new Map(open.map(({ id, booked }) => [id, booked])),
  };
}

/** By role and provider; the consultations of the orchestrator role apart from its other work. */
export function roleFunds(settings: PlanSettings): Map<string, RoleFunds> {
  const funds = new Map<string, RoleFunds>();
  for (const role of Object.values(settings.roles)) {
    for (const provider of [role.provider, ...(role.otherProviders ?? [])]) {
      const model = modelFor(settings, role, provider);
      const provides = settings.providers[provider];
      const isFree = provides?.kind === "command";
      const isPriced = provides?.kind === "claude" || priceFor(provides, model) !== null;
      const facts = { provider, model, isFree, isPriced };
      funds.set(fundsKey(role.name, provider), { ...facts, useKey: useKeyOf(role.name, provider, model) });
      if (role.name !== "orchestrator") continue;
      funds.set(fundsKey(CONSULTATION, provider), { ...facts, useKey: useKeyOf(CONSULTATION, provider, model) });
    }
  }
  return funds;
}

function useKeyOf(role: string, provider: string, model: string | null): string {
  return `${role}\n${provider}\n${model ?? ""}`;
}

function priceFor(provider: ProviderSettings | undefined, model: string | null): Price | null {
  return priceOf(provider?.prices ?? {}, model);
}

/** What earlier engines saw attempts use. */
export function learnUses({ board, store }: { readonly board: Parts["board"]; readonly store: Store }): void {
  for (const { role, provider, model, told } of store.attempts.latestUses(LEARNED_FROM)) {
    board.uses.note(useKeyOf(role, provider, model), told);
  }
}

export interface UsedTurn {
  readonly planId: string;
  /** Under which its use was set aside: the task's id, or the consultation's. */
  readonly name: string;
  /** The role, or CONSULTATION. */
  readonly role: string;
  readonly provider: ProviderSettings;
  readonly model: string | null;
  readonly turnEnd: Pick<TurnEnd, "usage" | "costUsd">;
  /** Null: its process was never there. */
  readonly runningMs: number | null;
  /** Whether it came to an end that says what its like use. */
  readonly isTelling: boolean;
}

export interface Booked {
  readonly costUsd: number | null;
  readonly booked: Amounts;
  /** For people: it used so much more than was set aside for it that the plan is over its budget. */
  readonly overrun: string | null;
}

/** Books what a turn used in the place of what was set aside for it; answers what its row is to say. Call inside the transaction of its end. */
export function bookTurn({ board }: Parts, used: UsedTurn): Booked {
  const costUsd = costOf(used);
  if (!board.hasPlan(used.planId)) return { costUsd, booked: NOTHING_USED, overrun: null };
  const plan = board.plan(used.planId);
  if (used.runningMs === null) return { costUsd, booked: NOTHING_USED, overrun: null };
  const { isFree, useKey } = plan.budget.fundsOf({ role: used.role, provider: used.provider.name });
  const told = {
    usd: isFree ? 0 : costUsd,
    tokens: isFree ? 0 : tokensOf(used.turnEnd.usage),
    minutes: used.runningMs / 60_000,
  };
  const reserved = plan.budget.reservedFor(used.name);
  const booked = bookedWith(told, reserved);
  plan.budget.charge(booked);
  // Both at once: nobody reads that it is used and set aside as well.
  plan.budget.release(used.name);
  const beyond = plan.budget.passed.filter((unit) => booked[unit] > reserved[unit]);
  if (used.isTelling || (used.turnEnd.usage?.outputTokens ?? 0) > 0) board.uses.note(useKey, told);
  return { costUsd, booked, overrun: beyond.length === 0 ? null : overrunWords(plan.budget, beyond, booked, reserved) };
}

function overrunWords(budget: PlanBudget, units: readonly BudgetUnit[], booked: Amounts, reserved: Amounts): string {
  const used = units.map(
    (unit) => `${amountWords(unit, booked[unit])} (${amountWords(unit, reserved[unit])} set aside)`,
  );
  return `used ${used.join(", ")}: the plan is over its budget, ${standingWords(budget) ?? ""}`;
}

/** A price of the config comes before what the CLI says: who sets one knows better. */
function costOf({ provider, model, turnEnd: { usage, costUsd } }: UsedTurn): number | null {
  const price = priceFor(provider, model);
  return price === null || usage === null ? costUsd : costOfTokens(usage, price);
}

function tokensOf(usage: TokenUsage | null): number | null {
  return usage === null ? null : usage.inputTokens + usage.outputTokens;
}
