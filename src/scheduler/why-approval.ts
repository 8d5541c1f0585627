/** What a branch may not bring to the target without a person's look. Reads only. */
import picomatch from "picomatch";
import { trackedHooks } from "../git/tracked-hooks.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";
import type { WorktreeSettings } from "./settings.ts";

interface MergeFacts {
  readonly targetSha: string;
  readonly branchSha: string;
  /** What the merge would change on the target, both paths of a renamed file. */
  readonly paths: readonly string[];
}

/** Why a person has to approve the merge first; null: nobody needs to. */
export async function whyApproval(parts: Parts, task: TaskRecord, merge: MergeFacts): Promise<string | null> {
  const { targetSha, branchSha, paths } = merge;
  const look = `(look at it: orchestrator diff ${taskKey(task)})`;
  const sensitive = await sensitiveAmong(parts, paths);
  if (sensitive.length > 0) return `it changes what runs on your machine: ${shown(sensitive)} ${look}`;
  const brought = await broughtIn(parts, task, targetSha, branchSha);
  if (brought.length === 0) return null;
  return `its commits hold what was only lent to its worktree, by worktree.copy or worktree.link: ${shown(brought)} ${look}`;
}

/** Files that are run or obeyed on the user's machine without a look: our own config, and hooks that are in the tree. */
async function sensitiveAmong(parts: Parts, paths: readonly string[]): Promise<string[]> {
  const hooks = await trackedHooks(parts.repository);
  const folders = [".orchestrator", ".husky", ...hooks].map((folder) => folder.toLowerCase());
  // A link in the place of the folder is as good as a change of all in it; some file systems don't tell case apart.
  return paths.filter((path) => folders.some((folder) => lies(`${path.toLowerCase()}/`, folder)));
}

/** Of hooks in the root itself only what lies right there is one. */
function lies(path: string, folder: string): boolean {
  return folder === "" ? path.indexOf("/") === path.length - 1 : path.startsWith(`${folder}/`);
}

/**
 * Paths that worktree.copy or worktree.link name and that a commit of the branch adds (`git add -f .env`). Every commit
 * counts, not what differs at the end: a key that was committed and removed again is in the target's history for good.
 */
async function broughtIn(parts: Parts, task: TaskRecord, targetSha: string, branchSha: string): Promise<string[]> {
  const isLent = lentBy(parts.settingsOf(task.planId).worktree);
  if (isLent === null) return [];
  return await parts.repository.addedPaths(targetSha, branchSha, isLent);
}

function lentBy({ copy, link }: WorktreeSettings): ((path: string) => boolean) | null {
  const globs = [...copy, ...link].map((glob) => glob.replace(/\/+$/, ""));
  if (globs.length === 0) return null;
  const matches = picomatch(globs, { dot: true });
  // What lies in a folder that they name was lent with it.
  return (path) => path.split("/").some((_, index, parts) => matches(parts.slice(0, index + 1).join("/")));
}

function shown(paths: readonly string[]): string {
  const rest = paths.length > 5 ? ` and ${paths.length - 5} more` : "";
  return paths.slice(0, 5).join(", ") + rest;
}
