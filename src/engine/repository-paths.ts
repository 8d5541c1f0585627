/**
 * Finds a repository by looking at files only: a host waits for the pipe, and a git process costs more than all the rest.
 * The rules are git's own (gitrepository-layout(5) and `setup.c`): a folder is a git folder when it has HEAD, objects and
 * refs; a `.git` file names one; `commondir` in it names the folder that all worktrees share. GIT_DIR and its relatives
 * are not read: inside a hook they name another repository than the one we stand in.
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "../errors.ts";

export interface RepositoryPaths {
  /** What all worktrees share, without symbolic links: the repository's name everywhere in the engine. */
  readonly commonDir: string;
  /** Null when there is none: a bare repository. */
  readonly mainWorktree: string | null;
  /** The worktree that the search began in; null inside a bare repository or a git folder. */
  readonly worktreeRoot: string | null;
}

export interface FoundRepository extends RepositoryPaths {
  /** Where the search began: the directory that the user means. */
  readonly place: string;
}

export interface Places {
  /** `--repo`; where given, nothing else is looked at. */
  readonly repo: string | null;
  /** Null when it was deleted under the process. */
  readonly cwd: string | null;
  /** CLAUDE_PROJECT_DIR. */
  readonly projectDir: string | null;
  /** The client's roots as `file:` addresses; null when it was not asked. Only a single one is taken. */
  readonly roots: readonly string[] | null;
}

/**
 * The repository that a host means, by `--repo`, else cwd, else CLAUDE_PROJECT_DIR, else the client's single root.
 * Throws NOT_A_REPOSITORY, which says what was looked at and what to do.
 */
export function discoverRepository(places: Places): FoundRepository {
  if (places.repo !== null) {
    const place = resolve(places.cwd ?? "/", places.repo);
    const found = findRepository(place);
    if (found !== null) return { ...found, place };
    throw new AppError("NOT_A_REPOSITORY", `--repo ${place} is not in a git repository. Give a folder that is.`, {
      details: { tried: [place] },
    });
  }
  const candidates = [places.cwd, places.projectDir, singleRoot(places.roots)].filter((place) => place !== null);
  for (const place of candidates) {
    const found = isAbsolute(place) ? findRepository(place) : null;
    if (found !== null) return { ...found, place };
  }
  const tried = [...new Set(candidates)];
  const where = tried.length === 0 ? "" : ` in ${tried.join(" or ")}`;
  const roots = places.roots ?? [];
  const manyRoots = roots.length > 1 ? ` The client has ${roots.length} roots, so none of them was taken.` : "";
  throw new AppError(
    "NOT_A_REPOSITORY",
    `No git repository was found${where}.${manyRoots} Run \`git init\` and make a first commit there, start the client inside a ` +
      "repository, or register the server with `--repo DIR`.",
    { details: { tried } },
  );
}

function singleRoot(roots: readonly string[] | null): string | null {
  const [only] = roots ?? [];
  if (only === undefined || roots?.length !== 1 || !only.startsWith("file:")) return null;
  try {
    return fileURLToPath(only);
  } catch {
    return null;
  }
}

/**
 * The repository that `startDir` is in; null when it is in none. Throws NOT_A_REPOSITORY when a `.git` file on the way
 * names a folder that is gone: git stops there too, and a repository further up is not what the user means.
 */
export function findRepository(startDir: string): RepositoryPaths | null {
  let directory: string;
  try {
    directory = realpathSync(startDir);
    if (!statSync(directory).isDirectory()) directory = dirname(directory);
  } catch {
    return null;
  }
  const device = statSync(directory).dev;
  for (;;) {
    const found = lookAt(directory);
    if (found !== null) return found;
    const parent = dirname(directory);
    // Git does not look past the file system that it began in.
    if (parent === directory || statSync(parent).dev !== device) return null;
    directory = parent;
  }
}

/** What a common git folder says of itself. `commonDir` exists and has no symbolic links. */
export function mainWorktreeOf(commonDir: string): string | null {
  const worktree = readCoreSection(commonDir).get("worktree");
  if (worktree !== undefined) return tryRealPath(resolve(commonDir, worktree));
  if (isBare(commonDir)) return null;
  return basename(commonDir) === ".git" ? dirname(commonDir) : null;
}

function lookAt(directory: string): RepositoryPaths | null {
  const dotGit = join(directory, ".git");
  const kind = statSync(dotGit, { throwIfNoEntry: false });
  if (kind?.isFile() === true) return behindGitFile(directory, dotGit);
  if (kind?.isDirectory() === true && isGitFolder(dotGit)) {
    const commonDir = commonDirOf(realpathSync(dotGit));
    // `.git` may be a link to a folder elsewhere: then this worktree is the main one all the same.
    const mainWorktree = mainWorktreeOf(commonDir) ?? (isBare(commonDir) ? null : directory);
    return { commonDir, mainWorktree, worktreeRoot: isBare(commonDir) ? null : directory };
  }
  if (isGitFolder(directory)) {
    const commonDir = commonDirOf(directory);
    return { commonDir, mainWorktree: mainWorktreeOf(commonDir), worktreeRoot: null };
  }
  return null;
}

function behindGitFile(directory: string, dotGit: string): RepositoryPaths | null {
  const named = /^gitdir: (.+?)[\r\n]*$/s.exec(readSmallFile(dotGit) ?? "")?.[1];
  const gitDir = named === undefined ? null : tryRealPath(resolve(directory, named));
  if (gitDir === null || !isGitFolder(gitDir)) {
    throw new AppError(
      "NOT_A_REPOSITORY",
      `${dotGit} names ${named === undefined ? "no git folder" : `${named}, which is not a git folder`}. ` +
        "Was the worktree's repository moved? `git worktree repair` run there mends it.",
      { details: { tried: [directory] } },
    );
  }
  const commonDir = commonDirOf(gitDir);
  // A submodule, or a git folder kept elsewhere (`--separate-git-dir`): this directory is its main worktree.
  const isLinked = commonDir !== gitDir;
  return { commonDir, mainWorktree: isLinked ? mainWorktreeOf(commonDir) : directory, worktreeRoot: directory };
}

function isBare(commonDir: string): boolean {
  return /^(true|yes|on|1)$/i.test(readCoreSection(commonDir).get("bare") ?? "false");
}

function isGitFolder(path: string): boolean {
  if (!existsSync(join(path, "HEAD"))) return false;
  const common = commonDirOf(path);
  return existsSync(join(common, "objects")) && existsSync(join(common, "refs"));
}

function commonDirOf(gitDir: string): string {
  const named = readSmallFile(join(gitDir, "commondir"))?.trim();
  if (named === undefined || named === "") return gitDir;
  return tryRealPath(resolve(gitDir, named)) ?? gitDir;
}

function tryRealPath(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

function readSmallFile(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/**
 * The keys of `[core]`, names in lower case, without includes: git itself writes `bare` and `worktree` into these very
 * files (the second one where `extensions.worktreeConfig` is on).
 */
function readCoreSection(commonDir: string): Map<string, string> {
  const text = ["config", "config.worktree"].map((name) => readSmallFile(join(commonDir, name)) ?? "").join("\n[]\n");
  const values = new Map<string, string>();
  let isCore = false;
  for (const line of text.split("\n")) {
    const section = /^\s*\[([^\]]*)\]/.exec(line)?.[1];
    if (section !== undefined) isCore = section.trim().toLowerCase() === "core";
    const entry = isCore ? /^\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*?))?\s*$/.exec(line) : null;
    if (entry?.[1] !== undefined) values.set(entry[1].toLowerCase(), unquote(entry[2] ?? "true"));
  }
  return values;
}

function unquote(value: string): string {
  const text = /^"(.*)"/.exec(value)?.[1] ?? value.replace(/\s*[#;].*$/, "");
  return text.replace(/\\(["\\])/g, "$1");
}
