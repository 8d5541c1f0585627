/**
 * Runs the real `codex` as the orchestrator would: a turn's command from the backend, spawned by node:child_process
 * with a clean HOME and a dummy key, against a scripted endpoint. Everything lies in one temporary folder.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { AgentEvent, TurnCommand, TurnEnd, TurnRequest } from "../../src/agents/backend.ts";
import { codexBackend } from "../../src/agents/codex.ts";

/** npm's wrapper, as a user has it on PATH. */
const CODEX_WRAPPER = new URL("node_modules/.bin/codex", import.meta.url).pathname;

export interface Turn {
  readonly end: TurnEnd;
  readonly events: readonly AgentEvent[];
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly command: TurnCommand;
  readonly durationMs: number;
}

export interface CodexLab {
  readonly folder: string;
  /** The user's checkout, on `main`. */
  readonly repository: string;
  readonly gitCommonDir: string;
  readonly codexHome: string;
  /** Makes a linked worktree on the branch `orchestrator/plan/<task>`. */
  addWorktree(task: string): { worktree: string; gitDir: string; branch: string };
  request(change?: Partial<TurnRequest>): TurnRequest;
  run(request: TurnRequest, options?: RunOptions): Promise<Turn>;
  git(cwd: string, ...args: string[]): string;
  close(): void;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Ends the process by SIGKILL once this is true of its output. */
  readonly killWhen?: (stdout: string) => boolean;
}

const DEADLINE_MS = 60_000;

/** A repository with one commit and one worktree, `task`. `name` shows in its paths: it may hold anything. */
export async function openCodexLab(configToml: string, name = "lab"): Promise<CodexLab> {
  // Not in the shared /tmp itself: what is tried out is, among other things, whether /tmp can be written.
  const folder = realpathSync(mkdtempSync(join(tmpdir(), `codex-${name}-`)));
  const repository = join(folder, "repository");
  const codexHome = join(folder, "home", ".codex");
  mkdirSync(repository, { recursive: true });
  mkdirSync(codexHome, { recursive: true });
  writeFileSync(join(codexHome, "config.toml"), configToml);
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: join(folder, "home"),
    LANG: "C.UTF-8",
    SCRIPTED_API_KEY: "dummy-key-of-the-test",
    GIT_AUTHOR_NAME: "A",
    GIT_AUTHOR_EMAIL: "a@example.test",
    GIT_COMMITTER_NAME: "A",
    GIT_COMMITTER_EMAIL: "a@example.test",
  };
  const git = (cwd: string, ...args: string[]) =>
    execFileSync("git", args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  git(repository, "init", "--quiet", "--initial-branch=main");
  writeFileSync(join(repository, "README.md"), "hello\n");
  git(repository, "add", ".");
  git(repository, "commit", "--quiet", "--message=first");
  const provider = { name: "codex", kind: "codex" as const, command: CODEX_WRAPPER, args: [] };
  const located = await codexBackend.locate(provider, env.PATH);
  const gitCommonDir = join(repository, ".git");
  const addWorktree = (task: string) => {
    const worktree = join(folder, "worktrees", task);
    const branch = `orchestrator/plan/${task}`;
    git(repository, "worktree", "add", "--quiet", "-b", branch, worktree);
    return { worktree, gitDir: join(gitCommonDir, "worktrees", task), branch };
  };
  const first = addWorktree("task");
  let attempts = 0;

  return {
    folder,
    repository,
    gitCommonDir,
    codexHome,
    addWorktree,
    git,
    request: (change = {}) => {
      attempts += 1;
      const attemptId = `attempt-${attempts}`;
      const scratchDir = join(folder, "scratch", attemptId);
      mkdirSync(scratchDir, { recursive: true });
      return {
        attemptId,
        prompt: "Do the task.",
        session: null,
        worktree: first.worktree,
        gitDir: first.gitDir,
        gitCommonDir,
        scratchDir,
        model: null,
        systemPrompt: null,
        tools: null,
        permissions: "edit",
        maxCostUsd: null,
        mcpServer: null,
        environment: {},
        outputSchema: null,
        ...change,
      };
    },
    run: async (request, options = {}) => {
      const command = codexBackend.buildTurn(request, { ...located, args: options.args ?? [] });
      return await runTurn(request, command, { ...env, ...options.env }, options);
    },
    close: () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
}

async function runTurn(
  request: TurnRequest,
  command: TurnCommand,
  env: Readonly<Record<string, string>>,
  options: RunOptions,
): Promise<Turn> {
  for (const file of command.files) {
    mkdirSync(dirname(file.path), { recursive: true });
    writeFileSync(file.path, file.content, { mode: 0o600 });
  }
  const startedAtMs = Date.now();
  const reader = codexBackend.readTurn(request);
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: { ...env, ...command.env },
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const killGroup = () => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // Already gone.
    }
  };
  const deadline = setTimeout(killGroup, DEADLINE_MS);
  const events: AgentEvent[] = [];
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
    events.push(...reader.readStdout(chunk));
    if (options.killWhen?.(stdout) === true) killGroup();
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
    events.push(...reader.readStderr(chunk));
  });
  // A program that ends before it has read its prompt: the exit code tells more than EPIPE.
  child.stdin.on("error", () => {});
  child.stdin.end(command.stdin ?? "");
  try {
    const { exitCode, signal } = await new Promise<{ exitCode: number | null; signal: string | null }>(
      (resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code, killedBy) => resolve({ exitCode: code, signal: killedBy }));
      },
    );
    const end = reader.end({ exitCode, signal, stderrTail: stderr.slice(-16_384) }, Date.now());
    return { end, events, exitCode, signal, stdout, stderr, command, durationMs: Date.now() - startedAtMs };
  } finally {
    clearTimeout(deadline);
    killGroup();
  }
}

/** Why Codex's sandbox can't start here, or null when it can. */
export function sandboxFailure(): string | null {
  try {
    execFileSync(CODEX_WRAPPER, ["sandbox", "--", "true"], { stdio: "pipe", encoding: "utf8" });
    return null;
  } catch (error) {
    const words = (error as { stderr?: string }).stderr ?? String(error);
    return `codex sandbox -- true failed: ${words.trim()}`;
  }
}

/** True when the file exists; for what an agent must not have made. */
export function exists(path: string): boolean {
  return existsSync(path);
}
