import { crashPoint } from "../crash-point.ts";
import { messageOf } from "../errors.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";
import { folderOf } from "./task-folder.ts";
import { tryAgain } from "./try-again.ts";

/**
 * Gives the worktree of a finished task back. Its branch goes too when it is merged; one of a skipped task goes in any
 * case, what it has of its own kept by a ref. Harmless when repeated.
 */
export async function tidyTask(parts: Parts, task: TaskRecord): Promise<void> {
  try {
    // A user's `git gc` holds the packed refs for a moment, and a branch can't be deleted meanwhile.
    await tryAgain(parts, `giving back the worktree of ${taskKey(task)}`, async () => await giveBack(parts, task));
  } catch (thrown) {
    // The work is merged: a folder that can't be removed now is no reason to stop. The next start tries again.
    parts.log("warning", `the worktree of ${taskKey(task)} could not be removed: ${messageOf(thrown)}`, {});
  }
}

/** The same for who needs the folder. Throws WORKTREE_FAILED, GIT_FAILED. */
export async function giveBack(parts: Parts, task: TaskRecord): Promise<void> {
  const { store, repository } = parts;
  const work = store.tasks.getWork(task.planId, task.id);
  const target = store.plans.get(task.planId)?.target;
  if (work?.worktree == null || work.branch === null || target === undefined) return;
  await repository.worktrees.remove({
    planId: task.planId,
    taskId: task.id,
    folder: folderOf(parts, task),
    branch: work.branch,
    mergedInto: `refs/heads/${target}`,
    // What was skipped will not be merged any more; `merge: none` asked for the branch.
    ...(task.state === "skipped" ? { unmerged: "delete-branch" } : {}),
  });
  crashPoint("removal-done");
  store.transaction(() => store.tasks.setWork(task.planId, task.id, { worktree: null }));
}
