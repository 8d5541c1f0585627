/** Work that an agent left uncommitted: committed to its branch, or saved aside before a worktree goes. */
import { copyFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { crashPoint } from "../crash-point.ts";
import { AppError } from "../errors.ts";
import { changedPaths, untrackedFiles } from "./changes.ts";
import { commitMessage, type CommitText } from "./commit-message.ts";
import type { GitVariables } from "./git-environment.ts";
import { pathText } from "./paths.ts";
import { BRANCHES, mustChangeRefs } from "./refs.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { git, runGit, splitAtNul, throwFailure, wordsOf, type GitPlace } from "./run-git.ts";
import { settleOnBranch, type Obstructed, type TaskBranch } from "./task-branch.ts";

export type TaskPlace = GitPlace & { readonly gitDir: string };

export interface Committed {
  readonly type: "committed" | "nothing";
  /** The branch's tip afterwards. */
  readonly sha: string;
  /** The branch's tip before. */
  readonly parentSha: string;
  /** What the new commit changes, both paths of a renamed file; empty for `nothing`. */
  readonly files: readonly string[];
  /** Repositories inside the worktree that git would only record as a bare pointer: left alone. */
  readonly nestedRepositories: readonly string[];
  /** What git could not read; null when it could read all. */
  readonly unreadable: string | null;
  readonly broughtBackFrom: string | null;
}

/** Pathspec magic: not this file or folder, whatever characters its name has, from the worktree's top. */
export const EXCLUDED = ":(exclude,literal,top)";

/** A lock of git's this old, unchanged, in a worktree without processes, was left by one that was killed. */
const STALE_LOCK_MS = 3000;

/**
 * Commits everything uncommitted, ignored files excepted, to the task's branch. Hooks don't run, nothing is signed.
 * Only when no process of the attempt lives any more.
 */
export async function commitAll(
  core: RepositoryCore,
  place: TaskPlace,
  task: TaskBranch,
  text: CommitText,
): Promise<Committed | Obstructed> {
  const settled = await settleOnBranch(core, place, task);
  if (settled.type === "obstructed") return settled;
  await waitForIndexLock(place.gitDir);
  const leaveOut = task.leaveOut ?? [];
  const { sha: headSha, broughtBackFrom } = settled;
  const { isClean, nested } = await lookAtWork(place, leaveOut);
  const nestedRepositories = nested.map(pathText);
  const nothing = {
    type: "nothing",
    sha: headSha,
    parentSha: headSha,
    files: [],
    nestedRepositories,
    broughtBackFrom,
  } as const;
  if (isClean) return { ...nothing, unreadable: null };
  const { treeSha, unreadable } = await stageAll(place, {}, leaveOut, nested);
  const names = await changedPaths(place, headSha, treeSha);
  if (names.length === 0) return { ...nothing, unreadable };
  const sha = await commitTree(core, treeSha, [headSha], text);
  await mustChangeRefs(
    place,
    [{ ref: BRANCHES + task.branch, to: sha, expected: headSha }],
    "orchestrator: commit what was left uncommitted",
  );
  crashPoint("attempt-work-committed");
  return {
    type: "committed",
    sha,
    parentSha: headSha,
    files: names.map(pathText),
    nestedRepositories,
    unreadable,
    broughtBackFrom,
  };
}

interface Look {
  /** There is nothing to commit. */
  readonly isClean: boolean;
  /** Repositories inside the worktree that git does not know; each name ends with `/`. */
  readonly nested: readonly Buffer[];
}

/** What differs from HEAD, in one look: most worktrees that go have nothing left, and need no second. */
export async function lookAtWork(place: TaskPlace, leaveOut: readonly string[]): Promise<Look> {
  const args = ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none"];
  const result = await runGit(place, args);
  // What git complains of is for those to judge who take everything and tell what they could not read.
  if (result.exitCode !== 0 || result.stderr !== "") return { isClean: false, nested: await nestedIn(place) };
  const isLent = (path: string): boolean => leaveOut.some((name) => path === name || path.startsWith(`${name}/`));
  const entries = splitAtNul(result.stdout).filter((entry) => !(isUntracked(entry) && isLent(pathOf(entry))));
  const nested = entries.filter((entry) => isUntracked(entry) && entry.at(-1) === SLASH);
  return { isClean: nested.length === entries.length, nested: nested.map((entry) => entry.subarray(STATUS_LENGTH)) };
}

const SLASH = 0x2f;

/** `XY `, before the path: git-status(1), short format. */
const STATUS_LENGTH = 3;

function isUntracked(entry: Buffer): boolean {
  return entry.subarray(0, STATUS_LENGTH).toString("latin1") === "?? ";
}

function pathOf(entry: Buffer): string {
  return entry.subarray(STATUS_LENGTH).toString("utf8");
}

async function nestedIn(place: TaskPlace): Promise<Buffer[]> {
  return (await untrackedFiles(place)).filter((path) => path.at(-1) === SLASH);
}

/**
 * A commit on top of HEAD with everything uncommitted, made beside the real index: HEAD, branch, index and files stay
 * as they are, so it also works in the middle of a merge or rebase. null when there is nothing to save. Throws
 * WORKTREE_FAILED or GIT_FAILED when something could not be read: what is not saved must not be deleted.
 */
export async function snapshotAll(
  core: RepositoryCore,
  place: TaskPlace,
  headSha: string,
  text: CommitText,
  leaveOut: readonly string[],
): Promise<string | null> {
  const indexFile = join(place.gitDir, "orchestrator-snapshot-index");
  await rm(`${indexFile}.lock`, { force: true });
  await copyFile(join(place.gitDir, "index"), indexFile).catch(() => undefined);
  try {
    const nested = await nestedIn(place);
    const { treeSha, unreadable } = await stageAll(place, { GIT_INDEX_FILE: indexFile }, leaveOut, nested);
    if (unreadable !== null) {
      throw new AppError("WORKTREE_FAILED", `Work in ${place.folder} can't be saved, so it stays: ${unreadable}`);
    }
    if (treeSha === (await treeOf(place, headSha))) return null;
    return await commitTree(core, treeSha, [headSha], text);
  } finally {
    await rm(indexFile, { force: true });
  }
}

/** What only the index of a worktree holds, whose files are gone. null when it holds nothing beyond HEAD. */
export async function snapshotIndex(
  core: RepositoryCore,
  place: TaskPlace,
  headSha: string,
  text: CommitText,
): Promise<string | null> {
  const result = await runGit(place, ["write-tree"], { mutates: true });
  // An index in the middle of a conflict, or half written when its git was killed.
  if (result.exitCode !== 0) return null;
  const treeSha = result.stdout.toString("utf8").trim();
  return treeSha === (await treeOf(place, headSha)) ? null : await commitTree(core, treeSha, [headSha], text);
}

/** Makes a commit object; no ref moves. */
export async function commitTree(
  core: RepositoryCore,
  treeSha: string,
  parents: readonly string[],
  text: CommitText,
): Promise<string> {
  const args = ["commit-tree", treeSha, ...parents.flatMap((parent) => ["-p", parent]), "-F", "-"];
  const variables = await core.identity();
  const settings = ["i18n.commitEncoding=UTF-8"];
  return await git(core.place, args, { input: commitMessage(text), variables, settings, mutates: true });
}

async function treeOf(place: GitPlace, sha: string): Promise<string> {
  return await git(place, ["rev-parse", "--verify", `${sha}^{tree}`]);
}

interface Staged {
  readonly treeSha: string;
  readonly unreadable: string | null;
}

async function stageAll(
  place: TaskPlace,
  variables: GitVariables,
  leaveOut: readonly string[],
  nested: readonly Buffer[],
): Promise<Staged> {
  const left = [...nested.map((path) => path.subarray(0, -1)), ...leaveOut.map((path) => Buffer.from(path))];
  const pathspecs = [Buffer.from("."), ...left.map((path) => Buffer.concat([Buffer.from(EXCLUDED), path]))];
  const args = ["add", "--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul"];
  const input = Buffer.concat(pathspecs.flatMap((path) => [path, Buffer.of(0)]));
  const added = await runGit(place, args, { input, variables, mutates: true });
  // 1: some files could not be read, the others were added. Beyond: nothing was.
  if (added.exitCode !== 0 && added.exitCode !== 1) throwFailure(args, added);
  const treeSha = await git(place, ["write-tree"], { variables, mutates: true });
  return {
    treeSha,
    unreadable: added.exitCode === 0 ? null : wordsOf(added),
  };
}

/** Waits until a living git lets go of the index; takes away a lock whose owner was killed. */
export async function waitForIndexLock(gitDir: string): Promise<void> {
  const lock = join(gitDir, "index.lock");
  for (;;) {
    const found = await stat(lock).catch(() => null);
    if (found === null) return;
    // Far ahead: the clock was set back since, and it would be waited for that long.
    if (Math.abs(Date.now() - found.mtimeMs) > STALE_LOCK_MS) {
      await rm(lock, { force: true });
      return;
    }
    await delay(100);
  }
}
