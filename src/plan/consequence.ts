/**
 * What follows from an attempt's bad end (the table of DESIGN section 5). Pure: the moment and the chance are given.
 * Retries, continuations and fresh sessions are separate ledgers; waiting for an account to fill up again spends none.
 */
import type { FailureCause } from "./failure-cause.ts";
import type { Ledger } from "./records.ts";
import type { WaitCode } from "./task-state.ts";

export interface RetrySettings {
  /** Retries when the task gives none. */
  readonly retries: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  readonly maxContinuations: number;
  /** Waits between probes of a parked provider whose reset is unknown; the last repeats. */
  readonly usageProbesMs: readonly number[];
}

export const DEFAULT_RETRY_SETTINGS: RetrySettings = {
  retries: 3,
  backoffBaseMs: 5_000,
  backoffMaxMs: 300_000,
  maxContinuations: 5,
  usageProbesMs: [5, 15, 30, 60].map((minutes) => minutes * 60_000),
};

export interface BadEnd {
  readonly cause: FailureCause;
  readonly retryAfterMs: number | null;
  readonly resetsAtMs: number | null;
}

export type Consequence =
  /** Another attempt in the same session after a while. */
  | { readonly type: "back-off"; readonly untilMs: number; readonly ledger: Ledger }
  /** The provider is parked; the task waits with it. */
  | { readonly type: "park"; readonly ledger: Ledger }
  | { readonly type: "person"; readonly code: WaitCode }
  | { readonly type: "fresh-session"; readonly ledger: Ledger }
  | { readonly type: "continue"; readonly ledger: Ledger }
  /** `why`: what the end itself does not say. */
  | { readonly type: "fail"; readonly why: string | null }
  | { readonly type: "cancel" };

/** Decides once for each bad end. `random` is in [0, 1). */
export function consequenceOf(
  end: BadEnd,
  ledger: Ledger,
  retriesOfTask: number | null,
  settings: RetrySettings,
  nowMs: number,
  random: number,
): Consequence {
  switch (end.cause) {
    case "transient":
    case "rate-limit":
    case "stalled":
    case "crashed":
      return backOff(end, ledger, retriesOfTask ?? settings.retries, settings, nowMs, random);
    case "command-failed":
      // The command's own verdict, also when a program in it was killed and the shell told so (128 + signal): what
      // failed once mostly fails again, so the default is no retry, and who asks for retries gets them. A shell that was
      // itself killed gave no verdict (memory ran out, somebody's kill): that is `crashed`, for commands as for agents.
      return retriesOfTask === null
        ? { type: "fail", why: null }
        : backOff(end, ledger, retriesOfTask, settings, nowMs, random);
    case "usage-limit":
      return { type: "park", ledger: { ...ledger, waits: ledger.waits + 1 } };
    case "auth":
    case "billing":
    case "permission-denied":
    case "spawn-failed":
    case "invalid-request":
      return { type: "person", code: end.cause };
    case "context-overflow":
    case "no-result":
      return ledger.freshSessions >= 1
        ? { type: "fail", why: "a fresh session ended in the same way" }
        : { type: "fresh-session", ledger: { ...ledger, freshSessions: ledger.freshSessions + 1 } };
    case "turn-limit":
    case "engine-crash":
      return ledger.continuations >= settings.maxContinuations
        ? { type: "fail", why: `the session was continued ${ledger.continuations} times already` }
        : { type: "continue", ledger: { ...ledger, continuations: ledger.continuations + 1 } };
    case "budget":
      // It was booked before: whether there is room for another attempt is asked like for any other.
      return { type: "continue", ledger };
    case "timed-out":
      return { type: "fail", why: null };
    case "worktree-failed":
      return { type: "fail", why: null };
    case "reported-failure":
      return { type: "fail", why: null };
    case "cancelled":
      return { type: "cancel" };
  }
}

function backOff(
  end: BadEnd,
  ledger: Ledger,
  retries: number,
  settings: RetrySettings,
  nowMs: number,
  random: number,
): Consequence {
  if (ledger.retries >= retries) {
    return { type: "fail", why: retries === 0 ? "no retry was allowed" : `${retries} retries did not help` };
  }
  const untilMs = nowMs + backOffMs(ledger.retries, end.retryAfterMs, settings, random);
  return { type: "back-off", untilMs, ledger: { ...ledger, retries: ledger.retries + 1 } };
}

/** Full jitter: anything between nothing and the exponential bound, but never less than the provider asked for. */
export function backOffMs(
  retriesBefore: number,
  retryAfterMs: number | null,
  settings: Pick<RetrySettings, "backoffBaseMs" | "backoffMaxMs">,
  random: number,
): number {
  const boundMs = Math.min(settings.backoffMaxMs, settings.backoffBaseMs * 2 ** Math.min(retriesBefore, 30));
  return Math.max(Math.round(boundMs * random), retryAfterMs ?? 0);
}
