/** What differs between two commits, or between a commit and a worktree. Reads only. */
import { pathText } from "./paths.ts";
import { git, gitFields, runGit, throwFailure, type GitPlace } from "./run-git.ts";

export interface ChangedFile {
  /** `\xNN` stands for bytes that are not UTF-8. */
  readonly path: string;
  /** Added, Modified, Deleted, Renamed, Copied, Type changed, Unmerged. */
  readonly status: "A" | "M" | "D" | "R" | "C" | "T" | "U";
  /** Where a renamed or copied file was before. */
  readonly previousPath: string | null;
  /** null for binary files. */
  readonly insertions: number | null;
  readonly deletions: number | null;
}

export interface DiffOptions {
  readonly format: "stat" | "patch";
  /** Text beyond is cut; default 200 000. */
  readonly maxBytes?: number;
  /** Only these files and folders, taken literally. */
  readonly paths?: readonly string[];
}

export interface DiffText {
  readonly text: string;
  readonly isTruncated: boolean;
}

const DEFAULT_MAX_BYTES = 200_000;

/** No program of the user's configuration runs, and its settings don't change the form. */
const PLAIN = ["--no-ext-diff", "--no-textconv", "--no-color", "--find-renames", "--no-relative"];

/** For people and models. Cut at a line's end. */
export async function diffText(place: GitPlace, base: string, head: string, options: DiffOptions): Promise<DiffText> {
  const form = options.format === "stat" ? ["--stat=120,90"] : ["--patch"];
  const args = ["--literal-pathspecs", "diff", ...PLAIN, ...form, base, head, "--", ...(options.paths ?? [])];
  const maxOutputBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  const result = await runGit(place, args, { maxOutputBytes });
  if (result.isTruncated) {
    const end = result.stdout.lastIndexOf(0x0a);
    return { text: result.stdout.subarray(0, end + 1).toString("utf8"), isTruncated: true };
  }
  if (result.exitCode !== 0) throwFailure(["diff"], result);
  return { text: result.stdout.toString("utf8"), isTruncated: false };
}

/** Each file that differs. `head` null: the worktree at `place`, without files that git does not know. */
export async function changedFiles(place: GitPlace, base: string, head: string | null): Promise<ChangedFile[]> {
  const range = head === null ? [base] : [base, head];
  const fields = await gitFields(place, ["diff", ...PLAIN, "--raw", "--numstat", "-z", ...range, "--"]);
  return parseRawAndNumstat(fields);
}

/** Each path that differs between two commits or trees, both of a renamed file. Empty: the trees are the same. */
export async function changedPaths(place: GitPlace, from: string, to: string): Promise<Buffer[]> {
  const flags = ["-r", "--name-only", "--no-renames", "--no-commit-id", "--ignore-submodules=none", "-z"];
  return await gitFields(place, ["diff-tree", ...flags, from, to]);
}

/** Files that git does not know and does not ignore; a nested repository is one entry that ends with `/`. */
export async function untrackedFiles(place: GitPlace, pathspecs: readonly string[] = []): Promise<Buffer[]> {
  return await gitFields(place, ["ls-files", "--others", "--exclude-standard", "-z", "--", ...pathspecs]);
}

/** True when anything that `pathspecs` cover differs from HEAD, untracked files included. */
export async function hasUncommittedChanges(place: GitPlace, pathspecs: readonly string[]): Promise<boolean> {
  return (await git(place, ["status", "--porcelain=v1", "-z", "--ignore-submodules=none", "--", ...pathspecs])) !== "";
}

/** The best common ancestor, or null where the histories share none. */
export async function mergeBase(place: GitPlace, left: string, right: string): Promise<string | null> {
  const sha = await git(place, ["merge-base", left, right], { alsoOk: [1] });
  return sha === "" ? null : sha;
}

/** `--raw -z` entries (`:modes shas status NUL path [NUL path]`) come first, then `--numstat -z` ones, in the same order. */
function parseRawAndNumstat(fields: readonly Buffer[]): ChangedFile[] {
  const files: Omit<ChangedFile, "insertions" | "deletions">[] = [];
  let at = 0;
  const next = (): string => pathText(fields[at++] ?? Buffer.alloc(0));
  while (fields[at]?.[0] === 0x3a) {
    const status = (next().split(" ")[4] ?? "M").charAt(0) as ChangedFile["status"];
    const first = next();
    const isPair = status === "R" || status === "C";
    files.push({ path: isPair ? next() : first, status, previousPath: isPair ? first : null });
  }
  return files.map((file) => {
    const [insertions, deletions, path] = next().split("\t");
    // For a pair the path field is empty and both names follow.
    if (path === "") at += 2;
    return { ...file, insertions: countFrom(insertions), deletions: countFrom(deletions) };
  });
}

function countFrom(text: string | undefined): number | null {
  const count = Number.parseInt(text ?? "", 10);
  return Number.isNaN(count) ? null : count;
}
