/** Asks another program about itself: bounded in time and output, with an empty standard input. */
import { execFile } from "node:child_process";

const TIMEOUT_MS = 15_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

export interface ToolAnswer {
  readonly isOk: boolean;
  readonly stdout: string;
  readonly problem: string;
}

/** Never rejects. */
export function runTool(
  file: string,
  args: readonly string[],
  cwd?: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<ToolAnswer> {
  return new Promise((resolve) => {
    const child = execFile(
      file,
      [...args],
      {
        timeout: TIMEOUT_MS,
        maxBuffer: MAX_OUTPUT_BYTES,
        env: { ...toolEnvironment(), ...environment },
        ...(cwd === undefined ? {} : { cwd }),
      },
      (error, stdout, stderr) => {
        resolve({ isOk: error === null, stdout, problem: error === null ? "" : problemIn(stderr, error.message) });
      },
    );
    child.stdin?.end();
  });
}

/** The first line that is more than a warning. */
function problemIn(stderr: string, otherwise: string): string {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "" && !/^warning/i.test(line));
  return (lines[0] ?? otherwise).split("\n", 1)[0] ?? "";
}

/** GIT_DIR and its relatives would make git speak of another repository. */
function toolEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_"));
  return { ...Object.fromEntries(kept), GIT_OPTIONAL_LOCKS: "0" };
}
