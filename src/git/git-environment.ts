/** The variables git children get: a short list taken over, everything else left behind. */

/** Taken over by name. No `GIT_*`: inside a hook of a linked worktree GIT_DIR is set, and a commit made elsewhere would land there. */
const PASSED_NAMES: ReadonlySet<string> = new Set([
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "TZ",
  "TMPDIR",
  "ORCHESTRATOR_HOME",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "all_proxy",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "ALL_PROXY",
]);

const PASSED_PREFIXES: readonly string[] = ["LC_", "XDG_"];

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
 * The whole environment of one git child.
 *
 * LANGUAGE=C makes git speak English (GNU gettext ranks it above LC_ALL) without changing the user's character set,
 * which hooks and file names depend on.
 */
export function gitEnvironment(inherited: NodeJS.ProcessEnv, variables: GitVariables): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    if (value !== undefined && isPassed(name)) environment[name] = value;
  }
  return { ...environment, LANGUAGE: "C", GIT_TERMINAL_PROMPT: "0", ...variables };
}

function isPassed(name: string): boolean {
  return PASSED_NAMES.has(name) || PASSED_PREFIXES.some((prefix) => name.startsWith(prefix));
}
