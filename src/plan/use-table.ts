/** What attempts used so far, as their CLIs told it: what the next of their like is expected to use. */
import type { BudgetUnit, KnownAmounts } from "./budget.ts";

/** Enough to even out one odd attempt, few enough to follow a role whose work changes. */
export const KEPT_USES = 20;

interface Uses {
  readonly usd: number[];
  readonly tokens: number[];
  readonly minutes: number[];
}

export interface ExpectedUse extends KnownAmounts {
  /** Of how many attempts it is the mean; 0: nothing is known. */
  readonly count: number;
}

export class UseTable {
  readonly #uses = new Map<string, Uses>();

  /** Notes what one attempt used; what it did not tell is left out. */
  note(key: string, told: KnownAmounts): void {
    let uses = this.#uses.get(key);
    if (uses === undefined) {
      uses = { usd: [], tokens: [], minutes: [] };
      this.#uses.set(key, uses);
    }
    for (const unit of ["usd", "tokens", "minutes"] as const) {
      const amount = told[unit];
      if (amount === null) continue;
      uses[unit].push(amount);
      if (uses[unit].length > KEPT_USES) uses[unit].shift();
    }
  }

  /** The mean of the latest attempts of a key. */
  expected(key: string): ExpectedUse {
    const uses = this.#uses.get(key);
    const mean = (unit: BudgetUnit): number | null => {
      const list = uses?.[unit] ?? [];
      return list.length === 0 ? null : list.reduce((sum, amount) => sum + amount, 0) / list.length;
    };
    const count = Math.max(0, ...Object.values(uses ?? {}).map((list: number[]) => list.length));
    return { usd: mean("usd"), tokens: mean("tokens"), minutes: mean("minutes"), count };
  }
}
