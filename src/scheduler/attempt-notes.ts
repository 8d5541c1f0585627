/**
 * What is written down of an attempt while it goes on: its row before anything of it exists outside, its process, its
 * session. Each is called inside a transaction; the end is written by `attempt-end.ts`.
 */
import type { SessionTotals, TurnRequest } from "../agents/backend.ts";
import type { TaskRecord } from "../plan/records.ts";
import { isReview, sessionNameOf } from "../plan/workflow.ts";
import type { ManagedProcess } from "../process/process-manager.ts";
import { NOTHING_YET } from "../store/attempts.ts";
import type { Prepared } from "./attempt-request.ts";
import { noteCarried, type Mail } from "./mail.ts";
import type { Parts } from "./parts.ts";

interface StartFacts {
  readonly attemptId: string;
  readonly request: TurnRequest;
  readonly startedAtMs: number;
  /** What the prompt tells. */
  readonly mail: readonly Mail[];
}

/** The row of the attempt, before anything of it exists outside. */
export function noteStart(parts: Parts, task: TaskRecord, prepared: Prepared, facts: StartFacts): void {
  const { store, board } = parts;
  const { place, role, backend, provider } = prepared;
  const { attemptId, request, startedAtMs, mail } = facts;
  store.attempts.insert({
    ...NOTHING_YET,
    id: attemptId,
    planId: task.planId,
    taskId: task.id,
    number: task.ledger.attempts,
    step: task.step,
    role: role.name,
    provider: provider.name,
    kind: backend.kind,
    model: request.model,
    sessionId: request.session?.id ?? null,
    turnKind: task.nextTurn.kind,
    startedAtMs,
    // Until its end is told: what a crash leaves open stays booked with it.
    booked: board.plan(task.planId).budget.reservedFor(task.id),
  });
  noteCarried(parts, mail, attemptId);
  // What an earlier attempt reported as failed says nothing of this one.
  const hasFailedReport = !isReview(task) && store.tasks.getWork(task.planId, task.id)?.report?.status === "failed";
  store.tasks.setWork(task.planId, task.id, {
    branch: place.branch,
    worktree: place.path,
    baseSha: place.baseSha,
    startedAtMs: place.startedAtMs ?? startedAtMs,
    ...(hasFailedReport ? { report: null } : {}),
  });
}

/** Its process runs. */
export function noteRunning(
  { store }: Parts,
  { planId, id: taskId, ledger }: TaskRecord,
  attemptId: string,
  provider: string,
  { pid, identity }: ManagedProcess,
): void {
  store.attempts.update(attemptId, { state: "running", pid, processStart: identity?.startTime ?? null });
  const body = { type: "attempt-started", number: ledger.attempts, provider, pid } as const;
  store.events.append({ planId, taskId, attemptId, body });
}

interface SessionFacts {
  readonly attemptId: string;
  readonly sessionId: string;
  /** What the session had used up before this attempt; null when it is new. */
  readonly totals: SessionTotals | null;
}

/** Its CLI told the id of its session. */
export function noteSession(
  { store }: Parts,
  task: TaskRecord,
  { backend, place }: Prepared,
  facts: SessionFacts,
): void {
  const { planId, id: taskId } = task;
  const { attemptId, sessionId, totals } = facts;
  store.sessions.save({
    planId,
    taskId,
    role: sessionNameOf(task),
    kind: backend.kind,
    sessionId,
    worktree: place.path,
    totals,
    lastAttemptId: attemptId,
    isUsable: true,
  });
  store.attempts.update(attemptId, { sessionId });
  store.events.append({ planId, taskId, attemptId, body: { type: "attempt-session", sessionId } });
}
