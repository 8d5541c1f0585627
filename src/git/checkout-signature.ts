/** What a person can change to clear the way for a merge, in one string: it differs when something of it changed. */
import { createHash } from "node:crypto";
import { relative, resolve, sep } from "node:path";
import type { Repository } from "./repository.ts";
import { runGit } from "./run-git.ts";
import { BRANCHES } from "./refs.ts";
import { listWorktrees } from "./worktree-records.ts";

/**
 * The target's tip, who has it checked out, and the state of those checkouts: HEAD, uncommitted and untracked files (and
 * ignored ones, which can be in the way too), an operation under way. Reads only.
 */
export async function checkoutSignature(repository: Repository, target: string): Promise<string> {
  const hash = createHash("sha256").update((await repository.branchTip(target)) ?? "none");
  for (const worktree of await listWorktrees({ folder: repository.mainWorktree })) {
    hash.update(`\0${worktree.path}\0${worktree.branch ?? ""}`);
    if (worktree.branch !== BRANCHES + target && worktree.path !== repository.mainWorktree) continue;
    const place = { folder: worktree.path };
    const status = await runGit(place, [
      "status",
      "--porcelain=v2",
      "-z",
      "--branch",
      "--untracked-files=normal",
      "--ignored",
    ]);
    hash.update(status.stdout);
    for (const name of ["MERGE_HEAD", "REBASE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_HEAD"]) {
      const found = await runGit(place, ["rev-parse", "--verify", "--quiet", name]);
      hash.update(found.stdout);
    }
  }
  return hash.digest("hex");
}

/** The folder of tracked hooks that `core.hooksPath` names, relative to the repository's root; null when there is none. */
export async function trackedHooksFolder(repository: Repository): Promise<string | null> {
  const root = repository.mainWorktree;
  // With our own settings this would answer our own /dev/null.
  const asked = await runGit({ folder: root }, ["config", "--type=path", "--get", "core.hooksPath"], {
    usersHooks: true,
  });
  const value = asked.stdout.toString("utf8").trim();
  if (asked.exitCode !== 0 || value === "") return null;
  const inside = relative(root, resolve(root, value));
  if (inside === "" || inside.startsWith("..") || inside.startsWith(sep)) return null;
  return inside.split(sep).join("/");
}
