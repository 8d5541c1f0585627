import type { TaskRecord } from "../plan/records.ts";
import { firstOf } from "../plan/tell.ts";
import type { Parts } from "./parts.ts";

/** The name of a task's folder: its own, or that of the first of the tasks that it continues. */
export function folderOf({ board }: Pick<Parts, "board">, task: TaskRecord): string {
  const { nodes } = board.plan(task.planId);
  return firstOf(task.spec, (id) => nodes.get(id)?.record.spec ?? null);
}
