/**
 * Moves a target branch to a commit that contains it: the one place where the engine touches what belongs to the user.
 *
 * Where the branch is checked out, git itself fast-forwards that checkout: its checks protect uncommitted, untracked
 * and ignored files, and the user's `post-merge` hook runs. Where it is checked out nowhere, the ref moves with its old
 * value as a condition. A branch that a worktree is rebasing or bisecting is never moved. What stands in the way is an
 * answer, not an error. Repeating a move that was done answers `moved` and does nothing.
 */
import { holdersOf, type Holder } from "./branch-holders.ts";
import { abortingCommand, finishingCommand, operationUnderWay } from "./operation-under-way.ts";
import { shellWord } from "./paths.ts";
import { BRANCHES, branchTip, changeRefs, headRef, isAncestor, linkedRef, resolveCommit, shortBranch } from "./refs.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { runGit, wordsOf, type GitPlace } from "./run-git.ts";

export interface MoveOptions {
  /** Short name of the branch. */
  readonly target: string;
  /** What the branch must be at. */
  readonly from: string;
  readonly to: string;
}

export type RefusalReason =
  | "operation-under-way"
  | "local-changes"
  | "untracked-files"
  | "checked-out-twice"
  | "checkout-missing"
  | "held-by-task"
  | "checkout-changed"
  | "locked"
  | "not-a-fast-forward"
  | "git-refused";

export interface MoveRefused {
  readonly type: "refused";
  readonly reason: RefusalReason;
  /** git's own words, or ours where git was not asked. */
  readonly gitWords: string;
  /** What a person runs to clear it. */
  readonly command: string;
  /** The files in the way, where git named them: relative to the checkout; lock files absolute. */
  readonly files: readonly string[];
  /** The checkout it is about; null when it is about the ref. */
  readonly worktree: string | null;
}

export type MoveOutcome =
  | { readonly type: "moved"; readonly how: "checkout" | "ref" | "already" }
  /** The branch is not at `from` (null: it is gone). Nothing was done. */
  | { readonly type: "base-moved"; readonly now: string | null }
  | MoveRefused;

export async function moveTarget(core: RepositoryCore, options: MoveOptions): Promise<MoveOutcome> {
  const { target, from, to } = options;
  const now = await branchTip(core.place, target);
  if (now === to) return { type: "moved", how: "already" };
  if (now !== from) return { type: "base-moved", now };
  const ref = BRANCHES + target;
  const full = await linkedRef(core.place, ref);
  if (full !== null) {
    return refuse(
      "git-refused",
      `${ref} is a symbolic ref to ${full}.`,
      `git symbolic-ref --delete ${shellWord(ref)}`,
      null,
    );
  }
  const checkouts = await holdersOf(core, ref);
  const obstacle = obstacleAmong(checkouts, target);
  if (obstacle !== null) return obstacle;
  const checkout = checkouts[0];
  return checkout === undefined ? await moveRef(core, options) : await fastForward(core, options, checkout);
}

function obstacleAmong(checkouts: readonly Holder[], target: string): MoveRefused | null {
  for (const checkout of checkouts) {
    const at = `git -C ${shellWord(checkout.path)}`;
    if (checkout.isMissing) {
      const words = `${target} is checked out in ${checkout.path}, which is gone.`;
      return refuse("checkout-missing", words, "git worktree prune", checkout.path);
    }
    const operation = operationUnderWay(checkout.gitDir);
    if (operation !== null) {
      const words = `A ${operation} is under way in ${checkout.path}: finish it, or give it up with ${at} ${abortingCommand(operation)}.`;
      return refuse("operation-under-way", words, `${at} ${finishingCommand(operation)}`, checkout.path);
    }
    if (!checkout.isAtHead) {
      const words = `${checkout.path} is in the middle of something that comes back to ${target}.`;
      return refuse("operation-under-way", words, `${at} status`, checkout.path);
    }
    if (checkout.isOurs) {
      const words = `${target} is checked out in ${checkout.path}, the worktree of a task.`;
      return refuse("held-by-task", words, `${at} switch --detach`, checkout.path);
    }
  }
  if (checkouts.length < 2) return null;
  const paths = checkouts.map((checkout) => checkout.path);
  const last = paths.at(-1) ?? "";
  const words = `${target} is checked out in ${paths.join(" and ")}.`;
  return refuse("checked-out-twice", words, `git -C ${shellWord(last)} switch --detach`, last);
}

async function moveRef(core: RepositoryCore, options: MoveOptions): Promise<MoveOutcome> {
  const { target, from, to } = options;
  if (!(await isAncestor(core.place, from, to))) return noFastForward(options);
  const change = { ref: BRANCHES + target, to, expected: from };
  const outcome = await changeRefs(core.place, [change], "orchestrator: merge");
  if (outcome.type === "done") return (await undoUnderCheckout(core, options)) ?? { type: "moved", how: "ref" };
  if (outcome.type === "changed") return { type: "base-moved", now: outcome.now };
  const command = `git update-ref ${shellWord(change.ref)} ${to} ${from}`;
  return refuse(isLockWords(outcome.gitWords) ? "locked" : "git-refused", outcome.gitWords, command, null);
}

/**
 * A user who checked the branch out between our look and the move has its old files and index under the new commit;
 * their next commit would take the merge back. Then the ref goes back, and the next try fast-forwards their checkout.
 */
async function undoUnderCheckout(core: RepositoryCore, { target, from, to }: MoveOptions): Promise<MoveRefused | null> {
  for (const holder of await holdersOf(core, BRANCHES + target)) {
    if (holder.isMissing || !holder.isAtHead) continue;
    const place: GitPlace = { folder: holder.path };
    const hasIndexOf = async (sha: string): Promise<boolean> =>
      (await runGit(place, ["diff-index", "--cached", "--quiet", sha, "--"])).exitCode === 0;
    if (!(await hasIndexOf(from)) || (await hasIndexOf(to))) continue;
    const change = { ref: BRANCHES + target, to: from, expected: to };
    const outcome = await changeRefs(core.place, [change], "orchestrator: checked out meanwhile");
    if (outcome.type !== "done") return null;
    const words = `${target} was checked out in ${holder.path} just now.`;
    return refuse("checkout-changed", words, `git -C ${shellWord(holder.path)} status`, holder.path);
  }
  return null;
}

async function fastForward(core: RepositoryCore, options: MoveOptions, checkout: Holder): Promise<MoveOutcome> {
  const { target, to } = options;
  const place: GitPlace = { folder: checkout.path };
  const head = await headRef(place);
  if (head !== BRANCHES + target) return checkoutChanged(checkout, target, head);
  // The flags against squash and autostash stand here too, because branch.<name>.mergeOptions outranks settings.
  const flags = ["--ff-only", "--no-overwrite-ignore", "--no-autostash", "--no-squash", "--commit"];
  const result = await runGit(place, ["merge", ...flags, to], {
    mutates: true,
    usersHooks: true,
    settings: ["merge.autoStash=false", "rebase.autoStash=false"],
  }).catch((thrown: unknown) => ({ exitCode: 1, stdout: Buffer.alloc(0), stderr: String(thrown) }));

  // Judged by what is so now, not by the exit code: the hook runs after the branch has moved, and may fail or hang.
  const [tip, headAfter] = await Promise.all([branchTip(core.place, target), headRef(place)]);
  if (tip === to || (tip !== null && tip !== options.from && (await isAncestor(core.place, to, tip)))) {
    return { type: "moved", how: "checkout" };
  }
  if (tip !== options.from) return { type: "base-moved", now: tip };
  if (headAfter !== BRANCHES + target) return await otherBranchMoved(place, checkout, target, headAfter, to);
  // git has refused that itself; this is only to call it by its name.
  if (!(await isAncestor(core.place, options.from, to))) return noFastForward(options);
  return refusalFrom(wordsOf({ ...result, stdout: result.stdout }), checkout, to);
}

function noFastForward({ from, to }: MoveOptions): MoveRefused {
  return refuse("not-a-fast-forward", `${to} does not contain ${from}.`, `git log --oneline ${from}..${to}`, null);
}

function checkoutChanged(checkout: Holder, target: string, head: string | null): MoveRefused {
  const where = head === null ? "a detached HEAD" : shortBranch(head);
  const words = `${checkout.path} was switched from ${target} to ${where} just now.`;
  return refuse("checkout-changed", words, `git -C ${shellWord(checkout.path)} status`, checkout.path);
}

/** The user switched between our look and git's: then git may have fast-forwarded what they switched to. */
async function otherBranchMoved(
  place: GitPlace,
  checkout: Holder,
  target: string,
  head: string | null,
  to: string,
): Promise<MoveRefused> {
  const changed = checkoutChanged(checkout, target, head);
  const before = await resolveCommit(place, "HEAD@{1}");
  if ((await resolveCommit(place, "HEAD")) !== to || before === null) return changed;
  const gitWords = `${changed.gitWords} It was fast-forwarded from ${before} to ${to}.`;
  return { ...changed, gitWords, command: `git -C ${shellWord(checkout.path)} reset --keep ${before}` };
}

/** English, because git is run with LANGUAGE=C; the texts are in git's unpack-trees.c, lockfile.c and merge.c. */
function refusalFrom(words: string, checkout: Holder, to: string): MoveRefused {
  const at = `git -C ${shellWord(checkout.path)}`;
  const files = Array.from(words.matchAll(/^\t(.+)$/gm), (match) => match[1] ?? "");
  const named = files.map(shellWord).join(" ");
  if (/untracked working tree files? would be (overwritten|removed)/.test(words)) {
    const command = `cd ${shellWord(checkout.path)} && mv ${files.map((file) => shellWord(`${file}`)).join(" ")} <elsewhere>`;
    return { ...refuse("untracked-files", words, command, checkout.path), files };
  }
  if (/local changes to the following files would be overwritten|not uptodate/.test(words)) {
    return { ...refuse("local-changes", words, `${at} stash push -- ${named}`, checkout.path), files };
  }
  if (isLockWords(words)) {
    const locks = Array.from(words.matchAll(/'(\/[^\n]*\.lock)'/g), (match) => match[1] ?? "");
    return { ...refuse("locked", words, `${at} status`, checkout.path), files: locks };
  }
  return refuse("git-refused", words, `${at} merge --ff-only ${to}`, checkout.path);
}

function isLockWords(words: string): boolean {
  return /\.lock': File exists|Another git process seems to be running|[Uu]nable to create '.*\.lock'/.test(words);
}

function refuse(reason: RefusalReason, gitWords: string, command: string, worktree: string | null): MoveRefused {
  return { type: "refused", reason, gitWords, command, files: [], worktree };
}
