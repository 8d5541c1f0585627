/** The demo's throw-away repository, with an orchestrator home of its own: nothing of the user's is read or touched. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ATTEMPT_MARK } from "../../engine/environment.ts";
import { AppError, messageOf } from "../../errors.ts";
import { CHECK_SCRIPT } from "./demo-plan.ts";

export interface DemoRepository {
  readonly folder: string;
  readonly path: string;
  /** For the engine and for git. */
  readonly environment: NodeJS.ProcessEnv;
  git(...args: readonly string[]): string;
  remove(): void;
}

/** Throws GIT_FAILED. */
export function makeDemoRepository(): DemoRepository {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-demo-")));
  const path = join(folder, "site");
  const home = join(folder, "home");
  const environment = environmentFor(home);
  const git = (...args: readonly string[]): string => {
    try {
      return execFileSync("git", [...args], {
        cwd: path,
        env: environment,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    } catch (thrown) {
      throw new AppError("GIT_FAILED", `git ${args[0] ?? ""} failed in the demo: ${messageOf(thrown)}`, {
        cause: thrown,
      });
    }
  };
  mkdirSync(path);
  mkdirSync(home);
  const config = {
    verify: ["sh check.sh"],
    retry: { baseMs: 200, maxMs: 1000 },
    // Nobody waits for commands that end at once when they are asked to.
    agents: { killGraceSeconds: 2 },
    // Should the demo itself be killed, its engine ends all the same.
    engine: { onLastClientExit: "stop" },
  };
  writeFileSync(join(home, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  // No template: the user's may install hooks.
  git("init", "--quiet", "--template=", "--initial-branch=main");
  for (const [name, value] of [
    ["user.name", "Demo"],
    ["user.email", "demo@example.invalid"],
    ["commit.gpgSign", "false"],
    ["core.hooksPath", join(folder, "no-hooks")],
  ] as const) {
    git("config", name, value);
  }
  writeFileSync(join(path, "check.sh"), CHECK_SCRIPT);
  git("add", "check.sh");
  git("commit", "--quiet", "-m", "Check every page");
  return {
    folder,
    path,
    environment,
    git,
    remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
}

function environmentFor(home: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_") && name !== ATTEMPT_MARK);
  return { ...Object.fromEntries(kept), ORCHESTRATOR_HOME: home };
}
