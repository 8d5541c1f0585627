/**
 * What every kind of agent CLI has to offer: how to start a turn, how to read its output as it comes, how to continue
 * a session, how to tell why it ended. Seams are small on purpose: spawning, deadlines, killing and capping belong to
 * `process/`, once for all. A backend runs nothing itself; it turns values into a command and bytes into events.
 */
import type { FailureCause } from "../plan/failure-cause.ts";

export const BACKEND_KINDS = ["claude", "codex", "goose", "command"] as const;
export type BackendKind = (typeof BACKEND_KINDS)[number];

/** `read`: looks only · `edit` (default): a coder's work in its worktree · `full`: whatever the CLI can do. */
export type Permissions = "read" | "edit" | "full";

/** A provider of the config, as far as a backend needs it. */
export interface Provider {
  readonly name: string;
  readonly kind: BackendKind;
  /** Program name or path; looked up on PATH when it has no slash. */
  readonly command: string;
  /** Extra arguments, before ours. */
  readonly args: readonly string[];
}

/** The stdio MCP server (our own pipe) that a satellite gets. */
export interface McpServerCommand {
  /** Always `orchestrator-mcp`; never `orchestrator`, which Goose replaces by a built-in one. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Environment the server must see although the CLI may strip its own (Codex does). */
  readonly env: Readonly<Record<string, string>>;
}

export interface SessionToContinue {
  readonly id: string;
  /** Cumulative counters of the session when it was last seen, so that a turn's own use can be told. */
  readonly totals: SessionTotals;
}

export interface TurnRequest {
  /** Unique over the engine's life; also names sessions whose id we choose. */
  readonly attemptId: string;
  /** What the agent is told. For `command`: the shell command. Sent over stdin where the CLI allows. */
  readonly prompt: string;
  /** Null starts a new session. */
  readonly session: SessionToContinue | null;
  /** The task's worktree, absolute; the agent's cwd. */
  readonly worktree: string;
  /** Git's folder for this worktree (`<common>/worktrees/<name>`) and the common one, absolute. */
  readonly gitDir: string;
  readonly gitCommonDir: string;
  /** A folder of this attempt's own for files the CLI must be given and for TMPDIR. It exists. */
  readonly scratchDir: string;
  readonly model: string | null;
  readonly systemPrompt: string | null;
  /** The CLI's own tool names the role is limited to; null: the kind's default. */
  readonly tools: readonly string[] | null;
  readonly permissions: Permissions;
  readonly mcpServer: McpServerCommand | null;
  /** What this turn may cost at most, in US dollars, where the CLI has a fence of its own for that; null: anything. */
  readonly maxCostUsd: number | null;
  /**
   * The environment that the agent will have, before what `buildTurn` adds: where the CLI looks for its home. Holds keys:
   * nothing of it may get onto a command line or into a file.
   */
  readonly environment: Readonly<Record<string, string>>;
  /** JSON Schema the final answer must fit (goal decomposition); null for ordinary work. */
  readonly outputSchema: Readonly<Record<string, unknown>> | null;
}

/** A file the caller writes (mode 0600) before the spawn. */
export interface FileToWrite {
  readonly path: string;
  readonly content: string;
}

/** Everything needed to spawn one turn. Never holds a secret. */
export interface TurnCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** Added to the environment the caller builds (base, provider's own, mark). */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Written to stdin, which is then ended (save with `hearsMore`); null: stdin is closed at once. */
  readonly stdin: string | null;
  /** Stdin stays open after `stdin`: the turn can be told more (`AgentBackend.lineFor`), and ends once stdin does. */
  readonly hearsMore?: boolean;
  readonly files: readonly FileToWrite[];
}

export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedInputTokens: number;
}

/** Counters of a whole session, as the CLI last told them. */
export interface SessionTotals {
  readonly tokens: TokenUsage;
  /** US dollars; null when the CLI does not say. */
  readonly costUsd: number | null;
}

/** What an agent does, as it does it. Texts are the agent's own and may hold anything: strip before a terminal. */
export type AgentEvent =
  | { readonly type: "session"; readonly sessionId: string }
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly text: string }
  | { readonly type: "tool-start"; readonly id: string; readonly name: string; readonly summary: string }
  | { readonly type: "tool-end"; readonly id: string; readonly isError: boolean; readonly summary: string }
  /** The CLI retries by itself. */
  | { readonly type: "retrying"; readonly message: string; readonly delayMs: number | null }
  | { readonly type: "warning"; readonly message: string }
  /** It took up what it was told in the middle of its turn under this id. */
  | { readonly type: "heard"; readonly id: string }
  /** It answered, and waits for more on stdin or for its end. */
  | { readonly type: "turn-over" };

/** How the process ended, from `process/`. */
export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderrTail: string;
}

interface TurnFacts {
  /** The CLI's own id (or unique name) of the conversation, when it is known and can be continued. */
  readonly sessionId: string | null;
  /** This turn's own use; null when the CLI did not say. */
  readonly usage: TokenUsage | null;
  /** This turn's own cost in US dollars; null when the CLI did not say. */
  readonly costUsd: number | null;
  /** Cumulative counters to hand to the session's next turn; null when unknown. */
  readonly totals: SessionTotals | null;
  /** The agent's last words, uncut. */
  readonly finalText: string;
  /** The final answer parsed, when an output schema was given and it was JSON (not yet validated). */
  readonly structured: unknown;
  /** Tools that were denied, as `name: what`. Never silent. */
  readonly permissionDenials: readonly string[];
}

export interface TurnSucceeded extends TurnFacts {
  readonly outcome: "succeeded";
}

export interface TurnFailed extends TurnFacts {
  readonly outcome: "failed";
  readonly cause: FailureCause;
  /** One line for people: what happened, in the CLI's words where it has some. */
  readonly message: string;
  /** What a person can do about it; null when nothing is needed. */
  readonly remedy: string | null;
  /** The provider asked to wait this long. */
  readonly retryAfterMs: number | null;
  /** The usage limit resets at this moment (epoch). */
  readonly resetsAtMs: number | null;
}

export type TurnEnd = TurnSucceeded | TurnFailed;

/** Reads one turn's output. Pure: any cut of the stream into chunks gives the same events and end. */
export interface TurnReader {
  /** Takes stdout as it comes (UTF-8 decoded, cut anywhere). */
  readStdout(chunk: string): AgentEvent[];
  /** Takes stderr as it comes. */
  readStderr(chunk: string): AgentEvent[];
  /** Call once after the process has ended and its pipes are drained. Decides the outcome. */
  end(end: ProcessEnd, nowMs: number): TurnEnd;
}

export interface SessionToOpen {
  readonly sessionId: string;
  readonly worktree: string;
  readonly model: string | null;
}

/** B1: one interface; the factory is `createBackend` in `agents/index.ts`. */
export interface AgentBackend {
  readonly kind: BackendKind;
  /** Whether a conversation can be continued by a later turn. */
  readonly hasSessions: boolean;
  /** Whether the CLI can be given MCP servers (so that the satellite tools reach it). */
  readonly hasMcp: boolean;
  /** The command for one turn. Throws AppError AGENT_CLI_MISSING is not its job: see `locate`. */
  buildTurn(request: TurnRequest, provider: ResolvedProvider): TurnCommand;
  readTurn(request: TurnRequest): TurnReader;
  /** What to write to stdin to tell a turn under way something; null: this kind hears nothing before its turn ends. */
  readonly lineFor: ((id: string, text: string) => string) | null;
  /** Arguments that open a conversation for a person, in the CLI's own screen; null: this kind has none. */
  readonly openArguments: ((session: SessionToOpen, provider: ResolvedProvider) => readonly string[]) | null;
  /**
   * Finds the program to start for `provider.command` on `path` (for codex: the native binary behind the npm wrapper
   * where it can be found). Throws AppError AGENT_CLI_MISSING with how to install it.
   */
  locate(provider: Provider, path: string): Promise<ResolvedProvider>;
  /** Names or `PREFIX_*` patterns of environment variables that reach this kind's agents by default. */
  readonly defaultPassEnv: readonly string[];
  /** Environment each process of this kind gets: telemetry and self-update off, its own retries bounded. */
  readonly defaultEnv: Readonly<Record<string, string>>;
}

export interface ResolvedProvider extends Provider {
  /** Absolute path of the program. */
  readonly file: string;
}
