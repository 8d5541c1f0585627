/** Where in a repository's own tree the hooks lie that git runs there. */
import { readdir, realpath } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import type { Repository } from "./repository.ts";
import { runGit } from "./run-git.ts";

/**
 * Folders and files relative to the repository's root, "" for the root itself: the folder that `core.hooksPath` names,
 * and what links in the place of the hooks folder, or in it, lead to. Empty when all hooks lie outside the tree.
 */
export async function trackedHooks(repository: Repository): Promise<string[]> {
  const root = repository.mainWorktree;
  const args = ["config", "--type=path", "--get", "core.hooksPath"];
  // With our own settings this would answer our own /dev/null.
  const asked = await runGit({ folder: root }, args, { usersHooks: true });
  const value = asked.exitCode === 0 ? asked.stdout.toString("utf8").replace(/\n$/, "") : "";
  const folder = value === "" ? join(repository.commonDir, "hooks") : resolve(root, value);
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const links = entries.filter((entry) => entry.isSymbolicLink()).map(({ name }) => join(folder, name));
  const led = await Promise.all([folder, ...links].map(realPathOf));
  const realRoot = await realPathOf(root);
  const inside = [relative(root, folder), ...led.map((path) => relative(realRoot, path))].filter(isInTree);
  return [...new Set(inside.map((path) => path.split(sep).join("/")))];
}

async function realPathOf(path: string): Promise<string> {
  return await realpath(path).catch(() => path);
}

function isInTree(path: string): boolean {
  const [first] = path.split(sep);
  return first !== ".." && first !== ".git" && !path.startsWith(sep);
}
