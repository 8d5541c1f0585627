import { execFile } from "node:child_process";
import { join } from "node:path";
import { DIST, type Repo } from "./engine-support.ts";

export interface CliEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly stdin?: string;
  /** Default the repository's main worktree. */
  readonly cwd?: string;
  /** On top of the ground's. */
  readonly env?: NodeJS.ProcessEnv;
  /** Shell words before the command, such as `ulimit -n 64;`. */
  readonly shell?: string;
}

/** The command line as a person has it, without a terminal: what it says, and how it ends (-1: not by itself). */
export async function runCli(
  { path, ground }: Repo,
  words: readonly string[],
  { stdin = "", cwd = path, env = {}, shell = "" }: CliOptions = {},
): Promise<CliEnd> {
  const command = [process.execPath, join(DIST, "cli", "main.js"), ...words];
  const options = { cwd, env: { ...ground.environment, ...env }, maxBuffer: 64 * 1024 * 1024, timeout: 120_000 };
  return await new Promise((resolve) => {
    const child = execFile(
      "/bin/sh",
      ["-c", `${shell} exec "$@"`, "sh", ...command],
      options,
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr }),
    );
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(stdin);
  });
}
