/**
 * What is to be told to an agent in its next turn: messages of operators, and the answers to its questions.
 *
 * Mail is a row before anybody carries it, and counts as delivered only when the turn that had it came to its end (or
 * the CLI said in the middle of a turn that it took it). After a crash, a failure or a restart the next turn has it
 * again: an agent that reads it twice loses nothing, one that never reads it does.
 */
import type { AnsweredBy } from "../plan/question.ts";
import type { TaskRecord } from "../plan/records.ts";
import type { MessageRow } from "../store/messages.ts";
import type { QuestionRow } from "../store/questions.ts";
import type { Store } from "../store/store.ts";

export type Mail =
  | {
      readonly kind: "message";
      readonly id: number;
      /** Who says it. */
      readonly from: string;
      readonly text: string;
      readonly atMs: number;
    }
  | {
      readonly kind: "answer";
      readonly id: string;
      /** Who answered. */
      readonly from: string;
      readonly question: string;
      readonly answer: string;
      readonly atMs: number;
    };

interface WithStore {
  readonly store: Store;
}

/** With the step of its workflow: a message is for the first, who does the task, and an answer for who asked. */
type WhichTask = Pick<TaskRecord, "planId" | "id" | "step">;

/** What the task's agent has not been told yet, in the order it was said. */
export function undeliveredMail({ store }: WithStore, { planId, id, step }: WhichTask): Mail[] {
  return inOrder([
    ...(step === 0 ? store.messages.listUndelivered(planId, id).map(messageMail) : []),
    ...answersFor(store, step, store.questions.listUndelivered(planId, id)),
  ]);
}

/** All that it was ever told, for a new session that knows nothing of the old one. */
export function allMail({ store }: WithStore, { planId, id, step }: WhichTask): Mail[] {
  const answered = store.questions.listByTask(planId, id).filter(({ answer }) => answer !== null);
  return inOrder([
    ...(step === 0 ? store.messages.listByTask(planId, id).map(messageMail) : []),
    ...answersFor(store, step, answered),
  ]);
}

function answersFor(store: Store, step: number, questions: readonly QuestionRow[]): Mail[] {
  return questions.filter(({ attemptId }) => store.attempts.get(attemptId)?.step === step).map(answerMail);
}

/** Notes that the attempt's prompt has these answers. Call in the transaction of its row. */
export function noteCarried({ store }: WithStore, mail: readonly Mail[], attemptId: string): void {
  const answers = mail.filter((piece) => piece.kind === "answer");
  store.questions.carry(
    answers.map(({ id }) => id),
    attemptId,
  );
}

/** What it was told already. */
export function deliveredMail(parts: WithStore, task: WhichTask): Mail[] {
  const waiting = new Set(undeliveredMail(parts, task).map(({ kind, id }) => `${kind} ${id}`));
  return allMail(parts, task).filter(({ kind, id }) => !waiting.has(`${kind} ${id}`));
}

/** The attempt's turn had it and came to its end. Call in the transaction of that end. */
export function markDelivered({ store }: WithStore, mail: readonly Mail[], attemptId: string): void {
  for (const piece of mail) {
    if (piece.kind === "message") store.messages.setDelivered(piece.id, attemptId);
  }
  // Also what a held call answered in the middle of the turn.
  store.questions.markDelivered(attemptId);
}

function messageMail({ id, sender, text, createdAtMs }: MessageRow): Mail {
  return { kind: "message", id, from: sender, text, atMs: createdAtMs };
}

function answerMail({ id, text, answer, answeredBy, answeredAtMs }: QuestionRow): Mail {
  const from = WHO_ANSWERED[answeredBy ?? "human"];
  return { kind: "answer", id, from, question: text, answer: answer ?? "", atMs: answeredAtMs ?? 0 };
}

const WHO_ANSWERED: Readonly<Record<AnsweredBy, string>> = {
  memory: "Whoever was asked the same before",
  parent: "The parent agent",
  orchestrator: "The orchestrator",
  human: "A person",
  nobody: "The engine",
};

/** Kinds have rows of their own; what was said first comes first. */
function inOrder(mail: readonly Mail[]): Mail[] {
  return mail.toSorted((left, right) => left.atMs - right.atMs);
}
