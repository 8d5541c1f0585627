/** Runs the real Goose as the engine would, one turn at a time, in a home of its own and with a scripted model. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { transformWithOxc } from "vite";

import type { AgentEvent, TurnEnd, TurnRequest } from "../../src/agents/backend.ts";
import { gooseBackend } from "../../src/agents/goose.ts";

export const GOOSE = fileURLToPath(new URL("node_modules/@aaif/goose-binary-linux-x64/bin/goose", import.meta.url));
export const MCP_FIXTURE = fileURLToPath(new URL("goose-mcp-fixture.mjs", import.meta.url));
const READ_SERVER = fileURLToPath(new URL("../../src/agents/goose-read-server.ts", import.meta.url));

/** A turn must be over by then, or the test fails with what was printed. */
const DEADLINE_MS = 60_000;

export interface GooseTurn {
  readonly events: readonly AgentEvent[];
  readonly end: TurnEnd;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Added at the end of the command line. */
  readonly extraArgs?: readonly string[];
  /** Drops variables that the turn would get, to see what happens without them. */
  readonly without?: readonly string[];
  /** Ends the whole process group with SIGKILL as soon as an event fits. */
  readonly killAt?: (event: AgentEvent) => boolean;
}

/** A repository with a linked worktree, and a home. All is removed by `remove`. */
export class GooseWorld {
  readonly root = realpathSync(mkdtempSync(join(tmpdir(), "goose-clis-")));
  readonly home = join(this.root, "home");
  readonly repository = join(this.root, "repository");
  readonly worktree = join(this.root, "work tree");

  /** Files of the repository's first commit, and a new branch `task` in the worktree. */
  constructor(files: Readonly<Record<string, string>> = { "README.md": "hello\n" }) {
    mkdirSync(this.home);
    mkdirSync(this.repository);
    this.git(this.repository, "init", "-q", "-b", "main");
    for (const [path, content] of Object.entries(files)) this.put(join("repository", path), content);
    this.git(this.repository, "add", "-A", "-f");
    this.git(this.repository, "commit", "-q", "-m", "first");
    this.git(this.repository, "worktree", "add", "-q", "-b", "task", this.worktree);
  }

  git(cwd: string, ...args: string[]): string {
    const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"];
    return execFileSync("git", [...identity, ...args], { cwd, env: this.#baseEnvironment(), encoding: "utf8" });
  }

  put(path: string, content: string): string {
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  read(path: string): string | null {
    try {
      return readFileSync(join(this.root, path), "utf8");
    } catch {
      return null;
    }
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  request(changes: Partial<TurnRequest> = {}): TurnRequest {
    return {
      attemptId: "a1",
      prompt: "do the work",
      session: null,
      worktree: this.worktree,
      gitDir: join(this.repository, ".git/worktrees/work tree"),
      gitCommonDir: join(this.repository, ".git"),
      scratchDir: this.root,
      model: null,
      systemPrompt: null,
      tools: null,
      permissions: "edit",
      maxCostUsd: null,
      mcpServer: null,
      environment: {},
      outputSchema: null,
      ...changes,
    };
  }

  /** One turn with the model at `url`. The backend looks into this world's HOME, as it does into the client's. */
  async run(url: string, request: TurnRequest, options: RunOptions = {}): Promise<GooseTurn> {
    const provider = { name: "goose", kind: "goose" as const, command: "goose", args: [], file: GOOSE };
    const given = {
      ...this.#baseEnvironment(),
      ...modelEnvironment(url),
      ...gooseBackend.defaultEnv,
      ...options.environment,
    };
    const command = gooseBackend.buildTurn({ ...request, environment: given }, provider);
    const readServer = await this.#compiledReadServer();
    const args = [...command.args, ...(options.extraArgs ?? [])].map((arg) =>
      arg.replace(/\S*goose-read-server\.js/, readServer),
    );
    const environment: Record<string, string> = { ...given, ...command.env, ...options.environment };
    for (const name of options.without ?? []) delete environment[name];
    return runProcess({ ...command, args, env: environment }, request, options.killAt ?? (() => false));
  }

  #baseEnvironment(): Record<string, string> {
    return { PATH: process.env["PATH"] ?? "", HOME: this.home, LANG: "C.UTF-8", GIT_CONFIG_NOSYSTEM: "1" };
  }

  /** The server as it stands in src/, so that no stale build is tested. */
  async #compiledReadServer(): Promise<string> {
    const { code } = await transformWithOxc(readFileSync(READ_SERVER, "utf8"), READ_SERVER);
    return this.put("goose-read-server.mjs", code);
  }
}

function modelEnvironment(url: string): Record<string, string> {
  return {
    GOOSE_PROVIDER: "openai",
    GOOSE_MODEL: "gpt-4o",
    OPENAI_HOST: url,
    OPENAI_API_KEY: "dummy",
    GOOSE_DISABLE_KEYRING: "1",
    // Goose's own retries would take 8 s for each failure.
    GOOSE_PROVIDER_SKIP_BACKOFF: "true",
  };
}

async function runProcess(
  command: { file: string; args: readonly string[]; env: Record<string, string>; cwd: string; stdin: string | null },
  request: TurnRequest,
  isTimeToKill: (event: AgentEvent) => boolean,
): Promise<GooseTurn> {
  const child = spawn(command.file, command.args, { cwd: command.cwd, env: command.env, detached: true });
  const reader = gooseBackend.readTurn(request);
  const events: AgentEvent[] = [];
  let stdout = "";
  let stderr = "";
  const killGroup = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // Already gone.
    }
  };
  const note = (found: AgentEvent[]): void => {
    events.push(...found);
    if (found.some(isTimeToKill)) killGroup();
  };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
    note(reader.readStdout(chunk));
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
    note(reader.readStderr(chunk));
  });
  child.stdin.on("error", () => undefined).end(command.stdin ?? "");
  const deadline = setTimeout(killGroup, DEADLINE_MS);
  const [exitCode, signal] = await new Promise<[number | null, string | null]>((closed, failed) => {
    child.on("error", failed);
    child.on("close", (code, by) => closed([code, by]));
  });
  clearTimeout(deadline);
  // What a shell tool left behind shares Goose's group and would outlive it.
  killGroup();
  return { events, end: reader.end({ exitCode, signal, stderrTail: stderr }, 0), stdout, stderr };
}
