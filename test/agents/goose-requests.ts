import { readFileSync } from "node:fs";

import type { AgentEvent, ResolvedProvider, TurnEnd, TurnRequest } from "../../src/agents/backend.ts";
import { gooseBackend } from "../../src/agents/goose.ts";

/** What the real Goose 1.52.0 printed, and how it ended; made against a scripted model on loopback. */
export interface GooseCapture {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
}

const folder = new URL("captures/goose/", import.meta.url);
const index = JSON.parse(readFileSync(new URL("index.json", folder), "utf8")) as Record<
  string,
  Omit<GooseCapture, "stdout">
>;

export const captureNames = Object.keys(index);

export function readCapture(name: string): GooseCapture {
  const entry = index[name];
  if (entry === undefined) throw new Error(`there is no capture ${name}`);
  return { ...entry, stdout: readFileSync(new URL(`${name}.ndjson`, folder), "utf8") };
}

export const gooseProvider: ResolvedProvider = {
  name: "goose",
  kind: "goose",
  command: "goose",
  args: [],
  file: "/opt/goose",
};

/** A coder's first turn, unless told otherwise. */
export function gooseRequest(changes: Partial<TurnRequest> = {}): TurnRequest {
  return {
    attemptId: "a1",
    prompt: "do it",
    session: null,
    worktree: "/worktree",
    gitDir: "/repo/.git/worktrees/w",
    gitCommonDir: "/repo/.git",
    scratchDir: "/scratch",
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

/** Feeds a capture to a reader, cut into `pieces` characters at a time. */
export function readAll(
  capture: GooseCapture,
  request: TurnRequest = gooseRequest(),
  cuts: readonly number[] = [],
): { events: AgentEvent[]; end: TurnEnd } {
  const reader = gooseBackend.readTurn(request);
  const events: AgentEvent[] = [];
  const positions = [0, ...[...cuts].sort((a, b) => a - b), capture.stdout.length];
  for (const [number, position] of positions.entries()) {
    events.push(...reader.readStdout(capture.stdout.slice(positions[number - 1] ?? 0, position)));
  }
  events.push(...reader.readStderr(capture.stderr));
  const { exitCode, signal, stderr } = capture;
  return { events, end: reader.end({ exitCode, signal, stderrTail: stderr }, 0) };
}
