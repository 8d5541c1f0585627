/** Where a task works: its worktree on its branch, from a target that has everything the task builds on. */
import { messageOf } from "../errors.ts";
import type { TaskRecord } from "../plan/records.ts";
import { taskKey } from "../plan/records.ts";
import type { Wait } from "../plan/task-state.ts";
import type { Parts } from "./parts.ts";

export interface TaskPlace {
  readonly path: string;
  readonly gitDir: string;
  readonly branch: string;
  /** Where the branch began. */
  readonly baseSha: string;
  /** True when nothing of the task was here before. */
  readonly isFirst: boolean;
  readonly startedAtMs: number | null;
}

export type Opened =
  | { readonly type: "opened"; readonly place: TaskPlace }
  | { readonly type: "wait"; readonly wait: Wait }
  | { readonly type: "failed"; readonly message: string };

export function branchOf(task: { readonly planId: string; readonly id: string }): string {
  return `orchestrator/${task.planId}/${task.id}`;
}

/**
 * Makes the task's worktree, or finds it as it was left. `isRepeatable`: the agent has no memory and does everything
 * again (a command), so what an earlier attempt left behind is put aside under a kept ref and the branch begins anew;
 * else a half-done `>>` would be done twice.
 */
export async function openWorktree(
  parts: Parts,
  task: TaskRecord,
  { isRepeatable }: { readonly isRepeatable: boolean },
): Promise<Opened> {
  const { repository, board, store } = parts;
  const { target } = board.plan(task.planId).record;
  const branch = branchOf(task);
  try {
    const tip = await repository.branchTip(target);
    if (tip === null)
      return targetWait(`the target branch ${target} does not exist any more`, `git branch ${target} <commit>`);
    const lacking = await lackingDependency(parts, task, tip);
    if (lacking !== null) return targetWait(`${target} lost the merge of ${lacking}: it was reset or rewritten`, null);
    const work = store.tasks.getWork(task.planId, task.id);
    let { baseSha = null, worktree = null } = work ?? {};
    // Done and opened again by a changed plan: what it builds on now is in the target, not where it once began.
    if (worktree === null) baseSha = null;
    if (isRepeatable && worktree !== null) {
      await repository.worktrees.remove({
        planId: task.planId,
        taskId: task.id,
        branch,
        // A branch that got nowhere yet needs no ref to keep it.
        mergedInto: tip,
        unmerged: "delete-branch",
      });
      worktree = null;
      baseSha = null;
    }
    const opened = await repository.worktrees.ensure({
      planId: task.planId,
      taskId: task.id,
      branch,
      startSha: baseSha ?? tip,
    });
    return {
      type: "opened",
      place: {
        path: opened.path,
        gitDir: opened.gitDir,
        branch,
        baseSha: baseSha ?? tip,
        isFirst: opened.isCreated && worktree === null,
        startedAtMs: work?.startedAtMs ?? null,
      },
    };
  } catch (thrown) {
    parts.log("warning", `no worktree for ${taskKey(task)}: ${messageOf(thrown)}`, {});
    return { type: "failed", message: `the worktree could not be made: ${messageOf(thrown)}` };
  }
}

/** A dependency whose recorded merge the target does not have. */
async function lackingDependency(parts: Parts, task: TaskRecord, tip: string): Promise<string | null> {
  const { nodes } = parts.board.plan(task.planId);
  for (const id of task.spec.dependsOn) {
    const sha = nodes.get(id)?.record.mergedSha ?? null;
    if (sha !== null && !(await parts.repository.isAncestor(sha, tip))) return id;
  }
  return null;
}

function targetWait(message: string, command: string | null): Opened {
  return { type: "wait", wait: { code: "target", message, command, untilMs: null } };
}
