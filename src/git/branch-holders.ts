/** Which worktrees have a branch checked out, or will come back to it. */
import { existsSync } from "node:fs";
import { branchesHeld } from "./operation-under-way.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { headRef } from "./refs.ts";
import { readRecords } from "./worktree-records.ts";

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
  const records = await readRecords(core.commonDir);
  const places = [
    { path: core.mainWorktree, gitDir: core.commonDir, isOurs: false },
    ...records.map(({ path, gitDir, isOurs }) => ({ path: path ?? gitDir, gitDir, isOurs })),
  ];
  // Each worktree's own HEAD, as `git worktree list` reads it; one without a HEAD holds nothing.
  const heads = await Promise.all(
    places.map(async ({ gitDir }) => await headRef({ folder: gitDir, gitDir }).catch(() => null)),
  );
  const candidates = places.map((one, index) => ({
    ...one,
    isAtHead: heads[index] === ref && (index === 0 || one.path !== one.gitDir),
  }));
  const held = await Promise.all(candidates.map(({ gitDir }) => branchesHeld(gitDir)));
  return candidates
    .filter(({ isAtHead }, index) => isAtHead || held[index]?.includes(ref) === true)
    .map((one) => ({ ...one, isMissing: one.path === one.gitDir || !existsSync(one.path) }));
}
