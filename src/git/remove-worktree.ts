/**
 * Takes a task's worktree away, after everything in it that is merged nowhere has got a ref.
 *
 * The order makes each step repeatable: save, mark as being removed, branch, folder, record. A kill before the mark
 * saves once more (then two refs keep the same work); after it, the folder may be half deleted and is not looked at any more.
 */
import { existsSync } from "node:fs";
import { crashPoint } from "../crash-point.ts";
import { holdersOf } from "./branch-holders.ts";
import { keepCommit, type KeptRef } from "./kept-refs.ts";
import { lookAtWork, snapshotAll, snapshotIndex, type TaskPlace } from "./leftovers.ts";
import { moveNestedAside } from "./nested-repositories.ts";
import { BRANCHES, branchTip, isAncestor, mustChangeRefs, resolveCommit } from "./refs.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { settleOnBranch } from "./task-branch.ts";
import { deleteWorktree, taskPath } from "./worktree-folders.ts";
import { findRecord, writeMark, type WorktreeMark, type WorktreeRecord } from "./worktree-records.ts";

export interface RemoveOptions {
  readonly planId: string;
  readonly taskId: string;
  /** As in `EnsureOptions`. */
  readonly folder?: string;
  readonly branch: string;
  /** A commit or ref: the task's branch is deleted when all of it is in there. */
  readonly mergedInto?: string;
  /** A branch that is not merged: `keep-branch` (default) leaves it; `delete-branch` gives its tip a kept ref first. */
  readonly unmerged?: "keep-branch" | "delete-branch";
}

export interface Removal {
  /** False when there was no worktree of this task. */
  readonly isRemoved: boolean;
  readonly isBranchDeleted: boolean;
  /** What would have become unreachable. */
  readonly kept: readonly KeptRef[];
  /** Repositories that the agent made inside the worktree, and submodules with work in them: where they are now. */
  readonly keptFolders: readonly string[];
}

export async function removeWorktree(core: RepositoryCore, options: RemoveOptions): Promise<Removal> {
  const found = await findRecord(core.commonDir, taskPath(core, options.planId, options.folder ?? options.taskId));
  // The folder may have passed to a task that goes on in it: this one has given it back already.
  const record = found?.mark?.kind === "task" && found.mark.taskId !== options.taskId ? null : found;
  const kept: KeptRef[] = [];
  const keptFolders: string[] = [];
  if (record?.mark?.kind === "task" && record.mark.isBeingRemoved !== true) {
    await saveWork(core, record, record.mark, kept, keptFolders);
    crashPoint("removal-work-kept");
    await writeMark(record.gitDir, { ...record.mark, isBeingRemoved: true });
    crashPoint("removal-marked");
  }
  const isBranchDeleted = await deleteBranch(core, options, record, kept);
  if (record !== null) await deleteWorktree(core, record);
  return { isRemoved: record !== null, isBranchDeleted, kept, keptFolders };
}

/** Gives a ref to everything that only this worktree holds: uncommitted files, staged files, a HEAD off its branch. */
export async function saveWork(
  core: RepositoryCore,
  record: WorktreeRecord,
  mark: WorktreeMark & { readonly kind: "task" },
  kept: KeptRef[],
  keptFolders: string[],
): Promise<void> {
  const isThere = record.path !== null && existsSync(record.path);
  const place: TaskPlace = { folder: isThere ? (record.path ?? record.gitDir) : record.gitDir, gitDir: record.gitDir };
  if ((await resolveCommit(place, "HEAD")) === null) await settleOnBranch(core, place, mark);
  const headSha = (await resolveCommit(place, "HEAD")) ?? mark.startSha;
  const look = isThere ? await lookAtWork(place, mark.leaveOut ?? []) : null;
  if (look !== null) keptFolders.push(...(await moveNestedAside(core, place, mark, look.nested)));
  const saved = await saveUncommitted(core, place, mark, headSha, look);
  const tip = await branchTip(place, mark.branch);
  const isHeadOnBranch = tip !== null && (await isAncestor(place, headSha, tip));
  const sha = saved ?? (isHeadOnBranch ? null : headSha);
  if (sha !== null) kept.push(await keepCommit(core.place, mark, sha, "orchestrator: the worktree is removed"));
}

/** `look`: what the folder holds; null when it is gone. */
async function saveUncommitted(
  core: RepositoryCore,
  place: TaskPlace,
  mark: WorktreeMark & { readonly kind: "task" },
  headSha: string,
  look: { readonly isClean: boolean } | null,
): Promise<string | null> {
  const text = {
    subject: `Keep uncommitted work of ${mark.planId}/${mark.taskId}`,
    trailers: { planId: mark.planId, taskId: mark.taskId },
  };
  if (look === null) return await snapshotIndex(core, place, headSha, text);
  return look.isClean ? null : await snapshotAll(core, place, headSha, text, mark.leaveOut ?? []);
}

async function deleteBranch(
  core: RepositoryCore,
  options: RemoveOptions,
  record: WorktreeRecord | null,
  kept: KeptRef[],
): Promise<boolean> {
  const ref = BRANCHES + options.branch;
  const tip = await branchTip(core.place, options.branch);
  if (tip === null || (await holdersOf(core, ref)).some((holder) => holder.gitDir !== record?.gitDir)) return false;
  const into = options.mergedInto === undefined ? null : await resolveCommit(core.place, options.mergedInto);
  const isMerged = into !== null && (await isAncestor(core.place, tip, into));
  if (!isMerged && options.unmerged !== "delete-branch") return false;
  if (!isMerged) kept.push(await keepCommit(core.place, options, tip, "orchestrator: the branch is deleted"));
  await mustChangeRefs(core.place, [{ ref, to: null, expected: tip }], "orchestrator: the task is done");
  crashPoint("removal-branch-deleted");
  return true;
}
