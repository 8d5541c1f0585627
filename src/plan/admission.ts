/**
 * What keeps every ready task of a plan and a provider from starting, beside the engine's own slots. The board asks
 * before it takes a task, `explain.ts` tells people: a limit added here needs its words there.
 */
import type { PlanNode } from "./node.ts";
import type { ProviderTable } from "./provider-table.ts";

export type Obstacle =
  | { readonly type: "plan-paused" }
  /** The provider's circuit is open or its account used up; also while another task is its probe. */
  | { readonly type: "provider-gate" }
  | { readonly type: "plan-slots"; readonly limit: number }
  | { readonly type: "provider-slots"; readonly limit: number };

/** Answers the first thing that is in the way; null when tasks may start. */
export function obstacleFor(
  plan: PlanNode,
  provider: string,
  providers: ProviderTable,
  providerLimit: number,
  nowMs: number,
): Obstacle | null {
  if (plan.record.paused) return { type: "plan-paused" };
  const gate = providers.gate(provider, nowMs);
  if (gate.state === "shut") return { type: "provider-gate" };
  if (gate.state === "one-probe" && providers.probeOf(provider) !== null) return { type: "provider-gate" };
  const { maxConcurrent } = plan.record;
  if (plan.running >= maxConcurrent) return { type: "plan-slots", limit: maxConcurrent };
  if (providers.runningOf(provider) >= providerLimit) return { type: "provider-slots", limit: providerLimit };
  return null;
}
