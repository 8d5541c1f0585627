/** Merges a task's branch with the target on paper: objects are made, no ref moves, no file is touched. */
import { AppError } from "../errors.ts";
import { changedPaths } from "./changes.ts";
import type { CommitText } from "./commit-message.ts";
import { commitTree } from "./leftovers.ts";
import { pathText } from "./paths.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { git, runGit, splitAtNul, throwFailure, type GitPlace } from "./run-git.ts";

/** Only `merge` yet: always a commit with two parents, the target first. */
export type MergeStrategy = "merge";

export interface CandidateOptions {
  readonly targetSha: string;
  readonly branchSha: string;
  readonly strategy: MergeStrategy;
  readonly text: CommitText;
  /** A worktree that is at `targetSha`: merge attributes (`.gitattributes`) come from its files. None: only the repository's own apply. */
  readonly worktree?: string;
}

export type Candidate =
  | {
      readonly type: "candidate";
      readonly sha: string;
      readonly treeSha: string;
      /** What differs from the target. */
      readonly paths: readonly string[];
    }
  /** All of the branch is in the target already, or would change nothing there. */
  | { readonly type: "nothing" }
  | Conflict;

export interface Conflict {
  readonly type: "conflict";
  readonly files: readonly ConflictedFile[];
  /** git's words, one line a conflict. */
  readonly text: string;
}

export interface ConflictedFile {
  readonly path: string;
  /** Which versions there are: base, target, branch. A missing one was deleted, or never was, on that side. */
  readonly versions: readonly ("base" | "target" | "branch")[];
}

/** Repeating it gives another commit of the same tree. Throws GIT_FAILED for unknown commits or unrelated histories. */
export async function buildCandidate(core: RepositoryCore, options: CandidateOptions): Promise<Candidate> {
  const { place } = core;
  const { targetSha, branchSha, text, worktree } = options;
  const merged = await mergeUnlessIn(place, { targetSha, branchSha, ...(worktree === undefined ? {} : { worktree }) });
  if (merged.type !== "merged") return merged;
  const sha = await commitTree(core, merged.treeSha, [targetSha, branchSha], text);
  return { type: "candidate", sha, treeSha: merged.treeSha, paths: merged.paths };
}

/** Whether the target has all of the branch: merged, or squashed or rebased onto it by hand. */
export async function isWorkIn(
  place: GitPlace,
  between: Pick<CandidateOptions, "targetSha" | "branchSha">,
): Promise<boolean> {
  return (await mergeUnlessIn(place, between)).type === "nothing";
}

async function mergeUnlessIn(
  place: GitPlace,
  { targetSha, branchSha, worktree }: Pick<CandidateOptions, "targetSha" | "branchSha" | "worktree">,
): Promise<{ readonly type: "nothing" } | (Merged & { readonly paths: readonly string[] }) | Conflict> {
  const merged = await mergeOnPaper(worktree === undefined ? place : { folder: worktree }, targetSha, branchSha);
  if (merged.type === "conflict") {
    // Rebased by hand, and changed since: each commit has its like on the other side.
    const args = ["rev-list", "--count", "--cherry-pick", "--right-only", `${targetSha}...${branchSha}`, "--"];
    return (await git(place, args)) === "0" ? { type: "nothing" } : merged;
  }
  // Merged already, or squashed or rebased by hand: the merge would change nothing.
  const paths = await changedPaths(place, targetSha, merged.treeSha);
  return paths.length === 0 ? { type: "nothing" } : { ...merged, paths: paths.map(pathText) };
}

interface Merged {
  readonly type: "merged";
  readonly treeSha: string;
}

/** Would the two merge? Leaves unreachable objects behind, nothing else. */
export async function mergeOnPaper(place: GitPlace, targetSha: string, branchSha: string): Promise<Merged | Conflict> {
  const args = ["merge-tree", "--write-tree", "--messages", "-z", targetSha, branchSha];
  const result = await runGit(place, args, { mutates: true });
  const fields = splitAtNul(result.stdout);
  const treeSha = fields[0]?.toString("utf8") ?? "";
  if (result.exitCode === 0) return { type: "merged", treeSha };
  if (result.exitCode !== 1 || fields.length < 2) return throwFailure(args, result);
  return conflictFrom(fields.slice(1));
}

/**
 * git-merge-tree(1), OUTPUT: `<mode> <object> <stage>\t<path>` entries, an empty field, then messages, each
 * `<count> <path>… <type> <text>`.
 */
function conflictFrom(fields: readonly Buffer[]): Conflict {
  const versions = new Map<string, Set<ConflictedFile["versions"][number]>>();
  let at = 0;
  for (; at < fields.length; at += 1) {
    const field = fields[at];
    if (field === undefined || field.length === 0) break;
    const tab = field.indexOf(0x09);
    const path = pathText(field.subarray(tab + 1));
    const stage = field.subarray(0, tab).toString("utf8").split(" ")[2];
    const known = versions.get(path) ?? new Set();
    known.add(stage === "1" ? "base" : stage === "2" ? "target" : "branch");
    versions.set(path, known);
  }
  const lines: string[] = [];
  for (at += 1; at < fields.length;) {
    const pathCount = Number(fields[at]?.toString("utf8"));
    if (!Number.isSafeInteger(pathCount))
      throw new AppError("GIT_FAILED", "git merge-tree answered in an unknown form.");
    const type = fields[at + pathCount + 1]?.toString("utf8") ?? "";
    const message = fields[at + pathCount + 2]?.toString("utf8") ?? "";
    if (type.startsWith("CONFLICT")) lines.push(message.trimEnd());
    at += pathCount + 3;
  }
  const files = Array.from(versions, ([path, known]) => ({ path, versions: Array.from(known) }));
  return { type: "conflict", files, text: lines.join("\n") };
}
