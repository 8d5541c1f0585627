/** What a budget that changed means for those that wait for it. Pure over the board. */
import type { Board } from "./board.ts";
import { isFinal } from "./budget.ts";
import type { PlanNode } from "./node.ts";
import type { Budget } from "./records.ts";

/** The same in every plan: what an attempt used is what the next of its kind is expected to use. */
export function reconsiderBudgets(board: Board, nowMs: number): void {
  for (const plan of board.plans()) reconsiderBudget(board, plan, nowMs);
}

/**
 * Lets those go on that wait for a budget that has room now: it was raised, a price became known, or what is expected of
 * their like changed.
 */
export function reconsiderBudget(board: Board, plan: PlanNode, nowMs: number): void {
  if (plan.counts.waiting === 0) return;
  for (const node of plan.nodes.values()) {
    if (node.record.wait?.code !== "budget") continue;
    if (!isFinal(board.budgetVerdict(node, nowMs))) board.goOn(node);
  }
}

/** Gives a plan another budget; it counts at once. */
export function changeBudget(board: Board, planId: string, budget: Budget, nowMs: number): void {
  const plan = board.plan(planId);
  plan.record.budget = budget;
  reconsiderBudget(board, plan, nowMs);
}
