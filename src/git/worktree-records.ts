/**
 * What the repository knows of its worktrees: git's own list, and the administrative folders behind it
 * (`<common dir>/worktrees/<id>/`), where ours carry a mark.
 *
 * A worktree is ours when its lock reason or its mark says so. The mark is written when the worktree is complete, so
 * one of ours without it was interrupted while it was made, and nobody ever worked in it.
 */
import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ifAbsent } from "./if-absent.ts";
import { gitFields, type GitPlace } from "./run-git.ts";

/** Begins the lock reason of each of our worktrees. */
export const LOCK_REASON_START = "orchestrator:";

export type WorktreeMark =
  | {
      readonly kind: "task";
      readonly planId: string;
      readonly taskId: string;
      readonly branch: string;
      readonly startSha: string;
      /** Paths that were copied or linked in, never to be committed. */
      readonly leaveOut?: readonly string[];
      /** Set when removing began: all that is worth keeping has a ref, what is left may be half deleted. */
      readonly isBeingRemoved?: boolean;
    }
  | { readonly kind: "queue"; readonly target: string };

/** One folder of `<common dir>/worktrees/`. */
export interface WorktreeRecord {
  readonly id: string;
  readonly gitDir: string;
  /** Where the worktree should be; null when git was interrupted before it wrote that down. */
  readonly path: string | null;
  readonly isOurs: boolean;
  readonly mark: WorktreeMark | null;
}

/** One worktree of git's list. */
export interface ListedWorktree {
  readonly path: string;
  /** Full ref; null when detached. */
  readonly branch: string | null;
  readonly isBare: boolean;
  /** git thinks that the folder is gone. */
  readonly isPrunable: boolean;
}

const MARK_FILE = "orchestrator.json";

/** All linked worktrees, also those that git's list leaves out because they are broken. */
export async function readRecords(commonDir: string): Promise<WorktreeRecord[]> {
  const folder = join(commonDir, "worktrees");
  const ids = await readdir(folder).catch(ifAbsent<string[]>([]));
  const records: WorktreeRecord[] = [];
  // One after the other: with some hundred worktrees all at once would take every descriptor there is.
  for (const id of ids) records.push(await readRecord(join(folder, id), id));
  return records;
}

export async function findRecord(commonDir: string, path: string): Promise<WorktreeRecord | null> {
  return (await readRecords(commonDir)).find((record) => record.path === path) ?? null;
}

/** Whole or not at all, also when the machine stops in the middle. */
export async function writeMark(gitDir: string, mark: WorktreeMark): Promise<void> {
  const draft = join(gitDir, `${MARK_FILE}.new`);
  await writeFile(draft, `${JSON.stringify(mark)}\n`);
  await rename(draft, join(gitDir, MARK_FILE));
}

/** git's list, the main worktree first. */
export async function listWorktrees(place: GitPlace): Promise<ListedWorktree[]> {
  const fields = await gitFields(place, ["worktree", "list", "--porcelain", "-z"]);
  const worktrees: ListedWorktree[] = [];
  let lines: string[] = [];
  for (const field of fields) {
    if (field.length > 0) lines.push(field.toString("utf8"));
    else {
      if (lines.length > 0) worktrees.push(listedFrom(lines));
      lines = [];
    }
  }
  return worktrees;
}

function listedFrom(lines: readonly string[]): ListedWorktree {
  const value = (key: string): string | null =>
    lines.find((line) => line.startsWith(`${key} `))?.slice(key.length + 1) ?? null;
  return {
    path: value("worktree") ?? "",
    branch: value("branch"),
    isBare: lines.includes("bare"),
    isPrunable: lines.some((line) => line === "prunable" || line.startsWith("prunable ")),
  };
}

async function readRecord(gitDir: string, id: string): Promise<WorktreeRecord> {
  const [pointer, reason, marked] = await Promise.all(
    ["gitdir", "locked", MARK_FILE].map((name) => readFile(join(gitDir, name), "utf8").catch(ifAbsent(null))),
  );
  const mark = parseMark(marked ?? null);
  // Relative from git 2.48 on, with worktree.useRelativePaths.
  const dotGit = pointer?.replace(/\n$/, "") ?? "";
  return {
    id,
    gitDir,
    path: dotGit === "" ? null : dirname(resolve(gitDir, dotGit)),
    isOurs: mark !== null || reason?.startsWith(LOCK_REASON_START) === true,
    mark,
  };
}

function parseMark(text: string | null): WorktreeMark | null {
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const fields = value as Record<string, unknown>;
  const { kind, planId, taskId, branch, startSha, target, leaveOut, isBeingRemoved } = fields;
  if (kind === "queue" && typeof target === "string") return { kind, target };
  if (kind !== "task" || typeof planId !== "string" || typeof taskId !== "string") return null;
  if (typeof branch !== "string" || typeof startSha !== "string") return null;
  const paths = Array.isArray(leaveOut) ? leaveOut.filter((path) => typeof path === "string") : [];
  return { kind, planId, taskId, branch, startSha, leaveOut: paths, isBeingRemoved: isBeingRemoved === true };
}
