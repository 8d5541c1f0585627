/** Where a task works: its worktree on its branch, from a target that has everything the task builds on. */
import { crashPoint } from "../crash-point.ts";
import { messageOf } from "../errors.ts";
import { shellWord } from "../git/paths.ts";
import type { TaskRecord } from "../plan/records.ts";
import { taskKey } from "../plan/records.ts";
import type { Wait } from "../plan/task-state.ts";
import { machineWait } from "./machine-wait.ts";
import type { Parts } from "./parts.ts";
import { hasArrived } from "./has-arrived.ts";
import { folderOf } from "./task-folder.ts";
import { giveBack } from "./tidy-task.ts";
import { tryAgain } from "./try-again.ts";

export interface TaskPlace {
  readonly path: string;
  readonly gitDir: string;
  readonly branch: string;
  /** Where the branch began. */
  readonly baseSha: string;
  /** Where it is now. */
  readonly headSha: string;
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
  options: { readonly isRepeatable: boolean },
): Promise<Opened> {
  try {
    return await tryAgain(parts, `the worktree of ${taskKey(task)}`, () => openOnce(parts, task, options));
  } catch (thrown) {
    parts.log("warning", `no worktree for ${taskKey(task)}: ${messageOf(thrown)}`, {});
    const wait = machineWait(parts, thrown);
    if (wait !== null) return { type: "wait", wait };
    return { type: "failed", message: `the worktree could not be made: ${messageOf(thrown)}` };
  }
}

async function openOnce(
  parts: Parts,
  task: TaskRecord,
  { isRepeatable }: { readonly isRepeatable: boolean },
): Promise<Opened> {
  const { repository, board, store } = parts;
  const { target } = board.plan(task.planId).record;
  const branch = branchOf(task);
  const tip = await repository.branchTip(target);
  if (tip === null)
    return targetWait(`the target branch ${target} does not exist any more`, `git branch ${target} <commit>`);
  const lacking = await lackingDependency(parts, task, tip);
  if (lacking !== null) return await lostMerge(parts, task, target, lacking);
  const work = store.tasks.getWork(task.planId, task.id);
  let { baseSha = null, worktree = null } = work ?? {};
  // Done and opened again by a changed plan: what it builds on now is in the target, not where it once began.
  if (worktree === null) baseSha = null;
  const folder = folderOf(parts, task);
  if (worktree === null) {
    // One that an engine made which then died has no row: the target may have moved on from where it began.
    await repository.worktrees.remove({ planId: task.planId, taskId: task.id, folder, branch });
  } else if (isRepeatable) {
    // A branch that got nowhere yet needs no ref to keep it.
    const given = { mergedInto: tip, unmerged: "delete-branch" } as const;
    await repository.worktrees.remove({ planId: task.planId, taskId: task.id, folder, branch, ...given });
    worktree = null;
    baseSha = null;
  }
  crashPoint("task-worktree-put-aside");
  const startSha = baseSha ?? (await takeOver(parts, task)) ?? tip;
  const opened = await repository.worktrees.ensure({
    planId: task.planId,
    taskId: task.id,
    folder,
    branch,
    startSha,
  });
  return {
    type: "opened",
    place: {
      path: opened.path,
      gitDir: opened.gitDir,
      branch,
      baseSha: startSha,
      headSha: opened.headSha,
      isFirst: opened.isCreated && worktree === null,
      startedAtMs: work?.startedAtMs ?? null,
    },
  };
}

/**
 * The folder passes from the task that this one continues, whose worktree may still be there: it was skipped, or gives it
 * back only now. Answers where this task's branch begins when that is not the target: at work that was not to be merged.
 */
async function takeOver(parts: Parts, task: TaskRecord): Promise<string | null> {
  const { continues } = task.spec;
  const before = continues === null ? undefined : parts.board.plan(task.planId).nodes.get(continues)?.record;
  if (before === undefined) return null;
  await giveBack(parts, before);
  const isLeftUnmerged = before.state === "succeeded" && before.spec.merge === "none";
  return isLeftUnmerged ? await parts.repository.branchTip(branchOf(before)) : null;
}

interface Lacking {
  readonly id: string;
  /** Its recorded merge. */
  readonly sha: string;
}

/** A dependency whose recorded merge the target does not have. */
async function lackingDependency(parts: Parts, task: TaskRecord, tip: string): Promise<Lacking | null> {
  const { nodes } = parts.board.plan(task.planId);
  for (const id of task.spec.dependsOn) {
    const sha = nodes.get(id)?.record.mergedSha ?? null;
    if (sha !== null && !(await hasArrived(parts, sha, tip))) return { id, sha };
  }
  return null;
}

/** Merged again by hand it is there as it was, and the task goes on by itself; what git has no more can't come back. */
async function lostMerge(parts: Parts, task: TaskRecord, target: string, { id, sha }: Lacking): Promise<Opened> {
  const { repository } = parts;
  const message = `${target} lost the merge of ${id}: it was reset or rewritten`;
  if ((await repository.resolve(sha)) === null) {
    const key = taskKey(task);
    return targetWait(`${message}, and git has its commit ${sha} no more`, `orchestrator skip ${key}`);
  }
  const at = `git -C ${shellWord(repository.mainWorktree)}`;
  const isThere = (await repository.currentBranch()) === target;
  return targetWait(message, `${isThere ? "" : `${at} switch ${shellWord(target)} && `}${at} merge ${sha}`);
}

function targetWait(message: string, command: string): Opened {
  return { type: "wait", wait: { code: "target", message, command, untilMs: null } };
}
