/**
 * A turn of the orchestrator role in the store: what it is asked out of the plan, its row before anything of it exists
 * outside, its end, and the answers in it. What writes is called inside a transaction.
 */
import type { AgentBackend, ResolvedProvider, SessionToContinue, TurnEnd } from "../agents/backend.ts";
import { NOTHING_USED } from "../plan/budget.ts";
import { consultationPrompt, readConsultation } from "../plan/consultation.ts";
import { noteHealth, type AttemptEnd } from "../plan/outcomes.ts";
import type { ExitReport } from "../process/process-manager.ts";
import type { QuestionRow } from "../store/questions.ts";
import type { Parts } from "./parts.ts";
import { bookTurn, CONSULTATION } from "./plan-funds.ts";
import { modelFor, type PlanSettings, type ProviderSettings, type RoleSettings } from "./settings.ts";

/** The role with one of its providers. */
export interface ConsultedRole {
  readonly role: RoleSettings;
  readonly provider: ProviderSettings;
  readonly settings: PlanSettings;
}

/** What a turn needs. */
export interface ConsultationTurn {
  readonly planId: string;
  readonly role: ConsultedRole;
  readonly backend: AgentBackend;
  readonly provider: ResolvedProvider;
  readonly place: { readonly worktree: string; readonly gitDir: string };
  readonly ids: readonly string[];
}

/** The turn's prompt: the whole plan and what is asked of it. */
export function promptOf(
  { store, board }: Parts,
  planId: string,
  questions: readonly QuestionRow[],
  continuesSession: boolean,
): string {
  const plan = board.plan(planId);
  const work = store.tasks.listWork(planId);
  const answered = store.questions.listByPlan(planId).filter(({ state }) => state === "answered");
  return consultationPrompt({
    goal: plan.record.goal,
    target: plan.record.target,
    tasks: [...plan.nodes.values()].map(({ record: { id, spec, state } }) => ({
      id,
      title: spec.title,
      prompt: spec.prompt,
      state,
      dependsOn: spec.dependsOn,
      summary: work.get(id)?.report?.summary ?? null,
    })),
    earlier: answered.map(({ taskId, text, answer, answeredBy }) => ({
      task: taskId,
      question: text,
      answer: answer ?? "",
      by: answeredBy ?? "",
    })),
    questions: questions.map(({ id, taskId, text, options, context }) => ({
      id,
      task: taskId,
      text,
      options,
      context,
    })),
    continuesSession,
  });
}

/** Its row, before anything of it exists outside. */
export function noteConsultation(
  { store, clock, board }: Parts,
  id: string,
  { planId, provider, backend, ids }: ConsultationTurn,
  prompt: string,
  session: SessionToContinue | null,
): void {
  store.consultations.insert({
    id,
    planId,
    provider: provider.name,
    kind: backend.kind,
    questionIds: ids,
    prompt,
    pid: null,
    processStart: null,
    sessionId: session?.id ?? null,
    totals: null,
    startedAtMs: clock.nowMs(),
    endedAtMs: null,
    outcome: null,
    message: null,
    answer: null,
    costUsd: null,
    tokens: null,
    booked: board.hasPlan(planId) ? board.plan(planId).budget.reservedFor(id) : NOTHING_USED,
  });
}

/** It was not begun: somebody else was quicker, or the engine stops. */
export function noteUnwanted({ store, clock }: Parts, id: string): void {
  const message = "no longer wanted";
  store.consultations.update(id, { endedAtMs: clock.nowMs(), outcome: "interrupted", message, booked: NOTHING_USED });
}

interface ConsultationEnd {
  readonly end: AttemptEnd;
  readonly report: ExitReport;
  readonly turnEnd: TurnEnd;
}

/** Its end, what it used, and what its provider's health is by it. */
export function noteConsulted(
  parts: Parts,
  id: string,
  { planId, role, provider }: ConsultationTurn,
  { end, report, turnEnd }: ConsultationEnd,
): void {
  const { store, clock, board } = parts;
  noteHealth(board, provider.name, end, clock.nowMs());
  const { costUsd, booked } = bookTurn(parts, {
    planId,
    name: id,
    role: CONSULTATION,
    provider: role.provider,
    model: modelFor(role.settings, role.role, provider.name),
    turnEnd,
    runningMs: report.outcome === "spawn-failed" ? null : report.ranForMs,
    isTelling: end.type === "succeeded",
  });
  store.consultations.update(id, {
    endedAtMs: clock.nowMs(),
    outcome: end.type === "succeeded" ? "answered" : end.type === "failed" ? "failed" : "interrupted",
    message: end.type === "failed" ? end.message : end.type === "succeeded" ? null : "it was ended",
    // The form is what counted; what is said beside it may be empty.
    answer: turnEnd.structured == null ? turnEnd.finalText : JSON.stringify(turnEnd.structured),
    sessionId: turnEnd.sessionId,
    totals: turnEnd.totals,
    costUsd,
    tokens: turnEnd.usage,
    booked,
  });
}

/** Its answers by question; a text says why there are none. */
export function readAnswers(
  end: TurnEnd | null,
  ids: readonly string[],
): ReadonlyMap<string, { answer: string | null; why: string }> | string {
  if (end === null) return "it was ended";
  if (isBroken(end)) return end.message;
  const read = readConsultation(end.structured, ids);
  return read.ok ? new Map(read.answers.map(({ id, answer, why }) => [id, { answer, why }])) : read.problem;
}

/** Failed in another way than by an answer that does not fit. */
export function isBroken(end: TurnEnd): end is Extract<TurnEnd, { outcome: "failed" }> {
  return end.outcome === "failed" && end.cause !== "no-result";
}
