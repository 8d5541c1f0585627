/**
 * What of the user's repository an agent could change in spite of the fence around its git: an entry of the stash, for
 * whose drop git asks no hook, and the files of git's own folder, which every program can write.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ifAbsent } from "./if-absent.ts";

export interface UserState {
  /** Commits of the stash's entries. Empty where git keeps refs in tables. */
  readonly stashes: readonly string[];
  readonly config: string;
  /** Size and time of each hook that is no sample, by its name. */
  readonly hooks: ReadonlyMap<string, string>;
}

/** Throws what the file system throws, save for what is not there. */
export async function readUserState(commonDir: string): Promise<UserState> {
  const stash = await readFile(join(commonDir, "logs", "refs", "stash"), "utf8").catch(ifAbsent(""));
  const folder = join(commonDir, "hooks");
  const names = (await readdir(folder).catch(ifAbsent([]))).filter((name) => !name.endsWith(".sample"));
  const hooks = new Map<string, string>();
  for (const name of names.toSorted()) {
    const facts = await stat(join(folder, name)).catch(ifAbsent(null));
    hooks.set(name, facts === null ? "" : `${facts.size} ${facts.mode} ${facts.mtimeMs}`);
  }
  return {
    stashes: stash.split("\n").flatMap((line) => /^[0-9a-f]+ ([0-9a-f]+) /.exec(line)?.[1] ?? []),
    config: await readFile(join(commonDir, "config"), "utf8").catch(ifAbsent("")),
    hooks,
  };
}

export interface UserStateChange {
  readonly takenStashes: readonly string[];
  /** Names of changed files, from git's own folder. */
  readonly files: readonly string[];
}

export function userStateChange(before: UserState, after: UserState): UserStateChange {
  const names = new Set([...before.hooks.keys(), ...after.hooks.keys()]);
  const hooks = [...names].filter((name) => before.hooks.get(name) !== after.hooks.get(name)).toSorted();
  return {
    takenStashes: before.stashes.filter((sha) => !after.stashes.includes(sha)),
    files: [...(before.config === after.config ? [] : ["config"]), ...hooks.map((name) => `hooks/${name}`)],
  };
}
