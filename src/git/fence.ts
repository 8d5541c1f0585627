/**
 * The fence around an agent's own git: hooks that its environment names instead of the repository's. `pre-push` refuses
 * unless its role may push, `reference-transaction` every ref but the task's own branch; all then run the repository's
 * own hooks. A fence against mistakes, not against malice: `git -c core.hooksPath=…` goes around it, and git asks no
 * hook about `stash drop`.
 */
import { chmodSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface FencedWorktree {
  /** The task's branch, without `refs/heads/`. */
  readonly branch: string;
  /** The worktree's own git folder. */
  readonly gitDir: string;
  readonly commonDir: string;
  readonly mayPush: boolean;
}

/** What the hooks need to know, beside `core.hooksPath` itself. */
export function fenceVariables({ branch, gitDir, commonDir, mayPush }: FencedWorktree): Record<string, string> {
  return {
    ORCHESTRATOR_FENCE_BRANCH: branch,
    ORCHESTRATOR_FENCE_WORKTREE: gitDir,
    ORCHESTRATOR_FENCE_REPOSITORY: commonDir,
    ORCHESTRATOR_FENCE_PUSH: mayPush ? "1" : "",
  };
}

/** Makes `folder` hold the fence's hooks, each whole or as it was. Throws what the file system throws. */
export function writeFence(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const [name, text] of fenceHooks()) {
    const file = join(folder, name);
    const next = `${file}.${process.pid}.next`;
    writeFileSync(next, text);
    chmodSync(next, 0o755);
    renameSync(next, file);
  }
}

/** Each hook's text by its name. */
export function fenceHooks(): Map<string, string> {
  const hooks = new Map(CHAINED.map((name) => [name, `${HEAD}${PLAIN_OTHER}${CHAIN}`]));
  hooks.set("pre-push", `${HEAD}${IS_OURS}${PRE_PUSH}${CHAIN}`);
  hooks.set("reference-transaction", `${HEAD}${PLAIN_OTHER}${IS_OURS}${REFERENCE_TRANSACTION}`);
  return hooks;
}

/**
 * Those that git runs in who commits, merges, rebases or checks out. Not `post-index-change`, which would cost each
 * `git add` a process, nor those of a repository that is pushed to: git clears these settings for them.
 */
const CHAINED = [
  "applypatch-msg",
  "pre-applypatch",
  "post-applypatch",
  "pre-commit",
  "pre-merge-commit",
  "prepare-commit-msg",
  "commit-msg",
  "post-commit",
  "pre-rebase",
  "post-checkout",
  "post-merge",
  "post-rewrite",
  "pre-auto-gc",
];

const HEAD = `#!/bin/sh
# orchestrator-mcp: stands before the repository's own hooks in an agent's environment.
name=\${0##*/}
own_hook() {
  own=$(unset GIT_CONFIG_COUNT; git rev-parse --git-path hooks 2>/dev/null) || return 1
  own=$(cd "$own" 2>/dev/null && pwd -P) || return 1
  [ "$own" != "$(cd "\${0%/*}" && pwd -P)" ] || return 1
  own=$own/$name
  [ -f "$own" ] && [ -x "$own" ]
}
`;

/**
 * In another repository, as tests make them by the hundred, no process is started where no file of git's says that
 * hooks lie elsewhere: a commit takes two times as long there, and would take six times.
 */
const PLAIN_OTHER = `is_plain_other() {
  [ -z "\${GIT_DIR-}" ] && [ -d .git ] && ! [ .git -ef "$ORCHESTRATOR_FENCE_REPOSITORY" ] || return 1
  for file in .git/config "\${GIT_CONFIG_GLOBAL:-$HOME/.gitconfig}" "\${XDG_CONFIG_HOME:-$HOME/.config}/git/config" /etc/gitconfig; do
    [ -f "$file" ] || continue
    while read -r line || [ -n "$line" ]; do
      case $line in *[hH][oO][oO][kK][sS][pP][aA][tT][hH]*|*[iI][nN][cC][lL][uU][dD][eE]*) return 1 ;; esac
    done < "$file"
  done
}
if is_plain_other; then
  if [ -f ".git/hooks/$name" ] && [ -x ".git/hooks/$name" ]; then exec ".git/hooks/$name" "$@"; fi
  exit 0
fi
`;

const CHAIN = `if own_hook; then exec "$own" "$@"; fi
exit 0
`;

/** git sets GIT_DIR for hooks of a linked worktree, as it was given where somebody gave it; elsewhere git is asked. */
const IS_OURS = `is_own_worktree() {
  [ -n "\${GIT_DIR-}" ] && [ "$GIT_DIR" -ef "$ORCHESTRATOR_FENCE_WORKTREE" ]
}
is_ours() {
  is_own_worktree && return 0
  common=$(git rev-parse --git-common-dir 2>/dev/null) && [ "$common" -ef "$ORCHESTRATOR_FENCE_REPOSITORY" ]
}
`;

/** In a repository that an agent made for a test it may push to another one of this machine. */
const PRE_PUSH = `if [ "$ORCHESTRATOR_FENCE_PUSH" != 1 ]; then
  refuse=1
  if ! is_ours; then case $2 in /*|./*|../*|file://*) refuse= ;; esac; fi
  if [ -n "$refuse" ]; then
    echo "orchestrator: this task may not push. Commit on $ORCHESTRATOR_FENCE_BRANCH: it is merged when the task is done. (\\"push\\": true in the role's config lets it push.)" >&2
    exit 1
  fi
fi
`;

/** What git keeps for each worktree alone is the agent's, and so is what it fetched. */
const REFERENCE_TRANSACTION = `refs=$(cat)
if [ "$1" = prepared ]; then
  refused= is_elsewhere=
  is_own_worktree || is_elsewhere=1
  while read -r _ _ ref; do
    case $ref in
      ''|refs/remotes/*) continue ;;
      "refs/heads/$ORCHESTRATOR_FENCE_BRANCH"|HEAD|*_HEAD|AUTO_MERGE|refs/bisect/*|refs/worktree/*|refs/rewritten/*)
        [ -n "$is_elsewhere" ] || continue ;;
    esac
    refused="$refused $ref"
  done <<END
$refs
END
  if [ -n "$refused" ] && is_ours; then
    echo "orchestrator: refused to change$refused: this task's own branch is $ORCHESTRATOR_FENCE_BRANCH, and its own worktree the place to work. Commit there: it is merged when the task is done. Branches, tags and the stash belong to the user." >&2
    exit 1
  fi
fi
if own_hook; then printf '%s\\n' "$refs" | "$own" "$@"; exit $?; fi
exit 0
`;
