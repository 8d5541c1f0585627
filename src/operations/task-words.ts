/** Words for what is told of a task, the same for parents and in a terminal. Loads nothing. */
import type { TaskDetail } from "./task-status.ts";

/** "claude opus, else codex": as people read whom a task goes to. */
export function providersOf(
  step: { readonly provider: string; readonly otherProviders?: readonly string[] | undefined },
  model = "",
): string {
  return [`${step.provider}${model}`, ...(step.otherProviders ?? [])].join(", else ");
}

/** "5 attempts, 2 retries, 1 wait for a used-up account": what is more than none. */
export function spentText(spent: TaskDetail["spent"]): string {
  const named: readonly (readonly [number, string, string])[] = [
    [spent.attempts, "attempt", "attempts"],
    [spent.retries, "retry", "retries"],
    [spent.waits, "wait for a used-up account", "waits for a used-up account"],
    [spent.continuations, "continuation", "continuations"],
    [spent.freshSessions, "fresh session", "fresh sessions"],
    [spent.repairs, "repair", "repairs"],
    [spent.rounds, "round of review", "rounds of review"],
  ];
  const told = named.filter(([count]) => count > 0).map(([count, one, many]) => `${count} ${count === 1 ? one : many}`);
  return told.length === 0 ? "nothing yet" : told.join(", ");
}
