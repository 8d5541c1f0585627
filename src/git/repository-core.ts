/** What the parts of this folder share: where the repository is and the turns its commands take. Made by `openRepository`. */
import type { GitVariables } from "./git-environment.ts";
import type { GitPlace } from "./run-git.ts";

export interface RepositoryCore {
  /** Absolute, symbolic links resolved. Shared by all worktrees of the repository. */
  readonly commonDir: string;
  /** Absolute path of the worktree that is not a linked one. */
  readonly mainWorktree: string;
  /** Where this repository's task and queue worktrees lie; made when the first one is. */
  readonly worktreesFolder: string;
  /** For commands about refs and objects, which no checked-out file may influence. */
  readonly place: GitPlace;
  /** Who the engine's commits are by. */
  readonly identity: () => Promise<GitVariables>;
  /** Runs changes of this repository one after another. Not reentrant. */
  readonly mutate: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** The same for what touches the files, the index and the branch of that worktree only: beside others of its kind. */
  readonly mutateWorktree: <Result>(folder: string, work: () => Promise<Result>) => Promise<Result>;
  /**
   * The same for fast-forwards, apart: the user's `post-merge` hook may take minutes, or wait for something that needs
   * a worktree from us.
   */
  readonly moveInTurn: <Result>(work: () => Promise<Result>) => Promise<Result>;
}
