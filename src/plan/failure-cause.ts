/**
 * Why an attempt ended badly. Classified once, where the agent's output is read (`agents/`), and only read afterwards.
 * What follows from each is decided in `plan/consequence.ts`.
 */
export const FAILURE_CAUSES = [
  /** The provider or the network failed in a way that passes: 5xx, cut or refused connection, overloaded. */
  "transient",
  /** The provider asked to slow down (429) without the account being used up. */
  "rate-limit",
  /** Nothing came from the agent for `agents.stallMinutes`. */
  "stalled",
  /** The agent's process ended without its end event: a signal, a panic, exit code not 0 with no better cause. */
  "crashed",
  /** The account's allowance is used up until a reset. */
  "usage-limit",
  /** Not signed in, key missing or refused. */
  "auth",
  /** The account has no credit. */
  "billing",
  /** The agent could not do its work for want of a permission. */
  "permission-denied",
  /** The program could not be started: not installed, not executable, bad flags. */
  "spawn-failed",
  /** The provider refuses the request for good: unknown model, malformed request, refused content. */
  "invalid-request",
  /** The conversation no longer fits the model. */
  "context-overflow",
  /** The CLI ended well but without what the role must give (a report, a structured answer, any answer). */
  "no-result",
  /** The CLI's own limit on turns was reached; the session can go on. */
  "turn-limit",
  /** The engine died while the attempt ran; the session can go on. */
  "engine-crash",
  /** It was ended at the bound that the plan's budget had set it; the session can go on when there is room again. */
  "budget",
  /** The task's own deadline passed. */
  "timed-out",
  /** The user's wish. */
  "cancelled",
  /** A command agent's command ended with an exit code other than 0: the task's own failure, nobody else's. */
  "command-failed",
  /** The agent itself reported that it could not do the task. */
  "reported-failure",
  /** The worktree could not be made or used. */
  "worktree-failed",
] as const;

export type FailureCause = (typeof FAILURE_CAUSES)[number];

/** Causes that count against the provider's circuit breaker. */
export function isProvidersOwnMaking(cause: FailureCause): boolean {
  return cause === "transient" || cause === "rate-limit" || cause === "stalled" || cause === "auth";
}

/**
 * Ends that show a provider at work although the task has not succeeded: its agent came to an end of its own. The rest
 * tells nothing of the provider (a deadline, an operator's wish, a worktree that could not be made).
 */
export function showsProviderAtWork(cause: FailureCause): boolean {
  return cause === "reported-failure" || cause === "turn-limit" || cause === "command-failed";
}
