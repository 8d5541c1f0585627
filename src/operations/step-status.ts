/** Where a task is in its workflow, for people and parents. */
import type { App } from "../app.ts";
import type { TaskRecord } from "../plan/records.ts";
import { isEnded } from "../plan/task-state.ts";
import { describeStep } from "../plan/workflow.ts";
import { verdictsIn } from "../scheduler/review.ts";

/** Nothing for a task of one step, or where nothing is to be said yet. */
export function stepStatus(app: App, record: TaskRecord): { readonly step?: string; readonly rejects?: number } {
  const step = describeStep(record);
  if (step === null || record.ledger.attempts === 0) return {};
  const attempts = app.parts.store.attempts.listByTask(record.planId, record.id);
  const rejects = verdictsIn(attempts).filter(({ verdict }) => verdict === "reject").length;
  return { ...(isEnded(record.state) ? {} : { step }), ...(rejects === 0 ? {} : { rejects }) };
}
