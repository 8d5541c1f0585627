/** What an attempt's end means for the board, and the rows that tell it. */
import type { TurnEnd } from "../agents/backend.ts";
import { NOTHING_USED } from "../plan/budget.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import type { TaskRecord } from "../plan/records.ts";
import { sessionNameOf } from "../plan/workflow.ts";
import type { ExitReport, StopReason } from "../process/process-manager.ts";
import type { AttemptRow } from "../store/attempts.ts";
import type { Prepared } from "./attempt-request.ts";
import type { Parts } from "./parts.ts";
import { bookTurn } from "./plan-funds.ts";
import { modelFor } from "./settings.ts";

export interface Ended<End> {
  readonly end: End;
  /** Rows that belong to the end; call inside its transaction. */
  readonly write: () => void;
}

/** What the process's end and the agent's words together mean. The first cause wins: what we did ourselves comes first. */
export function endOf(
  report: ExitReport,
  turn: TurnEnd,
  wished: StopReason | null,
  isBoundByBudget = false,
): AttemptEnd {
  const reason = report.stopReason ?? (report.outcome === "stopped" ? wished : null);
  if (report.outcome === "spawn-failed") {
    return failure(
      "spawn-failed",
      report.error ?? "the program could not be started",
      "check that it is installed and may be run",
    );
  }
  if (reason === "timed-out" && isBoundByBudget) {
    return failure("budget", "it ran as long as the plan's budget in minutes had room for", null);
  }
  if (reason !== null) return stoppedBy(reason);
  if (turn.outcome === "succeeded") return { type: "succeeded", hasChanges: true, message: null };
  const { cause, message, remedy, retryAfterMs, resetsAtMs } = turn;
  return { type: "failed", cause, message, remedy, retryAfterMs, resetsAtMs };
}

/** An attempt's end as its row tells it. */
function outcomeOf(end: AttemptEnd): Pick<AttemptRow, "outcome" | "cause" | "message"> {
  switch (end.type) {
    case "succeeded":
      return { outcome: "succeeded", cause: null, message: null };
    case "failed":
      return { outcome: "failed", cause: end.cause, message: end.message };
    case "interrupted":
      return { outcome: "failed", cause: "engine-crash", message: "the engine was stopped" };
    case "stopped":
      return { outcome: "failed", cause: "cancelled", message: "stopped by the operator" };
    case "asked":
      return { outcome: "asked", cause: null, message: end.wait?.message ?? null };
    case "not-started":
      return { outcome: "failed", cause: "spawn-failed", message: end.wait?.message ?? null };
  }
}

export function stoppedBy(reason: StopReason): AttemptEnd {
  switch (reason) {
    case "timed-out":
      return failure("timed-out", "the task's deadline passed", null);
    case "stalled":
      return failure("stalled", "nothing came from the agent for too long", null);
    case "output-limit":
      return failure("crashed", "the agent printed more than is allowed", null);
    case "shutdown":
      return { type: "interrupted" };
    case "paused":
    case "cancelled":
      return { type: "stopped" };
  }
}

export function failure(
  cause: Extract<AttemptEnd, { type: "failed" }>["cause"],
  message: string,
  remedy: string | null,
): AttemptEnd {
  return { type: "failed", cause, message, remedy, retryAfterMs: null, resetsAtMs: null };
}

export interface EndFacts {
  readonly attemptId: string;
  readonly end: AttemptEnd;
  readonly report: ExitReport;
  readonly turnEnd: TurnEnd;
}

/** Writes the end of an attempt whose process ran. Call inside the transaction of the end. */
export function writeEnd(parts: Parts, task: TaskRecord, prepared: Prepared, facts: EndFacts): void {
  const { store, clock } = parts;
  const { role, backend, place, providerSettings } = prepared;
  const session = sessionNameOf(task);
  const { attemptId, end, report, turnEnd } = facts;
  const { sessionId, permissionDenials } = turnEnd;
  const endedAtMs = clock.nowMs();
  const { costUsd, booked, overrun } = bookTurn(parts, {
    planId: task.planId,
    name: task.id,
    role: role.name,
    provider: providerSettings,
    model: modelFor(prepared.settings, role, providerSettings.name),
    turnEnd,
    runningMs: report.outcome === "spawn-failed" ? null : report.ranForMs,
    isTelling: end.type === "succeeded" || end.type === "asked",
  });
  store.attempts.update(attemptId, {
    state: "ended",
    endedAtMs,
    ...outcomeOf(end),
    exitCode: report.exitCode,
    signal: report.signal,
    costUsd,
    tokens: turnEnd.usage,
    booked,
    finalText: turnEnd.finalText,
    denials: [...permissionDenials],
    straysKilled: report.straysKilled,
    ...(sessionId === null ? {} : { sessionId }),
  });
  if (sessionId !== null && backend.hasSessions) {
    store.sessions.save({
      planId: task.planId,
      taskId: task.id,
      role: session,
      kind: backend.kind,
      sessionId,
      worktree: place.path,
      totals: turnEnd.totals,
      lastAttemptId: attemptId,
      isUsable: true,
    });
  }
  if (end.type === "succeeded") store.roles.recordDuration(role.name, report.ranForMs);
  const where = { planId: task.planId, taskId: task.id, attemptId };
  store.events.append({
    ...where,
    body: { type: "attempt-ended", number: task.ledger.attempts, ...told(end, turnEnd, costUsd) },
  });
  if (overrun !== null) store.events.append({ ...where, body: { type: "attempt-note", message: overrun } });
  if (permissionDenials.length === 0) return;
  const message = `was denied: ${permissionDenials.slice(0, 10).join("; ")}`;
  store.events.append({ ...where, body: { type: "attempt-note", message } });
}

function told(
  end: AttemptEnd,
  { usage }: TurnEnd,
  costUsd: number | null,
): {
  outcome: "succeeded" | "asked" | "failed";
  cause: AttemptRow["cause"];
  message: string | null;
  costUsd: number | null;
  tokens: number | null;
} {
  const { outcome, cause, message } = outcomeOf(end);
  const tokens = usage === null ? null : usage.inputTokens + usage.outputTokens;
  return { outcome: outcome ?? "failed", cause, message, costUsd, tokens };
}

/** Closes the row of an attempt that we failed to carry out. Call inside the transaction of the end. */
export function writeBrokenEnd(parts: Parts, attemptId: string, end: AttemptEnd): void {
  const { store, clock, board } = parts;
  const row = store.attempts.get(attemptId);
  if (row === null || row.endedAtMs !== null) return;
  // What it used nobody told; without a process it used nothing.
  const booked = row.pid === null ? NOTHING_USED : row.booked;
  if (board.hasPlan(row.planId)) board.plan(row.planId).budget.charge(booked);
  store.attempts.update(attemptId, { state: "ended", endedAtMs: clock.nowMs(), ...outcomeOf(end), booked });
}
