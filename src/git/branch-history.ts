/** What happened to a branch since it was at a commit: its reflog, and the commits that came and went. Reads only. */
import { trailersOf, type CommitTrailers } from "./commit-message.ts";
import { pathText } from "./paths.ts";
import { BRANCHES, resolveCommit } from "./refs.ts";
import { gitFields, runGit, splitAtNul, type GitPlace } from "./run-git.ts";

/** The branch was set to `sha`: one entry of its reflog. */
export interface BranchMove {
  readonly sha: string;
  /** Whoever's git did it, on this machine. Empty: unknown. */
  readonly email: string;
  /** As git writes it: `merge topic: Fast-forward`, `commit (amend): …`. */
  readonly message: string;
}

export interface HistoryCommit {
  readonly sha: string;
  readonly parents: readonly string[];
  /** The author and the time of writing: what amending and rebasing leave as they were. */
  readonly written: string;
  readonly committerEmail: string;
  readonly subject: string;
  readonly trailers: CommitTrailers | null;
}

export interface BranchHistory {
  readonly since: string;
  readonly tip: string;
  /** Oldest first; the last one leads to `tip`. */
  readonly moves: readonly BranchMove[];
  /** In the branch now and not at `since`; newest first. */
  readonly came: readonly HistoryCommit[];
  /** At `since` and not in the branch now. */
  readonly went: readonly HistoryCommit[];
}

/** Far more than anybody does between two looks; what is older is seen as one move. */
const MAX_MOVES = 500;
const MAX_COMMITS = 2_000;

/**
 * Null when there is nothing to tell: the branch is gone or where it was, or `since` was collected as garbage. Entries
 * that git dropped from the reflog (gc, a deleted branch, `core.logAllRefUpdates=false`) are made up for by one move.
 */
export async function branchHistory(place: GitPlace, branch: string, since: string): Promise<BranchHistory | null> {
  const tip = await resolveCommit(place, BRANCHES + branch);
  if (tip === null || tip === since || (await resolveCommit(place, `${since}^0`)) === null) return null;
  const [moves, came, went] = await Promise.all([
    movesSince(place, branch, since, tip),
    commits(place, tip, since),
    commits(place, since, tip),
  ]);
  return { since, tip, moves, came, went };
}

async function movesSince(place: GitPlace, branch: string, since: string, tip: string): Promise<BranchMove[]> {
  const args = ["log", "--walk-reflogs", "-z", `--max-count=${MAX_MOVES}`, "--format=%H%x00%ge%x00%gs"];
  const result = await runGit(place, [...args, BRANCHES + branch, "--"]);
  const fields = result.exitCode === 0 ? splitAtNul(result.stdout).map(String) : [];
  const moves: BranchMove[] = [];
  for (let at = 0; at + 2 < fields.length; at += 3) {
    const [sha = "", email = "", message = ""] = fields.slice(at, at + 3);
    // The latest time that it was there: what came before was looked at.
    if (sha === since) return ending(moves, tip);
    moves.unshift({ sha, email, message });
  }
  const last = moves.at(-1);
  return [{ sha: tip, email: last?.sha === tip ? last.email : "", message: "" }];
}

/** Moved without a word in the reflog: one more move. */
function ending(moves: BranchMove[], tip: string): BranchMove[] {
  return moves.at(-1)?.sha === tip ? moves : [...moves, { sha: tip, email: "", message: "" }];
}

async function commits(place: GitPlace, from: string, without: string): Promise<HistoryCommit[]> {
  const format = "--format=%H%x00%P%x00%an%x00%ae%x00%at%x00%ce%x00%s%x00%B";
  const args = ["log", "-z", `--max-count=${MAX_COMMITS}`, "--topo-order", format, from, `^${without}`, "--"];
  const fields = (await gitFields(place, args)).map(String);
  const found: HistoryCommit[] = [];
  for (let at = 0; at + 7 < fields.length; at += 8) {
    const [sha = "", parents = "", name, email, atSeconds, committerEmail = "", subject = "", body = ""] = fields.slice(
      at,
      at + 8,
    );
    found.push({
      sha,
      parents: parents.split(" ").filter((parent) => parent !== ""),
      written: `${name ?? ""} ${email ?? ""} ${atSeconds ?? ""}`,
      committerEmail,
      subject,
      trailers: trailersOf(body),
    });
  }
  return found;
}

/** Where a branch began, if its reflog still tells how it was made; null: it may be older than that. */
export async function branchBirth(place: GitPlace, branch: string): Promise<string | null> {
  const args = ["log", "--walk-reflogs", "-z", `--max-count=${MAX_MOVES + 1}`, "--format=%H%x00%gs"];
  const result = await runGit(place, [...args, BRANCHES + branch, "--"]);
  const fields = result.exitCode === 0 ? splitAtNul(result.stdout).map(String) : [];
  const [sha, message] = fields.slice(-2);
  return sha !== undefined && message?.startsWith("branch: Created ") === true ? sha : null;
}

/** The commits that HEAD was at lately, in this worktree. */
export async function recentHeads(place: GitPlace): Promise<Set<string>> {
  const args = ["log", "--walk-reflogs", `--max-count=${MAX_MOVES}`, "--format=%H", "HEAD", "--"];
  const result = await runGit(place, args);
  const now = await resolveCommit(place, "HEAD");
  const heads = result.exitCode === 0 ? result.stdout.toString("utf8").split("\n").filter(Boolean) : [];
  return new Set(now === null ? heads : [...heads, now]);
}

/** Every file that differs between two commits, NUL behind each name, as the bytes that git knows it by. */
export async function changedNames(place: GitPlace, base: string, tip: string): Promise<Buffer> {
  const args = ["diff", "--name-only", "--no-renames", "--no-ext-diff", "--no-relative", "-z", base, tip, "--"];
  const names = await gitFields(place, args);
  return Buffer.concat(names.flatMap((name) => [name, Buffer.from([0])]));
}

/**
 * The wanted paths that some commit of `tip` adds and `since` does not have, also where a later commit takes them out
 * again.
 */
export async function addedPaths(
  place: GitPlace,
  since: string,
  tip: string,
  isWanted: (path: string) => boolean,
): Promise<string[]> {
  const form = ["-z", "--format=", "--name-only", "--no-renames", "--diff-filter=A", "--no-ext-diff", "--no-relative"];
  // -m: what a merge adds by itself counts as well, and what it brings from `since` is taken off below.
  const names = await gitFields(place, ["log", "-m", "--root", ...form, tip, `^${since}`, "--"]);
  const wanted = [...new Set(names.map(pathText))].filter((name) => name !== "" && isWanted(name));
  if (wanted.length === 0) return [];
  const known = new Set((await gitFields(place, ["ls-tree", "-r", "-z", "--name-only", since])).map(pathText));
  return wanted.filter((path) => !known.has(path));
}
