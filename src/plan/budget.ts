/**
 * What a plan may use up, and what it has: money, tokens, minutes, each bounded by itself or not at all.
 *
 * Always true: an attempt starts only while what was used, what is set aside for those that run, and what it is itself
 * expected to use are together within every bound; what it is expected to use is set aside in the same step that gives
 * it its slot, and given back with the slot. What an attempt is booked with is what its CLI told; where that was never
 * told (it was killed, the engine died) it is what was set aside for it. So an estimate that is too low can pass a bound
 * by what runs already, and never by anything that starts afterwards.
 *
 * Never: it ends nothing that runs (`headroom` is for whoever fences a turn), and it reads no store and no prices.
 */
import type { Budget, PlanRecord } from "./records.ts";
import type { UseTable } from "./use-table.ts";

export const BUDGET_UNITS = ["usd", "tokens", "minutes"] as const;
export type BudgetUnit = (typeof BUDGET_UNITS)[number];

/**
 * `usd`: US dollars · `tokens`: all that went in, from a cache too, and all that came out · `minutes`: from the start of
 * an agent's process to its end; two at once count twice.
 */
export type Amounts = Readonly<Record<BudgetUnit, number>>;
/** Null: not known. */
export type KnownAmounts = Readonly<Record<BudgetUnit, number | null>>;

export const NOTHING_USED: Amounts = { usd: 0, tokens: 0, minutes: 0 };

/**
 * What is set aside for an attempt whose like has not ended yet: a small change by a coding agent, seen from above. Where
 * less is left of the plan's budget, that is what is set aside: then it runs alone, and the next one is known better.
 */
export const DEFAULT_USE: Amounts = { usd: 1, tokens: 1_000_000, minutes: 10 };

/** What the attempts of a role mean for a budget. */
export interface RoleFunds {
  /** Attempts of one key are alike: the same role on the same provider with the same model. */
  readonly useKey: string;
  readonly provider: string;
  readonly model: string | null;
  /** A command: it costs no money and no tokens, only time. */
  readonly isFree: boolean;
  /** Whether what it uses can be told in money. */
  readonly isPriced: boolean;
}

/** Under which name a role's funds with a provider are given. */
export function fundsKey(role: string, provider: string): string {
  return `${role}\n${provider}`;
}

/** Where nothing is said of a role. */
function plainFunds(role: string, provider: string): RoleFunds {
  return { useKey: role, provider, model: null, isFree: false, isPriced: true };
}

/** Who wants to start. */
export interface Spender {
  readonly role: string;
  readonly provider: string;
  /** No attempt runs longer. */
  readonly timeoutMinutes: number;
}

export type BudgetVerdict =
  | { readonly type: "fits"; readonly need: Amounts; readonly funds: RoleFunds }
  /** It fits once enough of what is set aside for others turned out not to be used. */
  | {
      readonly type: "not-yet";
      readonly need: Amounts;
      readonly funds: RoleFunds;
      readonly units: readonly BudgetUnit[];
    }
  /** It does not fit even if what runs used nothing more: only a higher bound helps. */
  | { readonly type: "over"; readonly need: Amounts; readonly funds: RoleFunds; readonly units: readonly BudgetUnit[] }
  /** There is a bound in money, and nobody knows what its model costs. */
  | { readonly type: "unpriced"; readonly funds: RoleFunds };

/** Whether only a person can clear it. */
export function isFinal(verdict: BudgetVerdict): verdict is Extract<BudgetVerdict, { type: "over" | "unpriced" }> {
  return verdict.type === "over" || verdict.type === "unpriced";
}

/** What a plan that is put on the board brings along. */
export interface PlanFunds {
  /** Booked so far, by earlier engines too. */
  readonly spent: Amounts;
  /** By `fundsKey`. */
  readonly roles: ReadonlyMap<string, RoleFunds>;
  /** What is under way outside the board's slots (consultations), by name. */
  readonly reserved: ReadonlyMap<string, Amounts>;
}

export class PlanBudget {
  readonly #record: Pick<PlanRecord, "budget">;
  #roles: ReadonlyMap<string, RoleFunds>;
  #spent: Amounts;
  readonly #reserved: Map<string, Amounts>;

  constructor(record: Pick<PlanRecord, "budget">, funds: Partial<PlanFunds> = {}) {
    this.#record = record;
    this.#roles = funds.roles ?? new Map();
    this.#spent = funds.spent ?? NOTHING_USED;
    this.#reserved = new Map(funds.reserved);
  }

  get limits(): Budget {
    return this.#record.budget;
  }

  get isBounded(): boolean {
    return BUDGET_UNITS.some((unit) => this.limits[unit] !== null);
  }

  /** What all ended attempts and consultations are booked with. */
  get spent(): Amounts {
    return this.#spent;
  }

  /** What is set aside for those that run. */
  get reserved(): Amounts {
    return [...this.#reserved.values()].reduce(plus, NOTHING_USED);
  }

  /** Prices may come and go while a plan runs. */
  set roles(roles: ReadonlyMap<string, RoleFunds>) {
    this.#roles = roles;
  }

  fundsOf({ role, provider }: Pick<Spender, "role" | "provider">): RoleFunds {
    return this.#roles.get(fundsKey(role, provider)) ?? plainFunds(role, provider);
  }

  /** Whether an attempt may start now, and what is to be set aside for it. */
  verdict(spender: Spender, uses: UseTable): BudgetVerdict {
    const funds = this.fundsOf(spender);
    const { limits } = this;
    if (limits.usd !== null && !funds.isPriced && !funds.isFree) return { type: "unpriced", funds };
    const need = this.need(spender, uses);
    const over = this.#unitsBeyond(need, NOTHING_USED);
    if (over.length > 0) return { type: "over", need, funds, units: over };
    const notYet = this.#unitsBeyond(need, this.reserved);
    return notYet.length > 0 ? { type: "not-yet", need, funds, units: notYet } : { type: "fits", need, funds };
  }

  /** What an attempt is expected to use: the mean of what its like used before, or a guess within what is left. */
  need(spender: Spender, uses: UseTable): Amounts {
    const { timeoutMinutes } = spender;
    const funds = this.fundsOf(spender);
    const known = uses.expected(funds.useKey);
    const of = (unit: BudgetUnit): number => {
      if (funds.isFree && unit !== "minutes") return 0;
      if (!funds.isPriced && unit === "usd") return 0;
      const mean = known[unit];
      if (mean !== null) return mean;
      const limit = this.limits[unit];
      if (limit === null || this.#spent[unit] * ROUNDING >= limit) return DEFAULT_USE[unit];
      return Math.min(DEFAULT_USE[unit], limit - this.#spent[unit]);
    };
    return { usd: of("usd"), tokens: of("tokens"), minutes: Math.min(of("minutes"), timeoutMinutes) };
  }

  #unitsBeyond(need: Amounts, reserved: Amounts): BudgetUnit[] {
    return BUDGET_UNITS.filter((unit) => {
      const limit = this.limits[unit];
      // What uses nothing of a unit is no matter to its bound, also where that is passed already.
      if (limit === null || need[unit] === 0) return false;
      return this.#spent[unit] + reserved[unit] + need[unit] > limit * ROUNDING;
    });
  }

  /** Sets aside what an attempt (by its task's id) or a consultation is expected to use. */
  reserve(name: string, amounts: Amounts): void {
    this.#reserved.set(name, amounts);
  }

  /** What is set aside for it now; nothing when nothing is. */
  reservedFor(name: string): Amounts {
    return this.#reserved.get(name) ?? NOTHING_USED;
  }

  /** Gives back what was set aside. */
  release(name: string): void {
    this.#reserved.delete(name);
  }

  /** Books what an attempt or a consultation used. */
  charge(amounts: Amounts): void {
    this.#spent = plus(this.#spent, amounts);
  }

  /** Bounds that were passed by what nobody could foresee. */
  get passed(): readonly BudgetUnit[] {
    return BUDGET_UNITS.filter((unit) => this.#spent[unit] > (this.limits[unit] ?? Infinity) * ROUNDING);
  }

  /** What one that runs may use at most before a bound is passed, its own reservation included; null: no bound. */
  headroom(name: string): KnownAmounts {
    const others = minus(this.reserved, this.reservedFor(name));
    const left = (unit: BudgetUnit): number | null => {
      const limit = this.limits[unit];
      return limit === null ? null : Math.max(0, limit - this.#spent[unit] - others[unit]);
    };
    return { usd: left("usd"), tokens: left("tokens"), minutes: left("minutes") };
  }
}

/** Sums of cents differ in their last binary digit: what lies between two of them is neither room nor passed. */
const ROUNDING = 1 + 1e-9;

/** What an attempt is booked with: what was told of it, else what was set aside for it. */
export function bookedWith(told: KnownAmounts, reserved: Amounts): Amounts {
  return {
    usd: told.usd ?? reserved.usd,
    tokens: told.tokens ?? reserved.tokens,
    minutes: told.minutes ?? reserved.minutes,
  };
}

export function plus(left: Amounts, right: Amounts): Amounts {
  return {
    usd: left.usd + right.usd,
    tokens: left.tokens + right.tokens,
    minutes: left.minutes + right.minutes,
  };
}

function minus(left: Amounts, right: Amounts): Amounts {
  return plus(left, { usd: -right.usd, tokens: -right.tokens, minutes: -right.minutes });
}
