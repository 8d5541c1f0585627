import { readdirSync, readFileSync } from "node:fs";
import type { AgentEvent, ProcessEnd, SessionToContinue, TurnEnd, TurnRequest } from "../../src/agents/backend.ts";
import { codexBackend } from "../../src/agents/codex.ts";

const FOLDER = new URL("captures/codex/", import.meta.url);

/** Output of codex-cli 0.169.0 in one situation, exact save for shortened paths. */
export interface Capture {
  readonly stdout: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

const ENDS = JSON.parse(readFileSync(new URL("ends.json", FOLDER), "utf8")) as Record<string, Omit<Capture, "stdout">>;
const FILES = new Set(readdirSync(FOLDER));

export const CAPTURE_NAMES: readonly string[] = Object.keys(ENDS);

export function capture(name: string): Capture {
  const end = ENDS[name];
  if (end === undefined) throw new Error(`no capture ${name}`);
  const file = `${name}.ndjson`;
  return { stdout: FILES.has(file) ? readFileSync(new URL(file, FOLDER), "utf8") : "", ...end };
}

export function turnRequest(change: Partial<TurnRequest> = {}): TurnRequest {
  return {
    attemptId: "attempt-1",
    prompt: "Do the task.",
    session: null,
    worktree: "/w/task",
    gitDir: "/repository/.git/worktrees/task",
    gitCommonDir: "/repository/.git",
    scratchDir: "/s/attempt-1",
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
}

export function sessionOf(id: string, inputTokens = 0, outputTokens = 0, cachedInputTokens = 0): SessionToContinue {
  return { id, totals: { tokens: { inputTokens, outputTokens, cachedInputTokens }, costUsd: null } };
}

export const NOW_MS = new Date(2026, 10, 21, 2, 0, 0).getTime();

/** Reads pieces of stdout as one turn. */
export function readTurn(
  request: TurnRequest,
  pieces: readonly string[],
  end: Partial<ProcessEnd> & { readonly stderr?: string } = {},
  nowMs: number = NOW_MS,
): { events: AgentEvent[]; end: TurnEnd } {
  const reader = codexBackend.readTurn(request);
  const stderr = end.stderr ?? end.stderrTail ?? "";
  const events = [...pieces.flatMap((piece) => reader.readStdout(piece)), ...reader.readStderr(stderr)];
  const { exitCode = 0, signal = null } = end;
  return { events, end: reader.end({ exitCode, signal, stderrTail: stderr }, nowMs) };
}

export function readCapture(name: string, change: Partial<TurnRequest> = {}): { events: AgentEvent[]; end: TurnEnd } {
  const { stdout, exitCode, signal, stderr } = capture(name);
  return readTurn(turnRequest(change), [stdout], { exitCode, signal, stderr });
}
