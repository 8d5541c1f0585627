/**
 * What keeps a ready task from starting for now, beside the engine's own slots. The board asks before it takes a task,
 * `explain.ts` tells people: a limit added here needs its words there. What only a person can clear is no obstacle but a
 * wait (`budget-words.ts`), for nothing here ever wakes anybody.
 */
import type { Amounts, BudgetUnit, BudgetVerdict } from "./budget.ts";
import type { TaskNode } from "./node.ts";
import type { ProviderTable } from "./provider-table.ts";

export type Obstacle =
  /** The machine lacks something that every start needs. */
  | { readonly type: "machine"; readonly message: string }
  | { readonly type: "plan-paused" }
  /**
   * Each provider's circuit is open or its account used up, also while another task is its probe; or the budget has no
   * room for those that are well, and has for one that is not.
   */
  | { readonly type: "provider-gate" }
  | { readonly type: "plan-slots"; readonly limit: number }
  | { readonly type: "provider-slots"; readonly provider: string; readonly limit: number }
  /** It would go over the plan's budget while so much is set aside for those that run. */
  | { readonly type: "budget"; readonly need: Amounts; readonly units: readonly BudgetUnit[] };

/** The provider that a task would have now, and what its plan's budget says to that. */
export interface Choice {
  /** Null: none lets it through. */
  readonly provider: string | null;
  readonly budget: BudgetVerdict;
}

/** Answers the first thing that is in the way; null when the task may start. */
export function obstacleFor(
  { plan }: TaskNode,
  { provider, budget }: Choice,
  providers: ProviderTable,
  limits: ReadonlyMap<string, number>,
): Obstacle | null {
  if (plan.record.paused) return { type: "plan-paused" };
  if (provider === null) return { type: "provider-gate" };
  const { maxConcurrent } = plan.record;
  if (plan.running >= maxConcurrent) return { type: "plan-slots", limit: maxConcurrent };
  const limit = limits.get(provider) ?? Infinity;
  if (providers.runningOf(provider) >= limit) return { type: "provider-slots", provider, limit };
  if (budget.type === "not-yet") return { type: "budget", need: budget.need, units: budget.units };
  return null;
}
