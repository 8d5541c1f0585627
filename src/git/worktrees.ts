/**
 * The worktrees of tasks. One belongs to a task from `ensure` until `remove`, lies in the folder given when the
 * repository was opened (`<folder>/<plan>/<task>`), and is locked so that no `git worktree prune` takes it away.
 *
 * Always true: nothing that is not merged is deleted without a ref under `refs/orchestrator/kept/`; a worktree that is
 * not ours is never touched; every step can be repeated after a kill at any line. It never runs hooks, and never
 * trusts `<worktree>/.git`, which an agent can change: git is told its folder each time.
 */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { crashPoint } from "../crash-point.ts";
import { AppError } from "../errors.ts";
import { holdersOf } from "./branch-holders.ts";
import { changedFiles, hasUncommittedChanges, untrackedFiles, type ChangedFile } from "./changes.ts";
import type { CommitText } from "./commit-message.ts";
import { keepCommit, type KeptRef } from "./kept-refs.ts";
import { commitAll, EXCLUDED, type Committed, type TaskPlace } from "./leftovers.ts";
import { operationUnderWay, type GitOperation } from "./operation-under-way.ts";
import { pathText } from "./paths.ts";
import { putBack } from "./put-back.ts";
import { BRANCHES, branchTip, headRef, isAncestor, mustChangeRefs, resolveCommit, shortBranch } from "./refs.ts";
import { removeWorktree, saveWork, type Removal, type RemoveOptions } from "./remove-worktree.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { settleOnBranch, type Obstructed } from "./task-branch.ts";
import {
  addWorktree,
  deleteWorktree,
  isOfAnother,
  liesInOurs,
  mendPointer,
  moveAside,
  taskPath,
} from "./worktree-folders.ts";
import { findRecord, readRecords, writeMark, type WorktreeMark, type WorktreeRecord } from "./worktree-records.ts";

type TaskMark = WorktreeMark & { readonly kind: "task" };

export interface EnsureOptions {
  readonly planId: string;
  readonly taskId: string;
  /** The task that the folder is named after: another one where this task goes on in its folder. Default: itself. */
  readonly folder?: string;
  readonly branch: string;
  /** The branch begins here when it is made. */
  readonly startSha: string;
}

export interface TaskWorktree {
  readonly path: string;
  readonly gitDir: string;
  readonly branch: string;
  readonly headSha: string;
  /** False: it was there before, and is as it was left. */
  readonly isCreated: boolean;
  /** Work on a branch of that name that does not descend from `startSha`, put aside. */
  readonly kept: readonly KeptRef[];
}

export interface WorktreeSummary {
  readonly headSha: string | null;
  /** null: detached. */
  readonly branch: string | null;
  readonly operation: GitOperation | null;
  /** Committed or not, against `baseSha`; untracked files as added, without counts. */
  readonly files: readonly ChangedFile[];
  readonly insertions: number;
  readonly deletions: number;
  readonly hasUncommitted: boolean;
}

export interface ListedTaskWorktree {
  readonly planId: string;
  readonly taskId: string;
  readonly path: string;
  readonly branch: string;
  readonly startSha: string;
  /** `missing`: the folder is gone, the record is not. `removing`: a removal was interrupted. */
  readonly state: "ready" | "missing" | "removing";
}

export interface Pruned {
  /** Ids of records that were taken away: made by half, removed by half, or their folder is gone. */
  readonly records: readonly string[];
  readonly kept: readonly KeptRef[];
}

export class TaskWorktrees {
  readonly #core: RepositoryCore;

  constructor(core: RepositoryCore) {
    this.#core = core;
  }

  /** Where the worktree of a task is or will be. */
  pathOf(planId: string, taskId: string): string {
    return taskPath(this.#core, planId, taskId);
  }

  /**
   * The task's worktree. One that is there is answered as it is, uncommitted work included; else it is made, on the
   * branch as it is when that descends from `startSha`, else on the branch set to `startSha` (what it had before is
   * kept by a ref). May overlap: calls for one task give one worktree. Throws WORKTREE_FAILED.
   */
  async ensure(options: EnsureOptions): Promise<TaskWorktree> {
    return await this.#core.mutate(() => ensureWorktree(this.#core, options));
  }

  /**
   * Commits all that an agent left uncommitted. Where the agent left the branch, the worktree is brought back if that
   * loses nothing; else (and in the middle of a merge or rebase) the answer says what stands in the way.
   * Only once no process of the attempt lives. Throws WORKTREE_FAILED, GIT_FAILED.
   */
  async commitLeftovers(path: string, text: CommitText): Promise<Committed | Obstructed> {
    return await this.#core.mutateWorktree(path, async () => {
      const { place, mark } = await openTask(this.#core, path);
      await mendPointer(place.folder, place.gitDir);
      return await commitAll(this.#core, place, mark, text);
    });
  }

  /** Undoes what was left by somebody who was only to look; see put-back.ts. Throws WORKTREE_FAILED, GIT_FAILED. */
  async putBack(path: string, sha: string): Promise<KeptRef[]> {
    return await this.#core.mutate(async () => {
      const { record, place, mark } = await openTask(this.#core, path);
      await mendPointer(place.folder, place.gitDir);
      return await putBack(this.#core, { ...record, path: place.folder }, mark, sha);
    });
  }

  /**
   * Notes paths (relative to the worktree) that were copied or linked in, so that they are never committed and never
   * count as the agent's. Adds to those noted before. Call it before they are made. Throws WORKTREE_FAILED.
   */
  async leaveOut(path: string, relativePaths: readonly string[]): Promise<void> {
    await this.#core.mutate(async () => {
      const { place, mark } = await openTask(this.#core, path);
      const all = new Set([...(mark.leaveOut ?? []), ...relativePaths.map((name) => name.replace(/\/+$/, ""))]);
      await writeMark(place.gitDir, { ...mark, leaveOut: Array.from(all) });
    });
  }

  /** What the worktree holds beyond `baseSha`. Safe while an agent works in it. Throws WORKTREE_FAILED, GIT_FAILED. */
  async summary(path: string, baseSha: string): Promise<WorktreeSummary> {
    const { place, mark } = await openTask(this.#core, path);
    const ours = [".", ...(mark.leaveOut ?? []).map((name) => EXCLUDED + name)];
    const [headSha, ref, tracked, untracked, hasUncommitted] = await Promise.all([
      resolveCommit(place, "HEAD"),
      headRef(place),
      changedFiles(place, baseSha, null),
      untrackedFiles(place, ours),
      hasUncommittedChanges(place, ours),
    ]);
    const added = untracked.map((name): ChangedFile => ({
      path: pathText(name),
      status: "A",
      previousPath: null,
      insertions: null,
      deletions: null,
    }));
    return {
      headSha,
      branch: ref === null ? null : shortBranch(ref),
      operation: operationUnderWay(place.gitDir),
      files: [...tracked, ...added],
      insertions: tracked.reduce((sum, file) => sum + (file.insertions ?? 0), 0),
      deletions: tracked.reduce((sum, file) => sum + (file.deletions ?? 0), 0),
      hasUncommitted,
    };
  }

  /** Takes the worktree away and keeps what is merged nowhere. Repeating it is harmless. Throws WORKTREE_FAILED, GIT_FAILED. */
  async remove(options: RemoveOptions): Promise<Removal> {
    return await this.#core.mutate(() => removeWorktree(this.#core, options));
  }

  /** Our task worktrees, those that git no longer finds included; not those that were never complete. */
  async list(): Promise<ListedTaskWorktree[]> {
    const records = await readRecords(this.#core.commonDir);
    return records.flatMap(({ path, mark }) => {
      if (path === null || mark?.kind !== "task") return [];
      const { planId, taskId, branch, startSha } = mark;
      const state = mark.isBeingRemoved === true ? "removing" : existsSync(path) ? "ready" : "missing";
      return [{ planId, taskId, path, branch, startSha, state } as const];
    });
  }

  /** Takes away records of ours that have no complete worktree; what only they hold is kept. Others' are left alone. */
  async prune(): Promise<Pruned> {
    return await this.#core.mutate(async () => {
      const kept: KeptRef[] = [];
      const ids: string[] = [];
      for (const record of await readRecords(this.#core.commonDir)) {
        if (!record.isOurs || isComplete(record) || !liesInOurs(this.#core, record.path)) continue;
        kept.push(...(await discard(this.#core, record)));
        ids.push(record.id);
      }
      return { records: ids, kept };
    });
  }
}

async function ensureWorktree(core: RepositoryCore, options: EnsureOptions): Promise<TaskWorktree> {
  const { planId, taskId, branch, startSha } = options;
  const path = taskPath(core, planId, options.folder ?? taskId);
  const record = await findRecord(core.commonDir, path);
  if (record?.mark?.kind === "task" && isComplete(record)) return await adopt(core, path, record, record.mark, branch);
  const kept = record === null ? [] : await discard(core, record);
  // Something lies there that git does not know: perhaps work whose record someone deleted.
  if (existsSync(path) && (await readdir(path)).length > 0) await moveAside(core, path, `${planId}.${taskId}`);

  kept.push(...(await prepareBranch(core, options)));
  crashPoint("task-branch-made");
  await addWorktree(core, path, [path, branch], { kind: "task", planId, taskId, branch, startSha });
  const made = await findRecord(core.commonDir, path);
  const headSha = await branchTip(core.place, branch);
  if (made === null || headSha === null) throw failed(path, "git made no worktree", { path });
  return { path, gitDir: made.gitDir, branch, headSha, isCreated: true, kept };
}

function isComplete(record: WorktreeRecord): boolean {
  if (record.mark === null || record.path === null || !existsSync(record.path)) return false;
  return record.mark.kind === "queue" || record.mark.isBeingRemoved !== true;
}

async function adopt(
  core: RepositoryCore,
  path: string,
  record: WorktreeRecord,
  mark: TaskMark,
  branch: string,
): Promise<TaskWorktree> {
  if (mark.branch !== branch)
    throw failed(path, `it is the worktree of ${mark.branch}, not of ${branch}`, { path, branch });
  await mendPointer(path, record.gitDir);
  const place: TaskPlace = { folder: path, gitDir: record.gitDir };
  // A deleted branch would leave the agent's git without a HEAD. Everything else stays as the agent left it.
  if ((await resolveCommit(place, "HEAD")) === null) await settleOnBranch(core, place, mark);
  const headSha = await resolveCommit(place, "HEAD");
  if (headSha === null) throw failed(path, "its HEAD names no commit", { path });
  return { path, gitDir: record.gitDir, branch, headSha, isCreated: false, kept: [] };
}

/** Deletes a record of ours that has no complete worktree, after keeping what it alone holds. */
async function discard(core: RepositoryCore, record: WorktreeRecord): Promise<KeptRef[]> {
  const kept: KeptRef[] = [];
  if (record.mark?.kind === "task" && record.mark.isBeingRemoved !== true) {
    await saveWork(core, record, record.mark, kept, []);
  }
  await deleteWorktree(core, record);
  return kept;
}

/** Makes or moves the branch so that it contains `startSha`. Answers what had to be put aside. */
async function prepareBranch(core: RepositoryCore, options: EnsureOptions): Promise<KeptRef[]> {
  const { branch, startSha } = options;
  const ref = BRANCHES + branch;
  const tip = await branchTip(core.place, branch);
  const move = async (expected: string | null): Promise<void> =>
    await mustChangeRefs(core.place, [{ ref, to: startSha, expected }], "orchestrator: the task starts");
  if (tip === null) {
    await move(null).catch((thrown: unknown) => {
      throw failed(branch, thrown instanceof Error ? thrown.message : String(thrown), { branch }, thrown);
    });
    return [];
  }
  const [holder] = await holdersOf(core, ref);
  if (holder?.isOurs === true && (await isOfAnother(holder.path, holder.gitDir))) {
    // A copy's record of the original's worktree: only the record is ours.
    await rm(holder.gitDir, { recursive: true, force: true });
    return await prepareBranch(core, options);
  }
  if (holder !== undefined)
    throw failed(branch, `it is checked out in ${holder.path}: switch to another branch there`, { branch });
  if (tip === startSha || (await isAncestor(core.place, startSha, tip))) return [];
  const hasOwnWork = !(await isAncestor(core.place, tip, startSha));
  const kept = hasOwnWork ? [await keepCommit(core.place, options, tip, "orchestrator: the task starts anew")] : [];
  await move(tip);
  return kept;
}

async function openTask(
  core: RepositoryCore,
  path: string,
): Promise<{ record: WorktreeRecord; place: TaskPlace; mark: TaskMark }> {
  const record = await findRecord(core.commonDir, path);
  if (record?.mark?.kind === "task" && isComplete(record)) {
    return { record, place: { folder: path, gitDir: record.gitDir }, mark: record.mark };
  }
  const what = existsSync(path) ? "it is not the worktree of a task" : "the folder is gone";
  throw failed(path, what, { path });
}

function failed(subject: string, why: string, details: Readonly<Record<string, unknown>>, cause?: unknown): AppError {
  return new AppError("WORKTREE_FAILED", `${subject} can't be used: ${why}.`, { details, cause });
}
