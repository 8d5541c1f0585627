/**
 * A shell command as an agent: the embedded default that needs no agent CLI. Its changes in the worktree are the
 * result, its exit code is the outcome, the end of its output is its last words.
 *
 * Always true: the command is data of the plan and never on a command line, where every user of the machine could read
 * it; it is run from a file, so its own programs can have stdin (which is empty) and its size does not matter. There is
 * no session, no model and no MCP; `systemPrompt`, `model`, `tools` and `permissions` have no meaning for it.
 */
import { join } from "node:path";
import { AppError } from "../errors.ts";
import type {
  AgentBackend,
  AgentEvent,
  ProcessEnd,
  Provider,
  ResolvedProvider,
  TurnCommand,
  TurnEnd,
  TurnReader,
  TurnRequest,
} from "./backend.ts";
import { oneLine } from "./fields.ts";
import { findProgram } from "./find-program.ts";

/** A longer line is shown in pieces of this size: a progress bar can be one line of megabytes. */
const MAX_SHOWN_LENGTH = 4096;

/** What is kept as the last words: a test suite's summary fits, a build log does not. */
const FINAL_TEXT_LENGTH = 16 * 1024;

export const commandBackend: AgentBackend = {
  kind: "command",
  hasSessions: false,
  hasMcp: false,
  lineFor: null,
  openArguments: null,
  buildTurn: buildCommandTurn,
  readTurn: (request) => new CommandReader(request),
  locate: locateShell,
  defaultPassEnv: [],
  defaultEnv: {},
};

/** Throws AppError INPUT_INVALID for a command that is empty or that no file of text can hold. */
function buildCommandTurn(request: TurnRequest, provider: ResolvedProvider): TurnCommand {
  if (request.prompt.trim() === "") {
    throw new AppError("INPUT_INVALID", "the command is empty: the prompt of a command agent is a shell command");
  }
  if (request.prompt.includes("\0")) {
    throw new AppError("INPUT_INVALID", "the command has a NUL character: a shell command is text, so remove it");
  }
  const path = join(request.scratchDir, "command.sh");
  return {
    file: provider.file,
    args: [...provider.args, path],
    env: { TMPDIR: request.scratchDir },
    cwd: request.worktree,
    stdin: null,
    files: [{ path, content: `${request.prompt}\n` }],
  };
}

async function locateShell(provider: Provider, path: string): Promise<ResolvedProvider> {
  const file = await findProgram(provider.command, path);
  if (file !== null) return { ...provider, file };
  throw new AppError(
    "AGENT_CLI_MISSING",
    `provider ${provider.name}: the shell ${JSON.stringify(provider.command)} was not found or can't be executed. ` +
      'Set `providers.<name>.command` to a shell that takes a file, such as "/bin/sh".',
    { details: { provider: provider.name, command: provider.command } },
  );
}

/** Each line of either stream is one text event; what is said about the end comes from the exit code. */
class CommandReader implements TurnReader {
  readonly #stdout = new Output();
  readonly #stderr = new Output();
  readonly #needsStructured: boolean;

  constructor(request: TurnRequest) {
    this.#needsStructured = request.outputSchema !== null;
  }

  readStdout(chunk: string): AgentEvent[] {
    return this.#stdout.push(chunk);
  }

  readStderr(chunk: string): AgentEvent[] {
    return this.#stderr.push(chunk);
  }

  end(end: ProcessEnd): TurnEnd {
    const printed = this.#stdout.tail();
    const facts = {
      sessionId: null,
      usage: null,
      costUsd: null,
      totals: null,
      finalText: printed === "" ? this.#stderr.tail() : printed,
      structured: this.#needsStructured ? parsed(printed) : null,
      permissionDenials: [],
    };
    const failed = { ...facts, outcome: "failed", retryAfterMs: null, resetsAtMs: null } as const;
    const words = oneLine(lastLine(this.#stderr.tail()) || lastLine(printed), 300);
    const said = words === "" ? "" : `: ${words}`;
    if (end.exitCode === null) {
      const how = end.signal === null ? "went away without an exit code" : `was ended by ${end.signal}`;
      return { ...failed, cause: "crashed", message: `the command ${how}${said}`, remedy: null };
    }
    if (end.exitCode !== 0) {
      const message = `the command ended with exit code ${end.exitCode}${meaningOf(end.exitCode)}${said}`;
      return { ...failed, cause: "command-failed", message, remedy: remedyOf(end.exitCode) };
    }
    if (this.#needsStructured && facts.structured === null) {
      const message = `the command's output is not the JSON that is needed${said}`;
      return { ...failed, cause: "no-result", message, remedy: null };
    }
    return { ...facts, outcome: "succeeded" };
  }
}

/** Lines as they come, whatever the cut, and the end of all of it. */
class Output {
  #line = "";
  #tail = "";
  #length = 0;

  push(chunk: string): AgentEvent[] {
    this.#tail += chunk;
    this.#length += chunk.length;
    // Not at each chunk: cutting a string of 16 KiB for every few bytes would cost more than keeping twice of it.
    if (this.#tail.length > 4 * FINAL_TEXT_LENGTH) this.#tail = this.#tail.slice(-FINAL_TEXT_LENGTH);
    const events: AgentEvent[] = [];
    const lines = (this.#line + chunk).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) show(line, events);
    while (this.#line.length > MAX_SHOWN_LENGTH) {
      events.push({ type: "text", text: this.#line.slice(0, MAX_SHOWN_LENGTH) });
      this.#line = this.#line.slice(MAX_SHOWN_LENGTH);
    }
    return events;
  }

  /** The last 16 KiB, from the beginning of a line where there is one. */
  tail(): string {
    if (this.#length <= FINAL_TEXT_LENGTH) return this.#tail.trimEnd();
    const tail = this.#tail.slice(-FINAL_TEXT_LENGTH);
    const firstEnd = tail.indexOf("\n");
    return `…${tail.slice(firstEnd === -1 || firstEnd > FINAL_TEXT_LENGTH / 2 ? 0 : firstEnd)}`.trimEnd();
  }
}

function show(line: string, events: AgentEvent[]): void {
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  if (text === "") return;
  for (let start = 0; start < text.length; start += MAX_SHOWN_LENGTH) {
    events.push({ type: "text", text: text.slice(start, start + MAX_SHOWN_LENGTH) });
  }
}

/** What POSIX shells say by these codes. */
function meaningOf(exitCode: number): string {
  if (exitCode === 126) return " (a program in it can't be executed)";
  if (exitCode === 127) return " (a program in it was not found)";
  if (exitCode > 128 && exitCode <= 192) return ` (a program in it was ended by signal ${exitCode - 128})`;
  return "";
}

function remedyOf(exitCode: number): string | null {
  if (exitCode === 126) return "Make the program executable (`chmod +x`), also in the repository.";
  if (exitCode === 127) {
    return "Install the program, or put it on the PATH of the engine: it is the one of the shell that started it.";
  }
  return null;
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
