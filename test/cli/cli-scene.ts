/** A repository, a home and the built command for one test; after it no process and no folder of it is left. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { commandLine, processesOf } from "../support/processes.js";
import { until } from "../support/until.js";

const PROGRAM =
  process.env["ORCHESTRATOR_TEST_PROGRAM"] ?? fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const DEADLINE_MS = 90_000;

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliChild {
  readonly child: ChildProcess;
  readonly result: Promise<CliResult>;
  /** Resolves when standard output holds `text`. */
  readonly says: (text: string) => Promise<void>;
}

export interface CallOptions {
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

export interface CliScene {
  readonly folder: string;
  readonly repository: string;
  run(words: readonly string[], options?: CallOptions): Promise<CliResult>;
  start(words: readonly string[], options?: CallOptions): CliChild;
  /** Writes a file below the scene's folder (not the repository); the answer is its path. */
  file(name: string, content: string | object): string;
  git(...args: readonly string[]): string;
  /** The repository's file, or null. */
  read(name: string): string | null;
  leave(): Promise<void>;
}

export interface SceneOptions {
  readonly folderName?: string;
  /** `none`: an empty folder · `empty`: no commit yet · `bare`. */
  readonly repository?: "ready" | "empty" | "bare" | "none";
}

export function openCliScene({ folderName = "repo", repository: kind = "ready" }: SceneOptions = {}): CliScene {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-cli-")));
  const repository = join(folder, folderName);
  mkdirSync(repository, { recursive: true });
  const environment = environmentOf(folder);
  const git = (...args: readonly string[]): string =>
    execFileSync("git", [...args], {
      cwd: repository,
      env: environment,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  if (kind !== "none") git("init", "-q", "-b", "main", ...(kind === "bare" ? ["--bare"] : []));
  if (kind === "ready") {
    writeFileSync(join(repository, "README"), "start\n");
    git("add", "README");
    git("commit", "-q", "-m", "Start");
  }

  const start = (words: readonly string[], options: CallOptions = {}): CliChild => {
    const child = spawn(process.execPath, [PROGRAM, ...words], {
      cwd: options.cwd ?? repository,
      env: { ...environment, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
    const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
    const result = new Promise<CliResult>((resolve) => {
      child.on("close", (code) => {
        clearTimeout(timer);
        resolve({ code, stdout, stderr });
      });
    });
    const says = async (text: string): Promise<void> => {
      await until(
        `it says ${JSON.stringify(text)}`,
        () => {
          // What came with the end is there only when the pipe is closed.
          if (!stdout.includes(text) && child.stdout.closed) throw new Error(`It ended without: ${stdout}${stderr}`);
          return stdout.includes(text);
        },
        () => `${stdout}${stderr}`,
      );
    };
    return { child, result, says };
  };

  return {
    folder,
    repository,
    start,
    run: (words, options) => start(words, options).result,
    file: (name, content) => {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
      return path;
    },
    git,
    read: (name) => (existsSync(join(repository, name)) ? readFileSync(join(repository, name), "utf8") : null),
    leave: async () => {
      try {
        const stopped = kind === "none" ? null : await start(["stop"]).result;
        if (stopped !== null && stopped.code !== 0) throw new Error(`stop failed: ${stopped.stderr}`);
        await until(
          "nothing of the scene is alive",
          () => processesOf(folder).length === 0,
          () => processesOf(folder).map(commandLine).join("\n"),
        );
      } finally {
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    },
  };
}

/** A task of a shell command. */
export function commandTask(id: string, prompt: string, rest: object = {}): Record<string, unknown> {
  return { id, agent: "command", prompt, writes: [`${id}.txt`], ...rest };
}

/** The lines of a `--json` output. */
export function jsonLines(stdout: string): Record<string, unknown>[] {
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function environmentOf(folder: string): NodeJS.ProcessEnv {
  const user = join(folder, "user");
  mkdirSync(user, { recursive: true });
  writeFileSync(
    join(user, ".gitconfig"),
    "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n",
  );
  const kept = Object.entries(process.env).filter(([name]) => !/^(GIT_|ORCHESTRATOR_|CLAUDE)/.test(name));
  return { ...Object.fromEntries(kept), HOME: user, ORCHESTRATOR_HOME: join(folder, "home"), NO_COLOR: "1" };
}
