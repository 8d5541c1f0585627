/** Where the files of the config lie. */
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { AppError } from "../errors.ts";
import { isInside, readTextFile, realPathSoFar, type TextFile } from "./files.ts";
import type { Config } from "./schema.ts";

export interface ConfigPlaces {
  /** The orchestrator's home: see `orchestratorHome`. */
  readonly home: string;
  /** The repository's main worktree, absolute; null outside of a repository. */
  readonly mainWorktree: string | null;
}

/** `$ORCHESTRATOR_HOME`, or `~/.orchestrator`. Throws USAGE when the variable is not an absolute path. */
export function orchestratorHome(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  userHome: string = homedir(),
): string {
  const given = environment["ORCHESTRATOR_HOME"];
  if (given === undefined || given === "") return join(userHome, ".orchestrator");
  if (isAbsolute(given)) return given;
  throw new AppError("USAGE", `ORCHESTRATOR_HOME is ${JSON.stringify(given)}; expected an absolute path.`);
}

/** Where worktrees are made, absolute: `worktree.root`, or `worktrees` in the orchestrator's home. */
export function worktreesRoot(config: Config, home: string, userHome: string = homedir()): string {
  const { root } = config.worktree;
  if (root === null) return join(home, "worktrees");
  return root.startsWith("~/") ? join(userHome, root.slice(2)) : root;
}

export function globalConfigPath(home: string): string {
  return join(home, "config.json");
}

export function projectConfigPath(mainWorktree: string): string {
  return join(mainWorktree, ".orchestrator", "config.json");
}

/**
 * The project's file, or null. A repository could have its config point at any file of the user, which would then be
 * read, kept and written over: a link that leaves the worktree is refused (CONFIG_INVALID).
 */
export function readProjectFile(mainWorktree: string): TextFile | null {
  refuseOutside(mainWorktree);
  return readTextFile(projectConfigPath(mainWorktree));
}

/** The file to write so that symbolic links (people keep their config elsewhere) stay links. Throws CONFIG_INVALID. */
export function fileToWrite(path: string, mainWorktree: string | null): string {
  if (mainWorktree !== null) refuseOutside(mainWorktree);
  return realPathSoFar(path);
}

function refuseOutside(mainWorktree: string): void {
  const path = projectConfigPath(mainWorktree);
  const real = realPathSoFar(path);
  if (isInside(realPathSoFar(mainWorktree), real)) return;
  throw new AppError(
    "CONFIG_INVALID",
    `${path} is a symbolic link to outside of the repository (${dirname(real)}). Put the file itself there.`,
    { details: { file: path } },
  );
}
