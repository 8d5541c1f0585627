/** Where our worktrees lie on disk, and how one is made, mended, moved aside and deleted there. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync } from "node:fs";
import { chmod, readdir, readFile, realpath, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { makeFolder } from "../make-folder.ts";
import { crashPoint } from "../crash-point.ts";
import { AppError } from "../errors.ts";
import type { RepositoryCore } from "./repository-core.ts";
import { runGit, wordsOf } from "./run-git.ts";
import {
  LOCK_REASON_START,
  readRecords,
  writeMark,
  type WorktreeMark,
  type WorktreeRecord,
} from "./worktree-records.ts";

/** No plan can be named so: ids begin with a letter or a digit. */
const QUEUE_FOLDER = "_queue";
const ASIDE_FOLDER = "_aside";

/** One name in a path and in a ref, as plan and task ids are. */
const PLAIN_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** `<root>/<repository's name>-<hash of its place>`, symbolic links resolved as far as folders exist. */
export async function folderFor(worktreesRoot: string, mainWorktree: string, commonDir: string): Promise<string> {
  const name = `${slug(basename(mainWorktree))}-${shortHash(commonDir)}`;
  return join(await realpathSoFar(resolve(worktreesRoot)), name);
}

/**
 * Where this repository's worktrees are by now, else `given`. It may have been moved, or another root configured, since
 * they were made: agents' conversations go on only where they began.
 */
export async function folderInUse(given: string, commonDir: string): Promise<string> {
  const records = await readRecords(commonDir);
  for (const { mark, path, gitDir } of records) {
    if (mark === null || path === null || !existsSync(path) || (await isOfAnother(path, gitDir))) continue;
    // `<folder>/<plan>/<task>`, `<folder>/_queue/<target>`.
    return dirname(dirname(path));
  }
  return given;
}

/** The worktree at `path` is another repository's, which this one was copied from. */
export async function isOfAnother(path: string, gitDir: string): Promise<boolean> {
  const text = await readFile(join(path, ".git"), "utf8").catch(() => "");
  const target = /^gitdir: (.+)\n?$/.exec(text)?.[1];
  if (target === undefined) return false;
  const place = resolve(path, target);
  return place !== gitDir && existsSync(place);
}

export function taskPath(core: RepositoryCore, planId: string, taskId: string): string {
  for (const id of [planId, taskId]) {
    if (PLAIN_ID.test(id) && !id.includes("..")) continue;
    throw new AppError("WORKTREE_FAILED", `${JSON.stringify(id)} can't be part of a worktree's path.`, {
      details: { id },
    });
  }
  return join(core.worktreesFolder, planId, taskId);
}

export function queuePath(core: RepositoryCore, target: string): string {
  return join(core.worktreesFolder, QUEUE_FOLDER, `${slug(target)}-${shortHash(target)}`);
}

/**
 * Makes a locked worktree at `path`, marked as complete. Throws WORKTREE_FAILED with git's words, and then leaves
 * nothing behind at `path`.
 */
export async function addWorktree(
  core: RepositoryCore,
  path: string,
  checkOut: readonly string[],
  mark: WorktreeMark,
): Promise<void> {
  const purpose = mark.kind === "task" ? `plan ${mark.planId}, task ${mark.taskId}` : `merge queue of ${mark.target}`;
  const args = ["worktree", "add", "--lock", "--reason", `${LOCK_REASON_START} ${purpose}`, ...checkOut];
  try {
    makeFolder(dirname(path));
    const result = await runGit(core.place, args, { mutates: true });
    if (result.exitCode !== 0) throw new Error(wordsOf(result));
    crashPoint("worktree-added");
    await writeMark(await gitDirOf(path), mark);
  } catch (thrown) {
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
    const words = thrown instanceof Error ? thrown.message : String(thrown);
    throw new AppError("WORKTREE_FAILED", `No worktree could be made at ${path}: ${words}`, {
      details: { path, gitWords: words },
      cause: thrown,
    });
  }
}

/** Points `<path>/.git` at the worktree's git folder again, where an agent deleted or changed it. */
export async function mendPointer(path: string, gitDir: string): Promise<void> {
  const pointer = join(path, ".git");
  if (existsSync(pointer) && lstatSync(pointer).isDirectory()) {
    throw new AppError("WORKTREE_FAILED", `${path} has become a repository of its own. Move its .git folder away.`, {
      details: { path },
    });
  }
  const text = await readFile(pointer, "utf8").catch(() => "");
  const target = /^gitdir: (.+)\n?$/.exec(text)?.[1];
  if (target !== undefined && resolve(path, target) === gitDir) return;
  await rm(pointer, { force: true });
  await writeFile(pointer, `gitdir: ${gitDir}\n`);
}

/** Deletes folder and record of one of ours. Throws WORKTREE_FAILED for anything else. Can be repeated. */
export async function deleteWorktree(core: RepositoryCore, record: WorktreeRecord): Promise<void> {
  if (!record.isOurs || dirname(record.gitDir) !== join(core.commonDir, "worktrees")) {
    throw new AppError("WORKTREE_FAILED", `${record.path ?? record.id} is not a worktree of ours: it stays.`);
  }
  if (record.path !== null) await deleteFolder(core, record.path);
  crashPoint("removal-folder-deleted");
  await rm(record.gitDir, { recursive: true, force: true });
}

/** Moves what lies at `path` out of the way, for a person to look at. Answers where it is now. */
export async function moveAside(core: RepositoryCore, path: string, label: string): Promise<string> {
  assertInside(core, path);
  const folder = join(core.worktreesFolder, ASIDE_FOLDER);
  makeFolder(folder);
  for (let count = 1; ; count += 1) {
    const place = join(folder, `${slug(label)}.${count}`);
    if (existsSync(place)) continue;
    await rename(path, place);
    return place;
  }
}

export async function listAside(core: RepositoryCore): Promise<string[]> {
  const folder = join(core.worktreesFolder, ASIDE_FOLDER);
  return (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
}

async function deleteFolder(core: RepositoryCore, path: string): Promise<void> {
  assertInside(core, path);
  try {
    await rm(path, { recursive: true, force: true });
  } catch {
    // Go's module cache and the like are made read-only, and a folder has to be writable to lose its files.
    await makeWritable(path);
    await rm(path, { recursive: true, force: true, maxRetries: 3 }).catch((thrown: unknown) => {
      const words = thrown instanceof Error ? thrown.message : String(thrown);
      throw new AppError("WORKTREE_FAILED", `${path} can't be deleted: ${words}`, { details: { path }, cause: thrown });
    });
  }
  // The plan's folder, when this was its last task.
  await rmdir(dirname(path)).catch(() => undefined);
}

async function makeWritable(folder: string): Promise<void> {
  await chmod(folder, 0o700).catch(() => undefined);
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await makeWritable(join(folder, entry.name));
}

/** False for worktrees made with another folder configured. A record without a path has no folder to lie anywhere. */
export function liesInOurs(core: RepositoryCore, path: string | null): boolean {
  if (path === null) return true;
  const way = relative(core.worktreesFolder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function assertInside(core: RepositoryCore, path: string): void {
  if (liesInOurs(core, path)) return;
  throw new AppError("WORKTREE_FAILED", `${path} is outside ${core.worktreesFolder}: it stays.`, { details: { path } });
}

async function gitDirOf(path: string): Promise<string> {
  const text = await readFile(join(path, ".git"), "utf8");
  return resolve(path, text.replace(/^gitdir: /, "").trimEnd());
}

async function realpathSoFar(path: string): Promise<string> {
  const found = await realpath(path).catch(() => null);
  if (found !== null || dirname(path) === path) return found ?? path;
  return join(await realpathSoFar(dirname(path)), basename(path));
}

/** Letters and digits only, so that paths are safe to paste and to show. */
function slug(text: string): string {
  return (
    text
      .replace(/[^A-Za-z0-9._-]+/g, "-")
      .replace(/^[.-]+/, "")
      .slice(0, 40) || "repository"
  );
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
