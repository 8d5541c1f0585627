/**
 * `orchestrator open TASK`: its agent's conversation by hand, in its own CLI and worktree; afterwards the task goes on.
 * Killed meanwhile, by whatever: the task stays paused, and `why` names the command.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { loadConfig, orchestratorHome } from "../../config/index.ts";
import { AppError } from "../../errors.ts";
import { openEngineSession, type Output } from "../engine-session.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";
import type { Invocation, VerbRunner } from "../verb.ts";

type Opened = Output<"open_task">;

export const runOpen: VerbRunner = async (invocation, terminal) => {
  const [task = ""] = invocation.positionals;
  const hasTerminal = process.stdin.isTTY && process.stdout.isTTY;
  const onlyTells = invocation.has("print") || invocation.json;
  const { opened, mainWorktree } = await ask(invocation, task, !hasTerminal && !onlyTells);
  const line = commandLine(opened);
  if (onlyTells) {
    if (invocation.json) terminal.printJson(opened);
    else terminal.print(line);
    terminal.note(`${opened.summary} When you are done: orchestrator resume ${opened.task}`);
    return EXIT.succeeded;
  }
  if (!hasTerminal) {
    throw new AppError(
      "USAGE",
      `there is no terminal here to open ${opened.task} in, and nothing was paused. By hand: orchestrator open ${opened.task} --print, then ${line}`,
    );
  }
  terminal.note(opened.summary, line);
  const end = await runByHand(opened, mainWorktree);
  return await letGoOn(invocation, terminal, opened, end);
};

async function ask(
  { repo }: Invocation,
  task: string,
  dryRun: boolean,
): Promise<{ opened: Opened; mainWorktree: string | null }> {
  const session = await openEngineSession({ repo });
  try {
    const opened = await session.call("open_task", { task, dryRun });
    return { opened, mainWorktree: session.repository.mainWorktree };
  } finally {
    await session.close();
  }
}

interface End {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

async function runByHand({ file, args, cwd, provider }: Opened, mainWorktree: string | null): Promise<End> {
  const { [MARK]: _mark, ...own } = process.env;
  // The secrets are the person's own: from this shell, or from the config that this person can read.
  const env = file === null ? own : { ...own, ...environmentOf(provider, mainWorktree) };
  // Ctrl-C is for the program in front; it comes to us too.
  const ignore = (): void => undefined;
  const signals = ["SIGINT", "SIGQUIT"] as const;
  for (const signal of signals) process.on(signal, ignore);
  try {
    const child = spawn(file ?? process.env["SHELL"] ?? "/bin/sh", [...args], { cwd, env, stdio: "inherit" });
    return await new Promise<End>((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (exitCode, signal) => resolve({ exitCode, signal }));
    });
  } finally {
    for (const signal of signals) process.off(signal, ignore);
  }
}

const MARK = "ORCHESTRATOR_ATTEMPT";

function environmentOf(provider: string, mainWorktree: string | null): Readonly<Record<string, string>> {
  const { config } = loadConfig({ home: orchestratorHome(), mainWorktree });
  return config.providers[provider]?.env ?? {};
}

async function letGoOn(
  invocation: Invocation,
  terminal: Terminal,
  { task, file, startsAnew }: Opened,
  { exitCode, signal }: End,
): Promise<ExitCode> {
  const how = signal === null ? `exit code ${exitCode ?? "unknown"}` : `signal ${signal}`;
  const resume = `orchestrator resume ${task}`;
  // A shell ends with what its last command ended with.
  if (file !== null && exitCode !== 0) {
    terminal.note(`the program ended with ${how}, so ${task} stays paused. Go on: ${resume}`);
    return EXIT.needsPerson;
  }
  if (startsAnew) {
    terminal.note(
      `${task} stays paused: its command would begin anew in a clean worktree (what is there is kept under refs/orchestrator/kept/). Go on: ${resume}`,
    );
    return EXIT.succeeded;
  }
  if (invocation.has("keep-paused")) {
    terminal.note(`${task} stays paused. Go on: ${resume}`);
    return EXIT.succeeded;
  }
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    await session.call("control", { action: "resume", task, key: randomUUID() });
  } finally {
    await session.close();
  }
  terminal.note(`${task} goes on; its agent is told that you were here.`);
  return EXIT.succeeded;
}

/** For a person's shell: every word quoted that needs it. */
function commandLine({ file, args, cwd }: Opened): string {
  const words = [file ?? process.env["SHELL"] ?? "/bin/sh", ...args];
  return `cd ${quoted(cwd)} && ${words.map(quoted).join(" ")}`;
}

function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
