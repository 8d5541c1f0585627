/**
 * Installs the hooks that say "look now" to the engine, beside the hooks that are there, and takes them out again so
 * that no byte and no mode differs. `core.hooksPath` is left alone: ours join the hooks of whatever folder git uses
 * (husky's, lefthook's, anybody's), because a second `core.hooksPath` would be fought over with those tools.
 *
 * Each file is changed by one rename, and what is needed to go back stands in the files (hook-text.ts), so every point
 * at which this may be killed can be finished by `installHooks` and undone by `uninstallHooks`.
 */
import { accessSync, constants, existsSync, type Stats } from "node:fs";
import { chmod, lstat, readFile, readlink, rename, rm, rmdir, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { makeFolder } from "../make-folder.ts";
import { AppError, messageOf } from "../errors.ts";
import { ASIDE, hasBlock, joinHook, leaveHook, type HookFile } from "./hook-text.ts";
import type { Repository } from "./repository.ts";
import { git, runGit } from "./run-git.ts";

export const HOOK_NAMES = ["post-merge", "post-commit", "post-rewrite", "post-checkout"] as const;
export type HookName = (typeof HOOK_NAMES)[number];

export interface HooksReport {
  /** The folder that git uses in this worktree. */
  readonly folder: string;
  /** The value of `core.hooksPath`; null: git's own folder. */
  readonly hooksPath: string | null;
  readonly installed: readonly HookName[];
  readonly missing: readonly HookName[];
  /** What a person should know of the folder. */
  readonly warnings: readonly string[];
}

/** Where hooks were installed, so that they are found again after `core.hooksPath` changed. */
interface Memory {
  /** `made`: the folders that were made for it, the deepest first. */
  readonly folders: readonly { readonly path: string; readonly made?: readonly string[] }[];
}

/** `worktree` is where the user stands. `stateFolder` is the engine's own. Throws HOOKS_UNUSABLE before anything changed. */
export async function installHooks(
  repository: Repository,
  worktree: string,
  stateFolder: string,
): Promise<HooksReport> {
  const place = await hooksPlace(worktree);
  const made = missingFolders(place.folder);
  checkWritable(made.length === 0 ? place.folder : dirname(made.at(-1) ?? place.folder));
  // Before anything is touched: what was half installed must be found again.
  const memory = await readMemory(stateFolder);
  if (!memory.folders.some(({ path }) => path === place.folder)) {
    await writeMemory(stateFolder, { folders: [...memory.folders, { path: place.folder, made }] });
  }
  try {
    makeFolder(place.folder);
    for (const name of HOOK_NAMES) await installHook(place.folder, name);
  } catch (thrown) {
    throw unusable(`${place.folder} could not be changed: ${messageOf(thrown)}`, place.folder);
  }
  return await readHooks(repository, worktree);
}

/** Idempotent, also for an installation that was cut off. Throws HOOKS_UNUSABLE. */
export async function uninstallHooks(
  repository: Repository,
  worktree: string,
  stateFolder: string,
): Promise<HooksReport> {
  const memory = await readMemory(stateFolder);
  // A folder that hooks are switched off with is none of ours, and does not keep the others from being cleaned.
  const current = await hooksPlace(worktree).catch(() => null);
  const folders = new Map(memory.folders.map(({ path, made }) => [path, made ?? []]));
  for (const path of [current?.folder, join(repository.commonDir, "hooks")]) {
    if (path !== undefined && !folders.has(path)) folders.set(path, []);
  }
  for (const folder of folders.keys()) if (await needsChange(folder)) checkWritable(folder);
  for (const [folder, made] of folders) {
    try {
      for (const name of HOOK_NAMES) await uninstallHook(folder, name);
      // Only when nothing else is in it.
      for (const empty of made) await rmdir(empty).catch(() => undefined);
    } catch (thrown) {
      throw unusable(`${folder} could not be changed: ${messageOf(thrown)}`, folder);
    }
  }
  await rm(memoryFile(stateFolder), { force: true });
  return await readHooks(repository, worktree);
}

/** Whether an installation of this repository was begun and not undone. */
export function areHooksInstalled(stateFolder: string): boolean {
  return existsSync(memoryFile(stateFolder));
}

export async function readHooks(repository: Repository, worktree: string): Promise<HooksReport> {
  const place = await hooksPlace(worktree);
  const installed: HookName[] = [];
  for (const name of HOOK_NAMES) {
    const hook = await readHook(join(place.folder, name));
    if (hook !== null && hook.text !== null && hasBlock(hook.text) && hook.isExecutable) installed.push(name);
  }
  const missing = HOOK_NAMES.filter((name) => !installed.includes(name));
  const warnings = installed.length === 0 ? [] : await warningsOf(repository, worktree, place);
  return { ...place, installed, missing, warnings };
}

async function hooksPlace(worktree: string): Promise<{ folder: string; hooksPath: string | null }> {
  // Our own settings switch hooks off, so they must not be asked.
  const asked = await runGit({ folder: worktree }, ["config", "--get", "core.hooksPath"], { usersHooks: true });
  const hooksPath = asked.exitCode === 0 ? asked.stdout.toString("utf8").replace(/\n$/, "") : null;
  const args = ["rev-parse", "--path-format=absolute", "--git-path", "hooks"];
  const top = await git({ folder: worktree }, ["rev-parse", "--path-format=absolute", "--show-toplevel"]);
  const folder = resolve(await git({ folder: top }, args, { usersHooks: true }));
  const found = await stat(folder).catch(() => null);
  if (found !== null && !found.isDirectory()) {
    const why = hooksPath === null ? "it is not a folder" : `core.hooksPath is ${hooksPath}, which is not a folder`;
    throw unusable(`git runs no hooks here: ${why}`, folder);
  }
  return { folder, hooksPath };
}

interface Hook extends HookFile {
  readonly mode: number;
}

async function readHook(path: string): Promise<Hook | null> {
  const facts = await lstatOrNull(path);
  if (facts === null) return null;
  const isExecutable = (facts.mode & 0o111) !== 0;
  const text = facts.isFile() ? await readFile(path, "latin1") : null;
  return { text, mode: facts.mode & 0o7777, isExecutable };
}

async function installHook(folder: string, name: HookName): Promise<void> {
  const path = join(folder, name);
  await rm(draftOf(path), { force: true, recursive: true });
  const there = await readHook(path);
  const joining = joinHook(name, await shippedHook(name), there);
  if (joining.type === "keep") return;
  await writeFile(draftOf(path), joining.text, { encoding: "latin1", mode: 0o755 });
  await chmod(draftOf(path), joining.type === "write" && there !== null ? there.mode : 0o755);
  if (joining.type === "replace") await copyAside(path);
  await rename(draftOf(path), path);
}

/** The hook stays in its place until ours takes it in one step: there is no moment without a hook. */
async function copyAside(path: string): Promise<void> {
  const aside = path + ASIDE;
  const facts = await lstat(path);
  await rm(aside, { force: true, recursive: true });
  if (facts.isSymbolicLink()) return await symlink(await readlink(path), aside);
  await writeFile(aside, await readFile(path), { mode: facts.mode & 0o7777 });
  await chmod(aside, facts.mode & 0o7777);
}

async function uninstallHook(folder: string, name: HookName): Promise<void> {
  const path = join(folder, name);
  await rm(draftOf(path), { force: true, recursive: true });
  const there = await readHook(path);
  const aside = path + ASIDE;
  const hasAside = (await lstatOrNull(aside)) !== null;
  if (there?.text === null || there === null) return await dropCopy(path, aside, hasAside);
  const leaving = leaveHook(name, there.text, hasAside);
  switch (leaving.type) {
    case "keep":
      return await dropCopy(path, aside, hasAside);
    case "delete":
      return await rm(path);
    case "put-back":
      return await rename(aside, path);
    case "write":
      await writeFile(draftOf(path), leaving.text, { encoding: "latin1", mode: there.mode });
      await chmod(draftOf(path), there.mode);
      return await rename(draftOf(path), path);
  }
}

/** An installation that was cut off before ours took the place: the copy goes, if it is one. */
async function dropCopy(path: string, aside: string, hasAside: boolean): Promise<void> {
  if (!hasAside) return;
  if ((await lstatOrNull(path)) === null) return await rename(aside, path);
  const [left, right] = await Promise.all([path, aside].map(contentOf));
  if (left === right) await rm(aside);
}

async function contentOf(path: string): Promise<string> {
  return (await lstat(path)).isSymbolicLink()
    ? `link ${await readlink(path)}`
    : `file ${await readFile(path, "latin1")}`;
}

function draftOf(path: string): string {
  return `${path}.orchestrator-new`;
}

async function needsChange(folder: string): Promise<boolean> {
  for (const name of HOOK_NAMES) {
    const hook = await readHook(join(folder, name));
    if (hook !== null && hook.text !== null && hasBlock(hook.text)) return true;
    if ((await lstatOrNull(join(folder, name + ASIDE))) !== null) return true;
  }
  return false;
}

/** From `src/` as from `dist/`: the package's own folder. */
async function shippedHook(name: HookName): Promise<string> {
  return await readFile(fileURLToPath(new URL(`../../hooks/${name}`, import.meta.url)), "latin1");
}

async function warningsOf(
  repository: Repository,
  worktree: string,
  { folder, hooksPath }: { folder: string; hooksPath: string | null },
): Promise<string[]> {
  const warnings: string[] = [];
  const top = await git({ folder: worktree }, ["rev-parse", "--path-format=absolute", "--show-toplevel"]);
  if (isInside(top, folder) && !isInside(repository.commonDir, folder)) {
    const status = ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--", folder];
    if ((await git({ folder: top }, status)) !== "") {
      warnings.push(
        `core.hooksPath (${hooksPath ?? ""}) is in the worktree and git sees the change there (git status); it names nothing of this machine and does nothing where orchestrator is not used`,
      );
    }
  } else if (!isInside(repository.commonDir, folder)) {
    warnings.push(
      `core.hooksPath (${hooksPath ?? ""}) serves other repositories too; the hooks do nothing where orchestrator is not used`,
    );
  }
  if (hooksPath !== null && !hooksPath.startsWith("/") && !hooksPath.startsWith("~")) {
    warnings.push("core.hooksPath is relative: each worktree has hooks of its own, and these are this worktree's");
  }
  return warnings;
}

function isInside(folder: string, path: string): boolean {
  const inside = relative(folder, path);
  return inside === "" || (!inside.startsWith("..") && !inside.startsWith("/"));
}

function checkWritable(folder: string): void {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw unusable(`${folder} can't be written (${messageOf(cause)}): make it writable and run it again`, folder);
  }
}

/** `folder` and those above it that are not there, the deepest first. */
function missingFolders(folder: string): string[] {
  const missing: string[] = [];
  for (let path = folder; !existsSync(path) && dirname(path) !== path; path = dirname(path)) missing.push(path);
  return missing;
}

async function lstatOrNull(path: string): Promise<Stats | null> {
  return await lstat(path).catch(() => null);
}

function memoryFile(stateFolder: string): string {
  return join(stateFolder, "hooks.json");
}

async function readMemory(stateFolder: string): Promise<Memory> {
  const text = await readFile(memoryFile(stateFolder), "utf8").catch(() => null);
  if (text === null) return { folders: [] };
  try {
    // Written by this program alone, in its own folder.
    return JSON.parse(text) as Memory;
  } catch {
    return { folders: [] };
  }
}

async function writeMemory(stateFolder: string, memory: Memory): Promise<void> {
  const file = memoryFile(stateFolder);
  await writeFile(`${file}.new`, JSON.stringify(memory), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

function unusable(why: string, folder: string): AppError {
  return new AppError("HOOKS_UNUSABLE", `The git hooks can't be changed: ${why}.`, { details: { folder } });
}
