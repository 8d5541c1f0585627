/**
 * Brings a task's worktree back to the task's branch, where an agent left it elsewhere. Never touches a file or the
 * index: only HEAD and the task's own branch move, and the branch only forward.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { holdersOf } from "./branch-holders.ts";
import { ifAbsent } from "./if-absent.ts";
import { abortingCommand, operationUnderWay, type GitOperation } from "./operation-under-way.ts";
import { BRANCHES, branchTip, headRef, isAncestor, mustChangeRefs, resolveCommit, shortBranch } from "./refs.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { git, type GitPlace } from "./run-git.ts";

export interface OnBranch {
  readonly type: "on-branch";
  readonly sha: string;
  /** What HEAD was on before, where it had to be brought back: a branch's name, "detached" or "deleted". */
  readonly broughtBackFrom: string | null;
}

/** Why the worktree is not on its branch and can't be brought back without losing or overwriting something. */
export interface Obstructed {
  readonly type: "obstructed";
  readonly reason: "operation-under-way" | "diverged" | "branch-elsewhere";
  readonly operation: GitOperation | null;
  readonly headSha: string | null;
  /** For a person or an agent: what is so and what to do. */
  readonly message: string;
}

export interface TaskBranch {
  readonly branch: string;
  /** The task's work began here, so its branch can never be behind it. */
  readonly startSha: string;
  /** Paths that were copied or linked in, never to be committed. */
  readonly leaveOut?: readonly string[];
}

/** `place` must be the task's worktree with its git folder given. */
export async function settleOnBranch(
  core: RepositoryCore,
  place: GitPlace & { readonly gitDir: string },
  task: TaskBranch,
): Promise<OnBranch | Obstructed> {
  const [operation, current, headSha, tip] = await Promise.all([
    Promise.resolve(operationUnderWay(place.gitDir)),
    headRef(place),
    resolveCommit(place, "HEAD"),
    branchTip(place, task.branch),
  ]);
  if (operation !== null) {
    const message = `A ${operation} is under way in ${place.folder}. Finish it or run \`git ${abortingCommand(operation)}\` there.`;
    return { type: "obstructed", reason: "operation-under-way", operation, headSha, message };
  }
  const own = BRANCHES + task.branch;
  if (current === own && tip !== null) return { type: "on-branch", sha: tip, broughtBackFrom: null };
  if (current === own) {
    const sha = (await lastHead(place, task.startSha)) ?? task.startSha;
    await mustChangeRefs(place, [{ ref: own, to: sha, expected: null }], "orchestrator: the task's branch was deleted");
    return { type: "on-branch", sha, broughtBackFrom: "deleted" };
  }
  const from = current === null ? "detached" : shortBranch(current);
  if (headSha === null || !(await isForward(place, headSha, tip ?? task.startSha))) {
    const message = `${place.folder} is on ${from}, which does not contain ${task.branch}. Run \`git switch ${task.branch}\` there.`;
    return { type: "obstructed", reason: "diverged", operation: null, headSha, message };
  }
  const elsewhere = (await holdersOf(core, own)).find((holder) => holder.gitDir !== place.gitDir);
  if (elsewhere !== undefined) {
    const message = `${task.branch} is checked out in ${elsewhere.path}. Switch to another branch there.`;
    return { type: "obstructed", reason: "branch-elsewhere", operation: null, headSha, message };
  }
  const why = `orchestrator: ${from} belongs to the task`;
  await mustChangeRefs(place, [{ ref: own, to: headSha, expected: tip }], why);
  await git(place, ["symbolic-ref", "-m", why, "HEAD", own], { mutates: true });
  return { type: "on-branch", sha: headSha, broughtBackFrom: from };
}

async function isForward(place: GitPlace, sha: string, from: string): Promise<boolean> {
  return sha === from || (await isAncestor(place, from, sha));
}

/** Where HEAD was last, from its reflog: it survives the deletion of the branch. */
async function lastHead(place: GitPlace & { readonly gitDir: string }, startSha: string): Promise<string | null> {
  const log = await readFile(join(place.gitDir, "logs", "HEAD"), "utf8").catch(ifAbsent(""));
  const shas = log.split("\n").map((line) => line.split(" ", 2)[1] ?? "");
  for (const sha of shas.reverse()) {
    const isCommit = /^[0-9a-f]{40,}$/.test(sha) && !/^0+$/.test(sha) && (await resolveCommit(place, sha)) !== null;
    if (isCommit && (await isForward(place, sha, startSha))) return sha;
  }
  return null;
}
