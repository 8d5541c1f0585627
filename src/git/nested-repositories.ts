/**
 * Repositories inside a task's worktree: those an agent made, and submodules it worked in. git records either as a mere
 * pointer, so before the worktree goes they are moved out of it whole, as repositories that stand alone.
 */
import { existsSync } from "node:fs";
import { readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { TaskPlace } from "./leftovers.ts";
import { pathText } from "./paths.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { git, gitFields, runGit, splitAtNul } from "./run-git.ts";
import { moveAside } from "./worktree-folders.ts";

/** `nested`: as `lookAtWork` found them. Answers where they are now. Submodules without anything of their own stay, and go with the worktree. */
export async function moveNestedAside(
  core: RepositoryCore,
  place: TaskPlace,
  task: { readonly planId: string; readonly taskId: string },
  nested: readonly Buffer[],
): Promise<string[]> {
  const made = nested.map((path) => path.subarray(0, -1));
  const submodules = await submodulesWithWork(place);
  const moved: string[] = [];
  for (const path of [...made, ...submodules]) {
    const from = join(place.folder, path.toString("utf8"));
    if (!existsSync(from)) continue;
    const pointer = await readFile(join(from, ".git"), "utf8").catch(() => null);
    const gitDir = pointer === null ? null : resolve(from, pointer.replace(/^gitdir: /, "").trimEnd());
    const aside = await moveAside(core, from, `${task.planId}.${task.taskId}.${pathText(path)}`);
    if (gitDir?.startsWith(join(place.gitDir, "modules/")) === true) await standAlone(aside, gitDir);
    moved.push(aside);
  }
  return moved;
}

/** Submodules with uncommitted changes, or with commits that no remote is known to have. */
async function submodulesWithWork(place: TaskPlace): Promise<Buffer[]> {
  if (!existsSync(join(place.gitDir, "modules"))) return [];
  const entries = await gitFields(place, ["ls-files", "--stage", "-z"]);
  const paths = entries
    .filter((entry) => entry.subarray(0, 7).toString("latin1") === "160000 ")
    .map((entry) => entry.subarray(entry.indexOf(0x09) + 1));
  const withWork: Buffer[] = [];
  for (const path of paths) {
    const folder = join(place.folder, path.toString("utf8"));
    if (!existsSync(join(folder, ".git"))) continue;
    const changes = await runGit({ folder }, ["status", "--porcelain=v1", "-z"]);
    const commits = await runGit({ folder }, ["rev-list", "--max-count=1", "HEAD", "--branches", "--not", "--remotes"]);
    // One that git can't read is kept too.
    const isEmpty = (result: typeof changes): boolean =>
      result.exitCode === 0 && splitAtNul(result.stdout).length === 0;
    if (!isEmpty(changes) || !isEmpty(commits)) withWork.push(path);
  }
  return withWork;
}

/** A submodule's git folder lies in its superproject's: bring it along. */
async function standAlone(folder: string, gitDir: string): Promise<void> {
  const own = join(folder, ".git");
  await rm(own, { force: true });
  await rename(gitDir, own);
  await git({ folder, gitDir: own }, ["config", "--unset-all", "core.worktree"], { mutates: true, alsoOk: [5] });
}
