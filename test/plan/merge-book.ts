/** What may land, in the simulation's own words: work that waits for a person's word lands only as it was let through. */
import { taskKey, type Consent, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";

export interface MergeBook {
  /** Tasks whose work, as it is, a person has let through, and the most that they said. */
  letThrough: Map<TaskKey, Consent>;
}

/** What is wrong with merging it now; null: nothing. */
export function whatForbidsMerge({ letThrough }: MergeBook, task: TaskRecord): string | null {
  const { merge } = task.spec;
  if (merge === "none") return "though it is never to be";
  const said = letThrough.get(taskKey(task));
  if (merge === "manual" && said === undefined) return "and nobody has asked for that";
  return task.consent === "approve" && said !== "approve"
    ? "as approved, and nobody has approved its work as it is"
    : null;
}
