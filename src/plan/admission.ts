/**
 * What keeps every ready task of a plan and a list of providers from starting, beside the engine's own slots. The board asks
 * before it takes a task, `explain.ts` tells people: a limit added here needs its words there.
 */
import type { PlanNode } from "./node.ts";
import { chooseProvider } from "./provider-choice.ts";
import type { ProviderTable } from "./provider-table.ts";

export type Obstacle =
  | { readonly type: "plan-paused" }
  /** Each provider's circuit is open or its account used up; also while another task is its probe. */
  | { readonly type: "provider-gate" }
  | { readonly type: "plan-slots"; readonly limit: number }
  | { readonly type: "provider-slots"; readonly provider: string; readonly limit: number };

/** Answers the first thing that is in the way; null when tasks may start. `candidates`: in the order of preference. */
export function obstacleFor(
  plan: PlanNode,
  candidates: readonly string[],
  providers: ProviderTable,
  limits: ReadonlyMap<string, number>,
  nowMs: number,
): Obstacle | null {
  if (plan.record.paused) return { type: "plan-paused" };
  const provider = chooseProvider(candidates, providers, nowMs);
  if (provider === null) return { type: "provider-gate" };
  const { maxConcurrent } = plan.record;
  if (plan.running >= maxConcurrent) return { type: "plan-slots", limit: maxConcurrent };
  const limit = limits.get(provider) ?? Infinity;
  if (providers.runningOf(provider) >= limit) return { type: "provider-slots", provider, limit };
  return null;
}
