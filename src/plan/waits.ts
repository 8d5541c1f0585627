/** The waits that the core itself makes, in the words that people read. Those of failures are made in `outcomes.ts`. */
import type { PlanNode, TaskNode } from "./node.ts";
import { taskKey } from "./records.ts";
import { needsPerson, type Wait, type WaitCode } from "./task-state.ts";

export function pausedWait(node: TaskNode): Wait {
  const command = `orchestrator resume ${taskKey(node.record)}`;
  return { code: "paused", message: "paused by the operator", command, untilMs: null };
}

export function lockWait(node: TaskNode, blocker: TaskNode): Wait {
  const holder = taskKey(blocker.record);
  const held = blocker.record.holdsClaims ? "holds" : "waited earlier for";
  return {
    code: "lock",
    message: `${holder} ${held} a write claim that overlaps ${node.record.spec.writes?.join(", ") ?? ""}`,
    command: null,
    untilMs: null,
  };
}

/** Counts a wait in or out of those of its plan that end without a person. */
export function countWait(plan: PlanNode, wait: Wait | null, difference: 1 | -1): void {
  if (wait === null || needsPerson(wait.code)) return;
  plan.movingWaits += difference;
  if (wait.code === "lock") plan.lockWaits += difference;
}

/** What ends by time alone. A question's end is only when it is given up. */
const ENDS_BY_TIME: ReadonlySet<string> = new Set<WaitCode>(["usage-limit", "circuit-open", "backoff"]);

export function endsByTime(code: string | null): boolean {
  return code !== null && ENDS_BY_TIME.has(code);
}

/** "usage-limit until 2026-01-01T12:00:00.000Z": what is waited for in one line; null where no time says more. */
export function timeWords(code: string | null, untilMs: number | null, message: string): string | null {
  if (untilMs === null || !endsByTime(code)) return null;
  const until = new Date(untilMs).toISOString();
  return message.includes(until) ? null : `${code} until ${until}`;
}
