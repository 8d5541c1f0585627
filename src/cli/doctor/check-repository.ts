/** The repository, its state folder, its engine and its config. */
import { accessSync, constants, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadConfig, orchestratorHome, type LoadedConfig } from "../../config/index.ts";
import type { FoundRepository } from "../../engine/repository-paths.ts";
import { checkFileSystem, stateFolderOf, socketPlace } from "../../engine/state-folder.ts";
import { readPackageVersion } from "../../engine/version.ts";
import { hasCode, messageOf } from "../../errors.ts";
import { findRepositoryFor, openRunningEngine, type Output } from "../engine-session.ts";
import type { Finding } from "../render-doctor.ts";
import { runTool } from "../run-tool.ts";

export interface CheckedRepository {
  readonly repository: FoundRepository | null;
  readonly findings: readonly Finding[];
}

export async function checkRepository(repo: string | null): Promise<CheckedRepository> {
  let repository: FoundRepository;
  try {
    repository = findRepositoryFor(repo);
  } catch (thrown) {
    const finding: Finding = {
      check: "repository",
      level: "fail",
      message: messageOf(thrown),
      fix: "git init && git commit --allow-empty -m start",
    };
    return { repository: null, findings: [finding] };
  }
  return {
    repository,
    findings: [await judgeRepository(repository), checkState(repository), ...checkSocket(repository)],
  };
}

async function judgeRepository({ mainWorktree, commonDir, place }: FoundRepository): Promise<Finding> {
  const check = "repository";
  const fail = (message: string, fix: string): Finding => ({ check, level: "fail", message, fix });
  if (mainWorktree === null)
    return fail(`${commonDir} is bare: agents' work could not be checked out`, "git clone it, and work in the clone");
  const git = (...args: string[]): ReturnType<typeof runTool> => runTool("git", args, place);
  const head = await git("rev-parse", "--verify", "--quiet", "HEAD");
  if (!head.isOk) return fail(`${mainWorktree} has no commit yet`, 'git commit --allow-empty -m "start"');
  if ((await git("show-ref", "--verify", "--quiet", "refs/heads/orchestrator")).isOk) {
    return fail(
      'a branch is named "orchestrator", so branches below orchestrator/ can\'t be made',
      "git branch -m orchestrator another-name",
    );
  }
  const branch = await git("symbolic-ref", "--short", "--quiet", "HEAD");
  if (!branch.isOk) {
    return {
      check,
      level: "warn",
      message: `${mainWorktree}: HEAD is detached, so plans need a target`,
      fix: "git switch BRANCH, or orchestrator run --into NAME",
    };
  }
  return { check, level: "ok", message: `${mainWorktree} on ${branch.stdout.trim()}`, fix: null };
}

function checkState({ commonDir }: FoundRepository): Finding {
  const check = "state";
  try {
    checkFileSystem(commonDir);
    const { path } = stateFolderOf(commonDir);
    // Looking makes nothing: where no plan was made yet, the folder that it would be made in must be writable.
    const exists = existsSync(path);
    accessSync(exists ? path : commonDir, constants.W_OK | constants.X_OK);
    return { check, level: "ok", message: exists ? path : `${path} (made by the first plan)`, fix: null };
  } catch (thrown) {
    return { check, level: "fail", message: messageOf(thrown), fix: `chmod -R u+rwX ${JSON.stringify(commonDir)}` };
  }
}

/** A path that is too long for a socket is no problem as long as the folder that stands in for it is the user's alone. */
function checkSocket({ commonDir }: FoundRepository): Finding[] {
  const { path, isElsewhere, problem } = socketPlace(commonDir, process.env);
  if (!isElsewhere) return [];
  const check = "socket";
  if (problem === null) {
    return [{ check, level: "ok", message: `the repository's path is too long for one; it is ${path}`, fix: null }];
  }
  const folder = dirname(path);
  const message = `the repository's path is too long for one, and ${folder}, where it would be, ${problem}`;
  return [{ check, level: "fail", message, fix: `chmod 700 ${JSON.stringify(folder)}, or set XDG_RUNTIME_DIR` }];
}

export interface CheckedEngine {
  readonly finding: Finding;
  readonly info: Output<"engine_info"> | null;
  /** Plans that have not ended; null when no engine tells. */
  readonly openPlans: readonly string[] | null;
}

export async function checkEngine(repo: string | null): Promise<CheckedEngine> {
  const check = "engine";
  try {
    const session = await openRunningEngine(repo);
    if (session === null) {
      return {
        finding: { check, level: "ok", message: "not running; the first command that needs it starts it", fix: null },
        info: null,
        openPlans: null,
      };
    }
    try {
      const info = await session.call("engine_info", {});
      const { plans } = await session.call("task_status", {});
      const openPlans = plans.map(({ plan }) => plan);
      const own = readPackageVersion();
      const facts = `${info.version}, process ${info.pid}, ${info.processes.length} agents`;
      if (info.version === own) return { finding: { check, level: "ok", message: facts, fix: null }, info, openPlans };
      const message = `${facts}; this command is ${own}, which takes over when the agents are done`;
      return { finding: { check, level: "warn", message, fix: "orchestrator stop" }, info, openPlans };
    } finally {
      await session.close();
    }
  } catch (thrown) {
    return {
      finding: { check, level: "fail", message: messageOf(thrown), fix: "orchestrator stop" },
      info: null,
      openPlans: null,
    };
  }
}

export interface CheckedConfig {
  /** The defaults alone when the files can't be used. */
  readonly loaded: LoadedConfig;
  readonly findings: readonly Finding[];
}

export function checkConfig(mainWorktree: string | null): CheckedConfig {
  const check = "config";
  const home = orchestratorHome();
  let loaded: LoadedConfig;
  try {
    loaded = loadConfig({ home, mainWorktree });
  } catch (thrown) {
    const fix = hasCode(thrown, "CONFIG_INVALID", "PROVIDER_NOT_FOUND", "BACKEND_NOT_FOUND")
      ? "mend the line above; orchestrator config schema tells what may stand there"
      : `mv ${JSON.stringify(join(home, "trust.json"))}{,.damaged}   # then orchestrator trust`;
    // A home that holds nothing: what is built in.
    const defaults = loadConfig({ home: "/dev/null", mainWorktree: null });
    return { loaded: defaults, findings: [{ check, level: "fail", message: messageOf(thrown), fix }] };
  }
  const { globalFile, projectFile, warnings } = loaded;
  const used = [globalFile.exists ? globalFile.path : null, projectFile.state === "trusted" ? projectFile.path : null];
  const files = used.filter((path) => path !== null);
  const findings: Finding[] = [
    { check, level: "ok", message: files.length === 0 ? "built-in defaults" : files.join(", "), fix: null },
    ...warnings.map((message): Finding => ({ check, level: "warn", message, fix: "orchestrator config schema" })),
  ];
  if (projectFile.state === "untrusted" || projectFile.state === "changed") {
    const how = projectFile.state === "changed" ? "changed since it was trusted" : "not trusted";
    findings.push({
      check,
      level: "fail",
      message: `${projectFile.path ?? ""} is ${how}: no plan starts`,
      fix: "orchestrator trust",
    });
  }
  return { loaded, findings };
}
