/**
 * What the engine tells its guard: JSON lines on the guard's stdin. The guard never answers. The pipe's end without a
 * goodbye before it means that the engine is dead.
 */
import type { KnownAttempt } from "./strays.ts";

export type GuardMessage =
  /** All attempts that live, each time anything changed. */
  | { readonly type: "attempts"; readonly attempts: readonly KnownAttempt[] }
  /** The engine ends in good order: nothing is to be done. */
  | { readonly type: "goodbye" };

export function encodeGuardMessage(message: GuardMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** Null for what is no such line: the last one may be cut by the engine's death. Only an engine writes here. */
export function decodeGuardMessage(line: string): GuardMessage | null {
  try {
    const message: unknown = JSON.parse(line);
    if (typeof message !== "object" || message === null || !("type" in message)) return null;
    if (message.type === "goodbye") return { type: "goodbye" };
    if (message.type !== "attempts" || !("attempts" in message) || !Array.isArray(message.attempts)) return null;
    return { type: "attempts", attempts: message.attempts as readonly KnownAttempt[] };
  } catch {
    return null;
  }
}
