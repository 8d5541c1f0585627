/** The merge queue's own worktrees, one a target, always detached. No agent works in them, so their files are ours to reset. */
import { existsSync } from "node:fs";
import { rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AppError } from "../errors.ts";
import { operationUnderWay } from "./operation-under-way.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { headRef, resolveCommit } from "./refs.ts";
import { git, type GitPlace } from "./run-git.ts";
import { addWorktree, deleteWorktree, liesInOurs, mendPointer, moveAside, queuePath } from "./worktree-folders.ts";
import { findRecord, readRecords, type WorktreeRecord } from "./worktree-records.ts";

/**
 * The worktree in which the queue of `target` checks out and verifies `sha`. Tracked files are as in `sha`, untracked
 * ones gone, ignored ones (`node_modules`, caches) left as the last check made them. Throws WORKTREE_FAILED.
 */
export async function queueWorktreeAt(core: RepositoryCore, target: string, sha: string): Promise<string> {
  const path = queuePath(core, target);
  const record = await findRecord(core.commonDir, path);
  if (record !== null && isUsable(record)) {
    try {
      await mendPointer(path, record.gitDir);
      await checkOut({ folder: path, gitDir: record.gitDir }, record.gitDir, sha);
      return path;
    } catch (thrown) {
      // Damaged by what ran in it. It holds nothing of value, so it is made anew; a full disk fails again below.
      if (!(thrown instanceof AppError)) throw thrown;
    }
  }
  if (record !== null) await deleteWorktree(core, record);
  else if (existsSync(path)) await moveAside(core, path, `queue.${target}`);
  await addWorktree(core, path, ["--detach", path, sha], { kind: "queue", target });
  return path;
}

/** Does nothing when it is gone. */
export async function deleteQueueWorktree(core: RepositoryCore, target: string): Promise<void> {
  const record = await findRecord(core.commonDir, queuePath(core, target));
  if (record?.mark?.kind === "queue") await deleteWorktree(core, record);
}

/** Deletes the queue's worktrees of all other targets, and folders that are empty then. They hold nothing of value. */
export async function deleteQueueWorktrees(core: RepositoryCore, keptTargets: ReadonlySet<string>): Promise<void> {
  for (const record of await readRecords(core.commonDir)) {
    if (record.mark?.kind !== "queue" || keptTargets.has(record.mark.target)) continue;
    if (record.path !== null && liesInOurs(core, record.path)) await deleteWorktree(core, record);
  }
  // Only when they are empty: other tasks' worktrees, other repositories'.
  await rmdir(core.worktreesFolder).catch(() => undefined);
  await rmdir(dirname(core.worktreesFolder)).catch(() => undefined);
}

function isUsable(record: WorktreeRecord): boolean {
  return record.mark?.kind === "queue" && record.path !== null && existsSync(record.path);
}

async function checkOut(place: GitPlace, gitDir: string, sha: string): Promise<void> {
  await rm(join(gitDir, "index.lock"), { force: true });
  if (operationUnderWay(gitDir) !== null) throw new AppError("WORKTREE_FAILED", "An operation is under way in it.");
  // Index and files as `reset --hard` makes them; that would also move a branch that a check has switched to.
  await git(place, ["checkout", "--force", "--detach", sha], { mutates: true });
  // Twice -f: also repositories that a check cloned into it.
  await git(place, ["clean", "-ffdq"], { mutates: true });
  if ((await headRef(place)) === null && (await resolveCommit(place, "HEAD")) === sha) return;
  throw new AppError("WORKTREE_FAILED", `${place.folder} is not at ${sha} after checking it out.`);
}
