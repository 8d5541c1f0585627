import type { TaskRecord } from "../plan/records.ts";
import { firstOf } from "../plan/tell.ts";
import type { Parts } from "./parts.ts";

/** The name of a task's folder: its own, or that of the first of the tasks that it continues. */
export function folderOf({ store }: Pick<Parts, "store">, { planId, spec }: TaskRecord): string {
  return firstOf(spec, (id) => store.tasks.get(planId, id)?.spec ?? null);
}
