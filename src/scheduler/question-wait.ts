/** What open questions mean for an attempt that begins or ends: its task waits for the answers, without a process. */
import type { AgentBackend } from "../agents/backend.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import { isWaitingForAnswer } from "../plan/question.ts";
import type { TaskRecord } from "../plan/records.ts";
import type { Wait } from "../plan/task-state.ts";
import type { QuestionDesk } from "../questions/question-desk.ts";
import type { QuestionRow } from "../store/questions.ts";
import type { Store } from "../store/store.ts";

const MAX_MESSAGE = 200;
/** Each question ends by its own deadline; the task's timer is for the case that it did not. */
const SLACK_MS = 1_000;

/** The wait for a task's parked questions; null when none is open. */
export function questionWait(desk: QuestionDesk, { planId, id }: TaskRecord): Wait | null {
  return waitFor(desk, desk.openParked(planId, id));
}

/** What a task that runs waits for all the same: the answer that a call of its agent is held for. Null when there is none. */
export function heldWait(desk: QuestionDesk, { planId, id, state, wish }: TaskRecord): Wait | null {
  return state === "running" && wish === null ? waitFor(desk, desk.open(planId, id)) : null;
}

function waitFor(desk: QuestionDesk, open: readonly QuestionRow[]): Wait | null {
  const [first] = open;
  if (first === undefined) return null;
  const text = first.text.replaceAll(/\s+/g, " ").trim();
  const shown = text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE)}…`;
  const more = open.length === 1 ? "" : ` (and ${open.length - 1} more)`;
  return {
    code: "question",
    message: `its agent asks: ${shown}${more}`,
    command: `orchestrator answer ${first.id} "…"`,
    untilMs: Math.max(...open.map((question) => desk.latestEndMs(question) ?? 0)) + SLACK_MS,
  };
}

/**
 * A turn that ended well while a question of it is open was not the last one: the agent did as it was told and waits.
 * One that reported a result decided by itself; its questions were withdrawn then.
 */
export function askedInstead(
  store: Store,
  { planId, id, step }: TaskRecord,
  attemptId: string,
  backend: AgentBackend,
  end: AttemptEnd,
): AttemptEnd {
  // Who was told to end its turn gave no final answer, which some CLIs are held to.
  const couldBe = end.type === "succeeded" || (end.type === "failed" && end.cause === "no-result");
  if (!couldBe || !backend.hasSessions) return end;
  const questions = store.questions.listByTask(planId, id).map(({ attemptId: asker, state, ...question }) => {
    return { ...question, isOpen: state === "open", step: store.attempts.get(asker)?.step ?? step };
  });
  const waits = isWaitingForAnswer(questions, { id: attemptId, step }, end.type === "succeeded");
  return waits ? { type: "asked", wait: null } : end;
}

/** In the transaction of the end: what is open by now decides, not what was open when the agent ended. */
export function withWaitOfNow(desk: QuestionDesk, store: Store, task: TaskRecord, end: AttemptEnd): AttemptEnd {
  if (end.type === "not-started" && end.wait?.code === "question") {
    return { type: "not-started", wait: questionWait(desk, task) };
  }
  if (end.type !== "asked") return end;
  for (const question of store.questions.listByTask(task.planId, task.id)) {
    if (question.state === "open" && !question.isParked) store.questions.update(question.id, { isParked: true });
  }
  return { type: "asked", wait: questionWait(desk, task) };
}
