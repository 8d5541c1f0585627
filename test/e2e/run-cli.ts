import { execFile } from "node:child_process";
import { join } from "node:path";
import { DIST, type Repo } from "./engine-support.ts";

interface CliEnd {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command line as a person has it, without a terminal: what it says, and how it ends. */
export async function runCli({ path, ground }: Repo, words: readonly string[], stdin = ""): Promise<CliEnd> {
  return await new Promise((resolve) => {
    const program = join(DIST, "cli", "main.js");
    const options = { cwd: path, env: ground.environment, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(process.execPath, [program, ...words], options, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err }),
    );
    child.stdin?.end(stdin);
  });
}
