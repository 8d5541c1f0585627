/**
 * Makes a new worktree ready: copies what git ignores (`.env`), links what may be shared (`node_modules`), runs the setup
 * commands. Done once for each worktree and again when the settings change; what was cut off in the middle is done again.
 * What is copied or linked in is never committed.
 */
import { createHash } from "node:crypto";
import { cp, lstat, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, sep } from "node:path";
import picomatch from "picomatch";
import { makeFolder } from "../make-folder.ts";
import { messageOf } from "../errors.ts";
import { runGit } from "../git/run-git.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import type { ManagedProcess } from "../process/process-manager.ts";
import type { Parts } from "./parts.ts";
import type { PlanSettings, WorktreeSettings } from "./settings.ts";
import type { TaskPlace } from "./task-place.ts";

/** In git's own folder of the worktree, where no agent's commit can take it along. */
const READY_FILE = "orchestrator-ready";
/** Beside it: what agents' own git leaves out. */
const EXCLUDE_FILE = "orchestrator-exclude";
const SETUP_TIMEOUT_MS = 30 * 60_000;
/** A glob that begins at the root walks the repository; more than this is a mistake in the glob. */
const MAX_WALKED = 200_000;
const NEVER_WALKED: ReadonlySet<string> = new Set([".git", "node_modules"]);

/** Null when the worktree is ready; else what went wrong, for the task's message. */
export async function setUpWorktree(
  parts: Parts,
  task: TaskRecord,
  place: TaskPlace,
  settings: PlanSettings,
  variables: Readonly<Record<string, string>>,
  onProcess: (child: ManagedProcess) => void,
): Promise<string | null> {
  const { worktree } = settings;
  if (worktree.copy.length + worktree.link.length + worktree.setup.length === 0) return null;
  const wanted = createHash("sha256").update(JSON.stringify(worktree)).digest("hex");
  const readyFile = join(place.gitDir, READY_FILE);
  if ((await readFile(readyFile, "utf8").catch(() => "")) === wanted) return null;
  try {
    const problem =
      (await bringFiles(parts, place, worktree)) ??
      (await runSetup(parts, task, place, settings, variables, onProcess));
    if (problem === null) await writeFile(readyFile, wanted);
    return problem;
  } catch (thrown) {
    return `the worktree could not be made ready: ${messageOf(thrown)}`;
  }
}

async function bringFiles(parts: Parts, place: TaskPlace, { copy, link }: WorktreeSettings): Promise<string | null> {
  const from = parts.repository.mainWorktree;
  const copied = await matching(from, copy);
  if (copied === null) return `worktree.copy looks at more than ${MAX_WALKED} files: name narrower globs`;
  const copies = await reachable(place.path, copied);
  const links = await reachable(
    place.path,
    await filtered(link, async (path) => (await kindOf(join(from, path))) === "there"),
  );
  // Noted before they are made, or a kill between would have them committed.
  const brought = [...copies.keys(), ...links.keys()];
  await parts.repository.worktrees.leaveOut(place.path, brought);
  await writeFile(join(place.gitDir, EXCLUDE_FILE), await excludeText(place.path, brought));
  for (const [path, target] of copies) {
    await cp(join(from, path), target, { recursive: true, force: true, verbatimSymlinks: true });
  }
  for (const [path, target] of links) {
    await rm(target, { recursive: true, force: true });
    await symlink(join(from, path), target);
  }
  return null;
}

/**
 * The value of `core.excludesFile` with which an agent's own `git add -A` leaves out what was brought in; null: nothing
 * was. A pattern such as `node_modules/` does not match a link of that name, and not everybody ignores their `.env`.
 */
export async function excludeFileOf(gitDir: string): Promise<string | null> {
  const file = join(gitDir, EXCLUDE_FILE);
  return (await kindOf(file)) === "missing" ? null : file;
}

/** The user's own list, whose place this file takes, and the paths. */
async function excludeText(worktree: string, paths: readonly string[]): Promise<string> {
  const asked = await runGit({ folder: worktree }, ["config", "--type=path", "--get", "core.excludesFile"]);
  const configured = asked.exitCode === 0 ? asked.stdout.toString("utf8").trim() : "";
  const folder = process.env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config");
  const users = await readFile(configured === "" ? join(folder, "git/ignore") : configured, "utf8").catch(() => "");
  const patterns = paths.map((path) => `/${path.replace(/[\\*?[\] ]/g, "\\$&")}`);
  return [users, ...patterns, ""].join("\n");
}

/** The paths that lie in the worktree, with their places there. */
async function reachable(worktree: string, paths: readonly string[]): Promise<Map<string, string>> {
  const targets = new Map<string, string>();
  for (const path of paths) {
    const target = await safeTarget(worktree, path);
    if (target !== null) targets.set(path.replace(/\/+$/, ""), target);
  }
  return targets;
}

async function filtered<Item>(items: readonly Item[], test: (item: Item) => Promise<boolean>): Promise<Item[]> {
  const verdicts = await Promise.all(items.map(test));
  return items.filter((_, index) => verdicts[index] === true);
}

/** Where a file goes in the worktree; null when a link in the repository would lead it out of there. */
async function safeTarget(worktree: string, path: string): Promise<string | null> {
  const target = join(worktree, path);
  const root = await realpath(worktree);
  // What is there decides before anything is made: a folder made through a link would be made outside.
  let folder = dirname(target);
  while ((await kindOf(folder)) === "missing") folder = dirname(folder);
  const real = await realpath(folder).catch(() => null);
  if (real === null || (real !== root && !real.startsWith(root + sep))) return null;
  makeFolder(dirname(target));
  return target;
}

/** Files and folders of the main worktree that the globs name; null when there is too much to look at. */
async function matching(root: string, globs: readonly string[]): Promise<string[] | null> {
  const found = new Set<string>();
  let walked = 0;
  for (const glob of globs) {
    const { base, isGlob } = picomatch.scan(glob);
    if (!isGlob) {
      if ((await kindOf(join(root, glob))) !== "missing") found.add(glob.replace(/\/+$/, ""));
      continue;
    }
    const matches = picomatch(glob, { dot: true });
    const folders = [base === "" ? "." : base];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (const entry of await readdir(join(root, folder), { withFileTypes: true }).catch(() => [])) {
        walked += 1;
        if (walked > MAX_WALKED) return null;
        const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
        if (matches(path)) found.add(path);
        else if (entry.isDirectory() && !NEVER_WALKED.has(entry.name)) folders.push(path);
      }
    }
  }
  return [...found];
}

async function kindOf(path: string): Promise<"missing" | "there"> {
  return await lstat(path).then(
    () => "there",
    () => "missing",
  );
}

async function runSetup(
  parts: Parts,
  task: TaskRecord,
  place: TaskPlace,
  settings: PlanSettings,
  variables: Readonly<Record<string, string>>,
  onProcess: (child: ManagedProcess) => void,
): Promise<string | null> {
  for (const [index, command] of settings.worktree.setup.entries()) {
    const id = `setup-${parts.ids.uuid()}`;
    const child = parts.processes.start({
      id,
      label: `setup ${taskKey(task)}: ${command.slice(0, 60)}`,
      file: "/bin/sh",
      args: ["-c", command],
      cwd: place.path,
      env: { ...parts.baseEnvironment(), ...variables },
      stdin: null,
      deadlineMs: Math.min(SETUP_TIMEOUT_MS, task.spec.timeoutMinutes * 60_000),
      killGraceMs: Math.min(settings.killGraceMs, 5_000),
      outputDir: join(parts.attemptsFolder, id),
    });
    onProcess(child);
    const report = await child.exited;
    if (report.outcome === "exited" && report.exitCode === 0) continue;
    const words = `${report.stdoutTail}${report.stderrTail}`.trim().slice(-500);
    return `worktree.setup[${index}] (${command.slice(0, 100)}) failed with ${report.exitCode ?? report.stopReason ?? report.signal ?? "an error"}: ${words}`;
  }
  return null;
}
