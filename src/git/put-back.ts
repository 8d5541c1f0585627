/** Undoes what somebody left in a task's worktree who was only to look at it; nothing of it is lost. */
import { hasUncommittedChanges } from "./changes.ts";
import { keepCommit, type KeptRef } from "./kept-refs.ts";
import { EXCLUDED, waitForIndexLock } from "./leftovers.ts";
import { operationUnderWay } from "./operation-under-way.ts";
import { BRANCHES, branchTip, headRef, isAncestor, mustChangeRefs } from "./refs.ts";
import { saveWork } from "./remove-worktree.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { git } from "./run-git.ts";
import type { WorktreeMark, WorktreeRecord } from "./worktree-records.ts";

/**
 * Brings the worktree back to `sha` on the task's branch. Commits beyond it and uncommitted files get a kept ref first;
 * ignored files and what was copied or linked in stay. Answers the refs; empty when nothing had changed. Only once no
 * process of the attempt lives. Repeating it after a kill at any line is harmless.
 */
export async function putBack(
  core: RepositoryCore,
  record: WorktreeRecord & { readonly path: string },
  mark: WorktreeMark & { readonly kind: "task" },
  sha: string,
): Promise<KeptRef[]> {
  const place = { folder: record.path, gitDir: record.gitDir };
  const own = BRANCHES + mark.branch;
  await waitForIndexLock(record.gitDir);
  const ours = [".", ...(mark.leaveOut ?? []).map((name) => EXCLUDED + name)];
  const [head, tip] = await Promise.all([headRef(place), branchTip(place, mark.branch)]);
  const isAsItWas = head === own && tip === sha && operationUnderWay(record.gitDir) === null;
  if (isAsItWas && !(await hasUncommittedChanges(place, ours))) return [];

  const kept: KeptRef[] = [];
  await saveWork(core, record, mark, kept, []);
  const why = "orchestrator: left by a step that only looks";
  if (tip !== null && tip !== sha && !(await isAncestor(place, tip, sha))) {
    kept.push(await keepCommit(core.place, mark, tip, why));
  }
  if (tip !== sha) await mustChangeRefs(place, [{ ref: own, to: sha, expected: tip }], why);
  if (head !== own) await git(place, ["symbolic-ref", "-m", why, "HEAD", own], { mutates: true });
  await git(place, ["reset", "--quiet", "--hard", sha, "--"], { mutates: true });
  await git(place, ["clean", "--quiet", "--force", "-d", "--", ...ours], { mutates: true });
  return kept;
}
