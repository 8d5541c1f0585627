/**
 * What happened on a branch, out of its history. Pure.
 *
 * A merge is a commit with two parents on the branch's first line, a squash of ours (known by its trailer), or a
 * fast-forward by `git merge` or `git pull`. A commit event is what else was added in one move. Going back (reset) is no
 * event; a commit that was only written again (amend, rebase) is none either: it keeps its author and time of writing;
 * nor is what a rebase puts below it, which happened where it comes from.
 */
import type { BranchHistory, HistoryCommit } from "../git/branch-history.ts";

export type Origin = "user" | "orchestrator" | "other";

export interface GitEvent {
  readonly kind: "merge" | "commit";
  readonly baseSha: string;
  readonly tipSha: string;
  /** Where the branch was after the move that it is part of. */
  readonly movedTo: string;
  /** Oldest first, each with whose it is; for a merge with two parents, all are of whoever merged. */
  readonly commits: readonly { readonly sha: string; readonly origin: Origin }[];
  /** The plans whose work it brings, as far as can be told. */
  readonly plans: readonly string[];
}

export interface Facts {
  /** Of the repository's user, as configured; null: not configured. */
  readonly userEmail: string | null;
  /** The plan whose queue made the commit. */
  readonly planOf: (sha: string) => string | null;
}

/** Oldest first. */
export function findEvents(history: BranchHistory, facts: Facts): GitEvent[] {
  const { came, went, moves, since } = history;
  const known = new Map(came.map((commit) => [commit.sha, commit]));
  const rewritten = new Set(went.map((commit) => commit.written));
  const isNew = (commit: HistoryCommit): boolean => !rewritten.has(commit.written);
  // Each commit belongs to the move that first brought it.
  const seen = new Set<string>();
  const events: GitEvent[] = [];
  let before = since;
  for (const move of moves) {
    const fresh = reachable(known, [move.sha], seen);
    for (const sha of fresh) seen.add(sha);
    const originOf = (commit: HistoryCommit): Origin => originFor(commit, move.email, facts);
    const brought = new Set(reachable(known, [REBASED.exec(move.message)?.[1] ?? ""], new Set()));
    const line = firstLine(known, move.sha, new Set(fresh)).filter((one) => isNew(one) && !brought.has(one.sha));
    const merges = line.filter((commit) => commit.parents.length > 1 || isSquash(commit));
    const singles = line.filter((commit) => !merges.includes(commit));
    for (const merge of merges)
      events.push({ ...mergeEvent(merge, known, fresh, originOf(merge), facts), movedTo: move.sha });
    if (singles.length > 0) {
      const commits = singles.map((commit) => ({ sha: commit.sha, origin: originOf(commit) }));
      const tipSha = commits.at(-1)?.sha ?? move.sha;
      // Not where the branch was: what was there may be what was written again, so that nothing would seem changed.
      const baseSha = singles[0]?.parents[0] ?? before;
      const event = { baseSha, tipSha, movedTo: move.sha, commits, plans: plansOf(singles, facts) };
      if (merges.length === 0 && FAST_FORWARD.test(move.message)) events.push({ kind: "merge", ...event });
      events.push({ kind: "commit", ...event });
    }
    before = move.sha;
  }
  return events;
}

/** git writes these words itself, in English (builtin/merge.c). */
const FAST_FORWARD = /^(?:merge |pull\b)[^\n]*: Fast-forward$/;

/** `git rebase` brings what is there already below what it writes again; a pull that rebases has other words. */
const REBASED = /^rebase [^\n]* onto ([0-9a-f]{40,64})$/;

function mergeEvent(
  merge: HistoryCommit,
  known: ReadonlyMap<string, HistoryCommit>,
  fresh: readonly string[],
  origin: Origin,
  facts: Facts,
): Omit<GitEvent, "movedTo"> {
  const [first = "", ...others] = merge.parents;
  const before = new Set(reachable(known, [first], new Set()));
  const brought = reachable(known, others, before).filter((sha) => fresh.includes(sha));
  const commits = [...brought.reverse(), merge.sha].map((sha) => ({ sha, origin }));
  const all = [merge, ...brought.flatMap((sha) => known.get(sha) ?? [])];
  return { kind: "merge", baseSha: first, tipSha: merge.sha, commits, plans: plansOf(all, facts) };
}

function isSquash(commit: HistoryCommit): boolean {
  return commit.trailers !== null && commit.parents.length === 1;
}

function originFor(commit: HistoryCommit, moverEmail: string, { userEmail, planOf }: Facts): Origin {
  if (commit.trailers !== null || planOf(commit.sha) !== null) return "orchestrator";
  const { committerEmail } = commit;
  // Who moves a branch on this machine is its user, whatever name the environment gave them for it.
  return committerEmail !== "" && (committerEmail === userEmail || committerEmail === moverEmail) ? "user" : "other";
}

/** Also of a merge by hand, whose subject names the branch. */
const TASK_BRANCH = /\borchestrator\/([a-z0-9][a-z0-9._-]*)\/[a-z0-9]/;

function plansOf(commits: readonly HistoryCommit[], { planOf }: Facts): string[] {
  const plans = new Set<string>();
  for (const { sha, trailers, subject, parents } of commits) {
    const named = parents.length > 1 ? (TASK_BRANCH.exec(subject)?.[1] ?? null) : null;
    for (const plan of [trailers?.planId ?? null, planOf(sha), named]) if (plan !== null) plans.add(plan);
  }
  return [...plans];
}

/** The branch's own line from `tip` back, as far as it is in `within`; oldest first. */
function firstLine(
  known: ReadonlyMap<string, HistoryCommit>,
  tip: string,
  within: ReadonlySet<string>,
): HistoryCommit[] {
  const line: HistoryCommit[] = [];
  for (let sha: string | undefined = tip; sha !== undefined && within.has(sha);) {
    const commit: HistoryCommit | undefined = known.get(sha);
    if (commit === undefined) break;
    line.unshift(commit);
    sha = commit.parents[0];
  }
  return line;
}

/** Newest first, as a walk along parents finds them; only commits that are known and not in `without`. */
function reachable(
  known: ReadonlyMap<string, HistoryCommit>,
  from: readonly string[],
  without: ReadonlySet<string>,
): string[] {
  const found = new Set<string>();
  const open = [...from];
  for (let sha = open.pop(); sha !== undefined; sha = open.pop()) {
    const commit = known.get(sha);
    if (commit === undefined || found.has(sha) || without.has(sha)) continue;
    found.add(sha);
    open.push(...commit.parents);
  }
  return [...found];
}
