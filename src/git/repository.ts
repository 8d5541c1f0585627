/**
 * One git repository, and everything this project does to it. This folder is the only one that runs git.
 *
 * Always true: no git child sees an inherited `GIT_*`; none prompts, signs, packs or starts a daemon; no hook runs,
 * save in the fast-forward of a user's checkout; changes run one after another, reads beside them; a ref moves only
 * with its old value as a condition; nothing unmerged is deleted without a ref that keeps it. It never writes to the
 * user's configuration, index or files, save by a fast-forward that git itself accepts.
 */
import { realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import pLimit from "p-limit";
import { AppError } from "../errors.ts";
import {
  addedPaths,
  branchBirth,
  branchHistory,
  changedNames,
  recentHeads,
  type BranchHistory,
} from "./branch-history.ts";
import {
  buildCandidate,
  isWorkIn,
  mergeOnPaper,
  type Candidate,
  type CandidateOptions,
  type Conflict,
} from "./candidate.ts";
import {
  changedFiles,
  changedPaths,
  diffText,
  mergeBase,
  type ChangedFile,
  type DiffOptions,
  type DiffText,
} from "./changes.ts";
import { changeTurns } from "./change-turns.ts";
import { trailersOf, type CommitTrailers } from "./commit-message.ts";
import { configuredEmail, identityReader } from "./identity.ts";
import { keepCommit, listKept, type KeptRef } from "./kept-refs.ts";
import { moveTarget, type MoveOptions, type MoveOutcome } from "./move-target.ts";
import { deleteQueueWorktree, deleteQueueWorktrees, queueWorktreeAt } from "./queue-worktrees.ts";
import { pathText } from "./paths.ts";
import * as refs from "./refs.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { git, runGit, wordsOf, type GitPlace } from "./run-git.ts";
import { findStrays, type StrayMark } from "./stray-state.ts";
import { folderFor, folderInUse } from "./worktree-folders.ts";
import { listWorktrees } from "./worktree-records.ts";
import { TaskWorktrees } from "./worktrees.ts";

export interface OpenOptions {
  /** Holds the worktrees of all repositories, such as `~/.orchestrator/worktrees`. Need not exist. */
  readonly worktreesRoot: string;
}

/** Refs of ours lie here; `setRef` moves no other. */
const OWN_REFS = "refs/orchestrator/";

/** merge-tree --write-tree came with 2.38. */
const OLDEST_GIT = [2, 38] as const;

/**
 * The repository that `path` is in. Changes nothing. Throws NOT_A_REPOSITORY, REPOSITORY_UNUSABLE (bare, without a
 * commit, not ours to read, or with a branch `orchestrator`), NOT_SUPPORTED (no git, or an old one).
 */
export async function openRepository(path: string, options: OpenOptions): Promise<Repository> {
  const folder = await existingFolder(path);
  await checkVersion({ folder });
  const { commonDir, mainWorktree } = await locate(folder);
  const turns = changeTurns();
  const moveInTurn = pLimit(1);
  // The folder is named, not looked for: safe.bareRepository may forbid the latter inside a git folder.
  const place: GitPlace = { folder: commonDir, gitDir: commonDir };
  const core: RepositoryCore = {
    commonDir,
    mainWorktree,
    worktreesFolder: await folderInUse(await folderFor(options.worktreesRoot, mainWorktree, commonDir), commonDir),
    place,
    identity: identityReader(place),
    mutate: turns.alone,
    mutateWorktree: turns.beside,
    moveInTurn: (work) => moveInTurn(work),
  };
  await checkUsable(core);
  return new Repository(core);
}

export class Repository {
  readonly commonDir: string;
  readonly mainWorktree: string;
  /** Where this repository's worktrees lie: whoever works below it is a satellite. */
  readonly worktreesFolder: string;
  readonly worktrees: TaskWorktrees;
  readonly #core: RepositoryCore;

  constructor(core: RepositoryCore) {
    this.commonDir = core.commonDir;
    this.mainWorktree = core.mainWorktree;
    this.worktreesFolder = core.worktreesFolder;
    this.worktrees = new TaskWorktrees(core);
    this.#core = core;
  }

  /** The branch checked out in `worktree` (default: the main one); null when HEAD is detached. */
  async currentBranch(worktree: string = this.mainWorktree): Promise<string | null> {
    const ref = await refs.headRef({ folder: worktree });
    return ref === null ? null : refs.shortBranch(ref);
  }

  /** The root of the worktree that `folder` is in; null when it is in none, such as inside the git folder. */
  async worktreeAt(folder: string): Promise<string | null> {
    const args = ["rev-parse", "--path-format=absolute", "--show-toplevel"];
    const result = await runGit({ folder }, args).catch(() => null);
    return result?.exitCode === 0 ? result.stdout.toString("utf8").replace(/\n$/, "") : null;
  }

  /** The commit that a ref, a branch or a hash names, or null. Prefer full refs: a tag hides a branch of its name. */
  async resolve(refOrSha: string): Promise<string | null> {
    return await refs.resolveCommit(this.#core.place, refOrSha);
  }

  /** The commit a branch is at, or null when there is no such branch. */
  async branchTip(name: string): Promise<string | null> {
    return await refs.branchTip(this.#core.place, name);
  }

  async branchExists(name: string): Promise<boolean> {
    return (await this.branchTip(name)) !== null;
  }

  /** All local branches with their commits. */
  async branchTips(): Promise<Map<string, string>> {
    const listed = await git(this.#core.place, ["for-each-ref", "--format=%(objectname) %(refname)", refs.BRANCHES]);
    return new Map(
      listed
        .split("\n")
        .filter(Boolean)
        .map((line) => {
          const space = line.indexOf(" ");
          return [refs.shortBranch(line.slice(space + 1)), line.slice(0, space)] as const;
        }),
    );
  }

  /** See branch-history.ts. */
  async branchHistory(branch: string, since: string): Promise<BranchHistory | null> {
    return await branchHistory(this.#core.place, branch, since);
  }

  /** See branch-history.ts. */
  async branchBirth(branch: string): Promise<string | null> {
    return await branchBirth(this.#core.place, branch);
  }

  /** Where HEAD of the main worktree was lately, by its reflog and as it is now. */
  async recentHeads(): Promise<Set<string>> {
    return await recentHeads({ folder: this.mainWorktree });
  }

  /** See branch-history.ts. */
  async addedPaths(since: string, tip: string, isWanted: (path: string) => boolean): Promise<string[]> {
    return await addedPaths(this.#core.place, since, tip, isWanted);
  }

  /** The names of files that differ, each with a NUL behind it, as bytes. */
  async changedNames(base: string, tip: string): Promise<Buffer> {
    return await changedNames(this.#core.place, base, tip);
  }

  /** The address that the repository's user commits with, as configured. */
  async userEmail(): Promise<string | null> {
    return await configuredEmail({ folder: this.mainWorktree });
  }

  /** Changes nothing. Throws INPUT_INVALID for a name that no branch can have, or that is reserved. */
  async checkNewBranch(name: string): Promise<void> {
    await refs.checkBranchName(this.#core.place, name);
    if (/^orchestrator(\/|$)/i.test(name)) {
      throw new AppError("INPUT_INVALID", `Branches named ${name} are made by the orchestrator. Choose another name.`);
    }
  }

  /** Throws INPUT_INVALID for a name that can't be, is reserved or is taken. */
  async createBranch(name: string, fromSha: string): Promise<void> {
    await this.checkNewBranch(name);
    const change = { ref: refs.BRANCHES + name, to: fromSha, expected: null };
    const outcome = await this.#core.mutate(async () => {
      if (await this.branchExists(name)) return { type: "changed" } as const;
      return await refs.changeRefs(this.#core.place, [change], "orchestrator: new target");
    });
    if (outcome.type === "done") return;
    const why = outcome.type === "changed" ? "a branch of that name exists" : outcome.gitWords;
    throw new AppError("INPUT_INVALID", `The branch ${name} can't be made: ${why}.`, { details: { name } });
  }

  async isAncestor(ancestor: string, descendant: string): Promise<boolean> {
    return await refs.isAncestor(this.#core.place, ancestor, descendant);
  }

  async mergeBase(left: string, right: string): Promise<string | null> {
    return await mergeBase(this.#core.place, left, right);
  }

  /** Sets or (null) deletes a ref below `refs/orchestrator/`, if it is as expected (not given: in any case). Throws INPUT_INVALID for any other ref. */
  async setRef(
    ref: string,
    sha: string | null,
    condition: { readonly expected?: string | null } = {},
  ): Promise<refs.RefOutcome> {
    if (!ref.startsWith(OWN_REFS)) throw new AppError("INPUT_INVALID", `${ref} is not below ${OWN_REFS}.`);
    const change = { ref, to: sha, ...condition };
    return await this.#core.mutate(() => refs.changeRefs(this.#core.place, [change], "orchestrator"));
  }

  /** A ref under `refs/orchestrator/kept/` for `sha`, a new one or the one that keeps it already. */
  async keep(task: { readonly planId: string; readonly taskId: string }, sha: string, why: string): Promise<KeptRef> {
    return await this.#core.mutate(() => keepCommit(this.#core.place, task, sha, why));
  }

  async keptRefs(of: { readonly planId?: string; readonly taskId?: string } = {}): Promise<KeptRef[]> {
    return await listKept(this.#core.place, of);
  }

  /** The trailers that say of which task a commit is; null for anyone else's commit. */
  async trailers(sha: string): Promise<CommitTrailers | null> {
    return trailersOf(
      await git(this.#core.place, ["show", "--no-patch", "--format=%B", "--no-show-signature", sha, "--"]),
    );
  }

  /** From `base` to `head`, both commits; for a task's own work give the merge base. */
  async diff(base: string, head: string, options: DiffOptions): Promise<DiffText> {
    return await diffText(this.#core.place, base, head, options);
  }

  async changedFiles(base: string, head: string): Promise<ChangedFile[]> {
    return await changedFiles(this.#core.place, base, head);
  }

  /** Each path that differs, both of a renamed file. */
  async changedPaths(base: string, head: string): Promise<string[]> {
    return base === head ? [] : (await changedPaths(this.#core.place, base, head)).map(pathText);
  }

  /** See candidate.ts. */
  async buildCandidate(options: CandidateOptions): Promise<Candidate> {
    return await buildCandidate(this.#core, options);
  }

  /** See candidate.ts. */
  async isWorkIn(targetSha: string, branchSha: string): Promise<boolean> {
    return await isWorkIn(this.#core.place, { targetSha, branchSha });
  }

  /** Would two running branches collide? null when they merge. */
  async conflictBetween(left: string, right: string): Promise<Conflict | null> {
    const merged = await mergeOnPaper(this.#core.place, left, right);
    return merged.type === "conflict" ? merged : null;
  }

  /** The queue's worktree of `target`, checked out at `sha`; see queue-worktrees.ts. One caller a target at a time. */
  async queueWorktree(target: string, sha: string): Promise<string> {
    return await this.#core.mutate(() => queueWorktreeAt(this.#core, target, sha));
  }

  /** A worktree of the plan's own, like a queue's, in which the orchestrator role looks around. One caller at a time. */
  async consultingWorktree(planId: string, sha: string): Promise<string> {
    return await this.#core.mutate(() => queueWorktreeAt(this.#core, consultingName(planId), sha));
  }

  async removeConsultingWorktree(planId: string): Promise<void> {
    await this.#core.mutate(() => deleteQueueWorktree(this.#core, consultingName(planId)));
  }

  /** Deletes the queue's worktrees save those of `keptTargets`. Throws WORKTREE_FAILED. */
  async removeQueueWorktrees(keptTargets: ReadonlySet<string>): Promise<void> {
    await this.#core.mutate(() => deleteQueueWorktrees(this.#core, keptTargets));
  }

  /** See move-target.ts. */
  async moveTarget(options: MoveOptions): Promise<MoveOutcome> {
    return await this.#core.moveInTurn(() => moveTarget(this.#core, options));
  }

  /** Stray state for `doctor`. */
  async gitMarks(nowMs: number): Promise<StrayMark[]> {
    return await findStrays(this.#core, nowMs);
  }
}

/** No branch can be named so, so that no target has the same worktree. */
function consultingName(planId: string): string {
  return `questions:${planId}`;
}

async function existingFolder(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  if (found === null) throw new AppError("NOT_A_REPOSITORY", `${path} does not exist.`, { details: { path } });
  return await realpath(found.isDirectory() ? path : dirname(path));
}

async function checkVersion(place: GitPlace): Promise<void> {
  const version = await git(place, ["version"]);
  const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
  if (major > OLDEST_GIT[0] || (major === OLDEST_GIT[0] && minor >= OLDEST_GIT[1])) return;
  throw new AppError("NOT_SUPPORTED", `${version} is too old: git ${OLDEST_GIT.join(".")} or newer is needed.`);
}

async function locate(folder: string): Promise<{ commonDir: string; mainWorktree: string }> {
  // One question a path: a path may hold a newline, and rev-parse knows no -z.
  const ask = async (...question: readonly string[]): Promise<string> => {
    const result = await runGit({ folder }, ["rev-parse", "--path-format=absolute", ...question]);
    if (result.exitCode !== 0) throw notARepository(folder, wordsOf(result));
    return result.stdout.toString("utf8").replace(/\n$/, "");
  };
  const [gitDir, common, isBare] = await Promise.all(
    ["--git-dir", "--git-common-dir", "--is-bare-repository"].map((question) => ask(question)),
  );
  const commonDir = await realpath(common ?? "");
  const listed = await listWorktrees({ folder });
  if (isBare === "true" || listed[0]?.isBare === true) {
    throw unusable(folder, "it is bare: clone it, and use the clone");
  }
  // git's list derives the main worktree from the git folder's place, which is wrong where that lies elsewhere.
  const isMain = (await realpath(gitDir ?? "")) === commonDir;
  const top = isMain ? await runGit({ folder }, ["rev-parse", "--show-toplevel"]) : null;
  const shown = top?.exitCode === 0 ? top.stdout.toString("utf8").replace(/\n$/, "") : listed[0]?.path;
  const mainWorktree = await realpath(resolve(shown ?? folder)).catch(() => null);
  if (mainWorktree === null) throw unusable(folder, `its main worktree ${shown ?? ""} is gone`);
  return { commonDir, mainWorktree };
}

function notARepository(folder: string, words: string): AppError {
  if (!/not a git repository/i.test(words)) return unusable(folder, words);
  const message = `${folder} is not in a git repository. Run \`git init\` there, or go to a repository.`;
  return new AppError("NOT_A_REPOSITORY", message, { details: { path: folder, gitWords: words } });
}

async function checkUsable(core: RepositoryCore): Promise<void> {
  const listed = await git(core.place, ["for-each-ref", "--format=%(refname)", "refs/heads/", "refs/orchestrator"]);
  const names = listed.split("\n").filter((name) => name !== "");
  const isSame = await namesAreCompared(core.place);
  const blocking = names.find((name) => isSame(name, "refs/heads/orchestrator") || name === "refs/orchestrator");
  if (blocking !== undefined) {
    const rename = blocking.startsWith(refs.BRANCHES)
      ? `git branch -m ${refs.shortBranch(blocking)} <new name>`
      : `git update-ref -d ${blocking}`;
    throw unusable(core.mainWorktree, `${blocking} leaves no room for branches orchestrator/…: run \`${rename}\``);
  }
  if ((await refs.resolveCommit(core.place, "HEAD")) !== null || names.some((name) => name.startsWith(refs.BRANCHES)))
    return;
  throw unusable(core.mainWorktree, "it has no commit yet: make the first one");
}

/** Where file names are compared without case, so are the refs that are files. */
async function namesAreCompared(place: GitPlace): Promise<(left: string, right: string) => boolean> {
  const ignoresCase = await runGit(place, ["config", "--type=bool", "--get", "core.ignoreCase"]);
  if (ignoresCase.stdout.toString("utf8").trim() !== "true") return (left, right) => left === right;
  return (left, right) => left.toLowerCase() === right.toLowerCase();
}

function unusable(folder: string, why: string): AppError {
  return new AppError("REPOSITORY_UNUSABLE", `The repository in ${folder} can't be used: ${why}.`, {
    details: { path: folder },
  });
}
