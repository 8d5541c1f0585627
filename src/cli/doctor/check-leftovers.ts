/** What earlier runs left: an engine that died, worktrees whose repository is gone, branches of plans that have ended. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { keptStates, readEngineFile, stateFolderOf, whyKept } from "../../engine/state-folder.ts";
import { interruptionOf, listed } from "../../notices.ts";
import { plainLine } from "../plain-text.ts";
import type { Finding } from "../render-doctor.ts";
import { runTool } from "../run-tool.ts";

const SHOWN = 3;

/** `isRunning`: an engine serves this repository. Looking starts none. */
export function checkDeath(commonDir: string, isRunning: boolean): Finding[] {
  const { engineFile, logFile } = stateFolderOf(commonDir);
  const file = readEngineFile(engineFile);
  if (isRunning || file === null) return [];
  const check = "interrupted";
  const plans = file.openPlans;
  const what = plans.length === 0 ? "no plan was open" : `plans that were interrupted: ${listed(plans)}`;
  const message = `${interruptionOf(file)}; ${what}; its log: ${logFile}`;
  if (plans.length === 0) return [{ check, level: "ok", message, fix: null }];
  const fix = `orchestrator status ${plans.length === 1 ? (plans[0] ?? "") : ""}`.trim();
  return [{ check, level: "warn", message, fix: `${fix}   # starts an engine, which goes on with them by itself` }];
}

/** State files that were damaged or removed and are kept, for a person to rescue or to throw away. */
export function checkKeptStates(commonDir: string): Finding[] {
  const { path } = stateFolderOf(commonDir);
  return keptStates(path).map((file) => {
    const why = whyKept(file);
    const rescue =
      why === "damaged"
        ? `sqlite3 ${shellWord(file)} .recover`
        : `orchestrator stop && cp ${shellWord(file)} ${shellWord(join(path, "state.db"))}`;
    return {
      check: "damaged",
      level: "warn",
      message: `a ${why} state is kept as ${file}; the plans in it are not known any more`,
      fix: `${rescue}   # then, or when nothing in it matters: rm ${shellWord(file)}`,
    };
  });
}

/** Worktrees below `root` that belong to no repository any more: it was deleted or moved. */
export function checkWorktrees(root: string): Finding[] {
  const lost = foldersIn(root).filter((repository) => {
    const worktrees = foldersIn(repository)
      .flatMap(foldersIn)
      .filter((folder) => existsSync(join(folder, ".git")));
    return worktrees.length > 0 && worktrees.every(isLost);
  });
  return lost.map((folder) => ({
    check: "worktrees",
    level: "warn",
    message: `${folder} belongs to no repository any more (deleted, or moved: \`git worktree repair\` there)`,
    fix: `rm -rf ${shellWord(folder)}   # after a look whether work of yours is in it`,
  }));
}

/** `openPlans`: null when no engine tells which plans are open. */
export async function checkBranches(place: string, openPlans: readonly string[] | null): Promise<Finding[]> {
  const format = "--format=%(refname:lstrip=2)";
  const listed = await runTool("git", ["for-each-ref", format, "refs/heads/orchestrator/"], place);
  const branches = listed.stdout.split("\n").filter((name) => name !== "");
  if (!listed.isOk || branches.length === 0) return [];
  const check = "branches";
  if (openPlans === null) {
    const message = `${branches.length} below orchestrator/; which of them belong to open plans only an engine knows`;
    return [{ check, level: "ok", message, fix: null }];
  }
  const ended = branches.filter((name) => !openPlans.includes(name.split("/")[1] ?? ""));
  if (ended.length === 0) return [{ check, level: "ok", message: `${branches.length}, of open plans`, fix: null }];
  const names = ended.slice(0, SHOWN).map(plainLine).join(", ");
  const more = ended.length > SHOWN ? `, … (${ended.length})` : "";
  const message = `of plans that are not open, kept for you: ${names}${more}`;
  const fix = `git branch -D ${ended.slice(0, SHOWN).map(shellWord).join(" ")}   # when you need them no more`;
  return [{ check, level: "ok", message, fix }];
}

function isLost(worktree: string): boolean {
  try {
    const gitDir = /^gitdir: (.+)$/m.exec(readFileSync(join(worktree, ".git"), "utf8"))?.[1];
    // `<common dir>/worktrees/<name>`: git may have pruned the name and still be there.
    return gitDir !== undefined && isAbsolute(gitDir) && !existsSync(dirname(dirname(gitDir)));
  } catch {
    return false;
  }
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, entry.name));
  } catch {
    return [];
  }
}

function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
