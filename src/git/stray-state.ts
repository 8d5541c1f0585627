/** What an interrupted git or a hand in the wrong place left behind, for `doctor`: found, told, not touched. */
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { shellWord } from "./paths.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { listAside } from "./worktree-folders.ts";
import { readRecords } from "./worktree-records.ts";

export interface StrayMark {
  readonly kind: "worktree-incomplete" | "worktree-missing" | "worktree-removing" | "stale-lock" | "put-aside";
  readonly path: string;
  /** What it is and what to do, for a person. */
  readonly message: string;
}

/** git holds its locks for seconds, and for a minute or two in a very large repository. */
const STALE_LOCK_MS = 10 * 60_000;

/** Locks of git's that block everyone, or every command of one kind. */
const LOCKS = ["index.lock", "HEAD.lock", "packed-refs.lock", "config.lock", "shallow.lock"];

export async function findStrays(core: RepositoryCore, nowMs: number): Promise<StrayMark[]> {
  const records = await readRecords(core.commonDir);
  const strays: StrayMark[] = [];
  for (const { isOurs, mark, path, gitDir } of records) {
    if (!isOurs) continue;
    const where = path ?? gitDir;
    const found = (kind: StrayMark["kind"], what: string): number =>
      strays.push({ kind, path: where, message: `${where}: ${what} \`orchestrator clean\` takes it away.` });
    if (path === null || mark === null) found("worktree-incomplete", "this worktree was never completed.");
    else if (mark.kind === "task" && mark.isBeingRemoved === true)
      found("worktree-removing", "its removal was interrupted.");
    else if (!existsSync(path)) found("worktree-missing", "the folder of this worktree is gone.");
  }
  const gitDirs = [core.commonDir, ...records.filter((record) => record.isOurs).map((record) => record.gitDir)];
  const locks = [...gitDirs.flatMap((gitDir) => LOCKS.map((name) => join(gitDir, name))), ...(await refLocks(core))];
  for (const path of locks) {
    const found = await stat(path).catch(() => null);
    if (found === null || nowMs - found.mtimeMs < STALE_LOCK_MS) continue;
    const message = `${path}: a git that was killed left this lock. When no git is running: rm ${shellWord(path)}`;
    strays.push({ kind: "stale-lock", path, message });
  }
  for (const path of await listAside(core)) {
    strays.push({
      kind: "put-aside",
      path,
      message: `${path}: moved out of a worktree's way. Look at it, then delete it.`,
    });
  }
  return strays;
}

async function refLocks(core: RepositoryCore): Promise<string[]> {
  const folder = join(core.commonDir, "refs");
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith(".lock")).map((name) => join(folder, name));
}
