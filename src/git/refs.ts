/** Names and values of refs: asking, moving with the old value as a condition, refusing bad names. */
import { existsSync } from "node:fs";
import { lstat, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AppError } from "../errors.ts";
import { ifAbsent } from "./if-absent.ts";
import { git, runGit, throwFailure, wordsOf, type GitPlace, type GitResult } from "./run-git.ts";

/** Object names of SHA-1 and SHA-256 repositories. */
const OBJECT_NAME = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

export const BRANCHES = "refs/heads/";

/** HEAD's file, where it names a branch. */
const SYMBOLIC = /^ref: (refs\/heads\/[^\n]+)\n$/;

/** A name that means only this ref, and one that all worktrees share. */
const PLAIN_REF = /^refs\/(?:heads|orchestrator)\/[^\0-\x20\x7f~^:?*[\\]+$/;

export interface RefChange {
  readonly ref: string;
  /** null deletes. */
  readonly to: string | null;
  /** What the ref must be before: this value, or (null) absent. Not given: whatever it is. */
  readonly expected?: string | null;
}

export type RefOutcome =
  | { readonly type: "done" }
  /** A ref was not what was expected; `now` is the first such ref's value. */
  | { readonly type: "changed"; readonly ref: string; readonly now: string | null }
  /** Locked by another git, a name in the way, a read-only folder. */
  | { readonly type: "refused"; readonly gitWords: string };

/** The commit that `name` stands for, or null. Names are tried as git does; give full refs where it matters. */
export async function resolveCommit(place: GitPlace, name: string): Promise<string | null> {
  if (name === "" || name.startsWith("-") || name.includes("\0")) return null;
  // What a branch names is a commit, so there is nothing to peel.
  const written = name === "HEAD" || name.startsWith(BRANCHES) ? await readRef(place, name) : undefined;
  if (written !== undefined) return written;
  const result = await runGit(place, ["rev-parse", "--verify", "--quiet", `${name}^{commit}`]);
  const sha = result.stdout.toString("utf8").trim();
  return result.exitCode === 0 && OBJECT_NAME.test(sha) ? sha : null;
}

export async function branchTip(place: GitPlace, branch: string): Promise<string | null> {
  return await resolveCommit(place, BRANCHES + branch);
}

/** The full ref HEAD points to, also one that does not exist yet; null when detached. */
export async function headRef(place: GitPlace): Promise<string | null> {
  const written = await readHead(place);
  if (written !== undefined) return written;
  const result = await runGit(place, ["symbolic-ref", "--quiet", "HEAD"]);
  if (result.exitCode === 0) return result.stdout.toString("utf8").trim();
  if (result.exitCode === 1) return null;
  return throwFailure(["symbolic-ref"], result);
}

/**
 * The branch that the file HEAD names; null when it names a commit. Undefined for all that is not this plain (a
 * reftable's `.invalid`, a link to another file): then git is asked, which costs a hundred times as much.
 */
async function readHead(place: GitPlace): Promise<string | null | undefined> {
  const gitDir = gitDirOf(place);
  const text = await readOrEmpty(gitDir, "HEAD");
  const ref = SYMBOLIC.exec(text)?.[1];
  if (ref !== undefined) return ref === "refs/heads/.invalid" ? undefined : ref;
  if (!OBJECT_NAME.test(text.trimEnd())) return undefined;
  return (await lstat(join(gitDir, "HEAD"))).isFile() ? null : undefined;
}

/**
 * What the files say of HEAD, a branch or a ref of ours: refs are asked for some twenty times a task. A ref's own file
 * counts before the packed ones, and git replaces either whole; it packs a ref before it deletes its file, so who looks
 * in that order misses none. Null: there is none. Undefined for all that is not this plain: then git is asked.
 */
async function readRef(place: GitPlace, name: string): Promise<string | null | undefined> {
  const gitDir = gitDirOf(place);
  if (name === "HEAD") {
    const text = await readOrEmpty(gitDir, "HEAD");
    const ref = SYMBOLIC.exec(text)?.[1];
    return ref === undefined ? nameIn(text) : await readRef(place, ref);
  }
  if (!PLAIN_REF.test(name) || /\.\.|@\{|\/\.|\/\/|\/$|\.lock(\/|$)/.test(name)) return undefined;
  const common = (await readOrEmpty(gitDir, "commondir")).trim();
  const commonDir = common === "" ? gitDir : resolve(gitDir, common);
  const own = await readIfThere(join(commonDir, name));
  if (own !== null) return own === undefined ? undefined : nameIn(own);
  // A reftable's repository keeps nothing in files, and a folder that is none of git's says nothing either.
  if (existsSync(join(commonDir, "reftable")) || !existsSync(join(commonDir, "refs"))) return undefined;
  const packed = await readIfThere(join(commonDir, "packed-refs"));
  if (packed === undefined) return undefined;
  const end = packed?.indexOf(` ${name}\n`) ?? -1;
  return packed === null || end === -1 ? null : nameIn(packed.slice(packed.lastIndexOf("\n", end) + 1, end));
}

function nameIn(text: string): string | undefined {
  const sha = text.trimEnd();
  return OBJECT_NAME.test(sha) ? sha : undefined;
}

/** Null: no such file. Undefined: who knows. */
async function readIfThere(file: string): Promise<string | null | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : null;
    // An empty folder is left where a branch `a/b` was; git does not count it either.
    return code === "ENOENT" || code === "EISDIR" || code === "ENOTDIR" ? null : undefined;
  }
}

function gitDirOf({ folder, gitDir }: GitPlace): string {
  return gitDir ?? join(folder, ".git");
}

async function readOrEmpty(folder: string, name: string): Promise<string> {
  return await readFile(join(folder, name), "utf8").catch(ifAbsent(""));
}

export function shortBranch(ref: string): string {
  return ref.startsWith(BRANCHES) ? ref.slice(BRANCHES.length) : ref;
}

/** True when `ancestor` is `descendant` or is reachable from it. Throws GIT_FAILED for two that are not both known. */
export async function isAncestor(place: GitPlace, ancestor: string, descendant: string): Promise<boolean> {
  if (ancestor === descendant && OBJECT_NAME.test(ancestor)) return true;
  const args = ["rev-list", "--count", "--max-count=1", ancestor, `^${descendant}`, "--"];
  return (await git(place, args)) === "0";
}

/** Changes all refs or none. Idempotent: a ref that already has its new value is as expected. */
export async function changeRefs(place: GitPlace, changes: readonly RefChange[], why: string): Promise<RefOutcome> {
  const now = await Promise.all(changes.map(({ ref }) => refValue(place, ref)));
  const open = changes.filter((change, index) => change.to !== now[index]);
  if (open.length === 0) return { type: "done" };
  const changed = open.find((change) => !isAsExpected(change, now[changes.indexOf(change)] ?? null));
  if (changed !== undefined) return { type: "changed", ref: changed.ref, now: now[changes.indexOf(changed)] ?? null };

  const lines = open.map((change) => commandFor(change, now[changes.indexOf(change)] ?? null));
  const args = ["update-ref", "--no-deref", "-m", oneLine(why), "--stdin", "-z"];
  const change = async (): Promise<GitResult> => await runGit(place, args, { input: lines.join(""), mutates: true });
  let result = await change();
  if (result.exitCode !== 0 && (await clearStaleLocks(place, open))) result = await change();
  if (result.exitCode === 0) return { type: "done" };
  for (const change of open) {
    const after = await refValue(place, change.ref);
    if (after !== change.to && !isAsExpected(change, after)) return { type: "changed", ref: change.ref, now: after };
  }
  return { type: "refused", gitWords: wordsOf(result) };
}

/** git holds the lock of a ref for milliseconds; one this old is left by a git that was killed. */
const STALE_LOCK_MS = 60_000;

/**
 * Removes the locks that a killed git left on refs of ours: nobody else would ever look for them, and a finished task's
 * branch could not be deleted. Whether there was one. A user's branch keeps its lock: git's words then tell of it.
 */
async function clearStaleLocks(place: GitPlace, changes: readonly RefChange[]): Promise<boolean> {
  const gitDir = gitDirOf(place);
  const common = (await readOrEmpty(gitDir, "commondir")).trim();
  let isCleared = false;
  for (const { ref } of changes) {
    if (!OUR_REF.test(ref) || ref.split("/").includes("..")) continue;
    const lock = join(common === "" ? gitDir : resolve(gitDir, common), `${ref}.lock`);
    const found = await lstat(lock).catch(ifAbsent(null));
    // Far ahead: the clock was set back since.
    if (found === null || Math.abs(Date.now() - found.mtimeMs) < STALE_LOCK_MS) continue;
    await rm(lock, { force: true });
    isCleared = true;
  }
  return isCleared;
}

const OUR_REF = /^refs\/(?:heads\/)?orchestrator\//;

/** As `changeRefs`, for callers to whom any other outcome is a fault. Throws GIT_FAILED. */
export async function mustChangeRefs(place: GitPlace, changes: readonly RefChange[], why: string): Promise<void> {
  const outcome = await changeRefs(place, changes, why);
  if (outcome.type === "done") return;
  const words = outcome.type === "changed" ? `${outcome.ref} is now ${outcome.now ?? "gone"}` : outcome.gitWords;
  throw new AppError("GIT_FAILED", `The refs could not be changed (${why}): ${words}`, {
    details: { changes, outcome },
  });
}

/** Throws INPUT_INVALID unless `name` can be a branch that commands don't mistake for something else. */
export async function checkBranchName(place: GitPlace, name: string): Promise<void> {
  const isOdd = name.startsWith("-") || name === "HEAD" || name.includes("\0") || name.startsWith("refs/");
  const result = isOdd ? null : await runGit(place, ["check-ref-format", BRANCHES + name]);
  if (result?.exitCode === 0) return;
  throw new AppError(
    "INPUT_INVALID",
    `${JSON.stringify(name)} can't be the name of a branch. Choose one like "next".`,
    {
      details: { name },
    },
  );
}

function isAsExpected(change: RefChange, now: string | null): boolean {
  return change.expected === undefined || change.expected === now;
}

function commandFor({ ref, to, expected }: RefChange, now: string | null): string {
  const old = expected === undefined ? now : expected;
  if (to === null) return `delete ${ref}\0${old ?? ""}\0`;
  return old === null ? `create ${ref}\0${to}\0` : `update ${ref}\0${to}\0${old}\0`;
}

/** The full name of the ref that `ref` is a link to; null when it is none. */
export async function linkedRef(place: GitPlace, ref: string): Promise<string | null> {
  // A file that holds an object's name, and a packed ref, are no links.
  if (typeof (await readRef(place, ref)) === "string") return null;
  const full = await git(place, ["rev-parse", "--symbolic-full-name", ref]);
  return full === ref ? null : full;
}

/** The object that the ref names, a tag or a tree too. */
async function refValue(place: GitPlace, ref: string): Promise<string | null> {
  const written = await readRef(place, ref);
  if (written !== undefined) return written;
  const result = await runGit(place, ["rev-parse", "--verify", "--quiet", ref]);
  return result.exitCode === 0 ? result.stdout.toString("utf8").trim() : null;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
