/** What a worktree is in the middle of, read from its git folder's files: a pure look, no git is run. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ifAbsent } from "./if-absent.ts";

export type GitOperation = "rebase" | "am" | "merge" | "cherry-pick" | "revert" | "bisect";

/** The operation in the middle of which the worktree of `gitDir` is, or null. */
export function operationUnderWay(gitDir: string): GitOperation | null {
  const has = (name: string): boolean => existsSync(join(gitDir, name));
  if (has("rebase-merge")) return "rebase";
  if (has("rebase-apply")) return has("rebase-apply/applying") ? "am" : "rebase";
  if (has("MERGE_HEAD")) return "merge";
  if (has("CHERRY_PICK_HEAD")) return "cherry-pick";
  if (has("REVERT_HEAD")) return "revert";
  // Several commits picked or reverted, between two of them.
  if (has("sequencer")) return "cherry-pick";
  if (has("BISECT_START") || has("BISECT_LOG")) return "bisect";
  return null;
}

/**
 * Full names of branches that this worktree will come back to or move, though HEAD is elsewhere: what git's own
 * `branch -f` looks at (branch.c, prepare_checked_out_branches).
 */
export async function branchesHeld(gitDir: string): Promise<string[]> {
  const names = await Promise.all(
    ["rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START"].map((file) => firstLine(join(gitDir, file))),
  );
  const updates = await linesOf(join(gitDir, "rebase-merge/update-refs"));
  const held = names
    .filter((name) => name !== null)
    .map((name) => (name.startsWith("refs/") ? name : `refs/heads/${name}`));
  return [...held, ...updates.filter((line) => line.startsWith("refs/"))];
}

/** The command that gives `operation` up, as words after `git -C <worktree>`. */
export function abortingCommand(operation: GitOperation): string {
  return operation === "bisect" ? "bisect reset" : `${operation} --abort`;
}

/** The command that finishes `operation` and keeps what was done in it: what to tell a person, whose work it is. */
export function finishingCommand(operation: GitOperation): string {
  return operation === "bisect" ? "bisect reset" : `${operation} --continue`;
}

async function firstLine(path: string): Promise<string | null> {
  return (await linesOf(path))[0] ?? null;
}

async function linesOf(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch(ifAbsent(""));
  return text.split("\n").filter((line) => line !== "");
}
