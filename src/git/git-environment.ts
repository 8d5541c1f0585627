/** The variables git children get: what describes the user and the machine, everything else left behind. */
import { userEnvironment } from "../user-environment.ts";

/** What a git command may be told by environment on top; the only `GIT_*` names that ever reach a child. */
export const SET_BY_US = [
  "GIT_TERMINAL_PROMPT",
  "GIT_OPTIONAL_LOCKS",
  "GIT_DIR",
  "GIT_WORK_TREE",
  "GIT_INDEX_FILE",
  "GIT_AUTHOR_NAME",
  "GIT_AUTHOR_EMAIL",
  "GIT_COMMITTER_NAME",
  "GIT_COMMITTER_EMAIL",
] as const;

export type GitVariables = { readonly [name in (typeof SET_BY_US)[number]]?: string };

/**
 * The whole environment of one git child. No inherited `GIT_*`: inside a hook of a linked worktree GIT_DIR is set, and a
 * commit made elsewhere would land there.
 *
 * LANGUAGE=C makes git speak English (GNU gettext ranks it above LC_ALL) without changing the user's character set,
 * which hooks and file names depend on.
 */
export function gitEnvironment(inherited: NodeJS.ProcessEnv, variables: GitVariables): Record<string, string> {
  return { ...userEnvironment(inherited), LANGUAGE: "C", GIT_TERMINAL_PROMPT: "0", ...variables };
}
