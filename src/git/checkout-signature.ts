/** What a person can change to clear the way for a merge, in one string: it differs when something of it changed. */
import { createHash } from "node:crypto";
import { operationUnderWay } from "./operation-under-way.ts";
import { BRANCHES, headRef } from "./refs.ts";
import type { Repository } from "./repository.ts";
import { runGit } from "./run-git.ts";
import { readRecords } from "./worktree-records.ts";

/**
 * The target's tip, and the state of the checkouts that may be in its way: HEAD, an operation under way, uncommitted,
 * untracked and ignored files. Reads only. Begins with the tip and a space.
 */
export async function checkoutSignature(repository: Repository, target: string): Promise<string> {
  const tip = (await repository.branchTip(target)) ?? "none";
  const hash = createHash("sha256");
  const linked = (await readRecords(repository.commonDir)).filter((record) => !record.isOurs && record.path !== null);
  const checkouts = [
    { path: repository.mainWorktree, gitDir: repository.commonDir },
    ...linked.map((record) => ({ path: record.path ?? "", gitDir: record.gitDir })),
  ];
  for (const { path, gitDir } of checkouts) {
    const head = await headRef({ folder: path, gitDir }).catch(() => "unreadable");
    hash.update(`\0${path}\0${head ?? ""}\0${operationUnderWay(gitDir) ?? ""}`);
    if (path !== repository.mainWorktree && head !== BRANCHES + target) continue;
    const args = ["status", "--porcelain=v2", "-z", "--branch", "--untracked-files=normal", "--ignored"];
    hash.update((await runGit({ folder: path, gitDir }, args)).stdout);
  }
  return `${tip} ${hash.digest("hex")}`;
}
