import type { TurnRequest } from "../../src/agents/backend.ts";

/** A turn as the engine asks for it, with what a test wants to be different. */
export function turnRequest(change: Partial<TurnRequest> = {}): TurnRequest {
  return {
    attemptId: "0b8f7a52-1111-4222-8333-444455556666",
    prompt: "do the work",
    session: null,
    worktree: "/nowhere/worktree",
    gitDir: "/nowhere/repo/.git/worktrees/worktree",
    gitCommonDir: "/nowhere/repo/.git",
    scratchDir: "/nowhere/scratch",
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

/** Cuts `text` into pieces at the given places (any numbers). */
export function cut(text: string, places: readonly number[]): string[] {
  const sorted = [0, ...places.map((place) => place % (text.length + 1)), text.length].toSorted((a, b) => a - b);
  return sorted.slice(1).map((end, index) => text.slice(sorted[index], end));
}
