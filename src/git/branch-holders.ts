/** Which worktrees have a branch checked out, or will come back to it. */
import { existsSync } from "node:fs";
import { branchesHeld } from "./operation-under-way.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { listWorktrees, readRecords } from "./worktree-records.ts";

/** A worktree to which a branch matters. */
export interface Holder {
  readonly path: string;
  readonly gitDir: string;
  readonly isOurs: boolean;
  /** HEAD is the branch; else a rebase or bisect will come back to it, or move it. */
  readonly isAtHead: boolean;
  /** The folder is gone, or git was killed before it wrote down where it is. */
  readonly isMissing: boolean;
}

/** `ref` is the branch's full name. */
export async function holdersOf(core: RepositoryCore, ref: string): Promise<Holder[]> {
  const [listed, records] = await Promise.all([listWorktrees(core.place), readRecords(core.commonDir)]);
  const heads = new Set(listed.filter((worktree) => worktree.branch === ref).map((worktree) => worktree.path));
  const candidates = [
    // The first of git's list is the main one, by a path that is wrong where the git folder lies elsewhere.
    { path: core.mainWorktree, gitDir: core.commonDir, isOurs: false, isAtHead: listed[0]?.branch === ref },
    ...records.map(({ path, gitDir, isOurs }) => ({
      path: path ?? gitDir,
      gitDir,
      isOurs,
      isAtHead: path !== null && heads.has(path),
    })),
  ];
  const held = await Promise.all(candidates.map(({ gitDir }) => branchesHeld(gitDir)));
  return candidates
    .filter(({ isAtHead }, index) => isAtHead || held[index]?.includes(ref) === true)
    .map((one) => ({ ...one, isMissing: one.path === one.gitDir || !existsSync(one.path) }));
}
