/** What the core knows of questions (DESIGN section 8): who may be asked, who may answer, and what an open one means. */

/** Who is asked actively, one after the other. Whoever is asked, anybody may answer while the question is open. */
export const QUESTION_STAGES = ["parent", "orchestrator", "human"] as const;
export type QuestionStage = (typeof QUESTION_STAGES)[number];

/** The places of a route: `memory` answers at once or not at all. */
export type RouteStep = "memory" | QuestionStage;

/** `memory`: somebody answered the same question before · `nobody`: every deadline passed. */
export const ANSWERED_BY = ["memory", "parent", "orchestrator", "human", "nobody"] as const;
export type AnsweredBy = (typeof ANSWERED_BY)[number];

/** What an attempt's end has to know of a question of its task. */
export interface QuestionFacts {
  /** Of the workflow, whose agent asked: its answer is told to nobody else. */
  readonly step: number;
  readonly isOpen: boolean;
  readonly isParked: boolean;
  readonly isDelivered: boolean;
  /** The attempt that was given the answer. */
  readonly carriedBy: string | null;
}

/**
 * Whether a turn that ended was not the last one of its step: the agent did as it was told and waits for an answer, or
 * has not been given one that is there. What another step asked is not its affair: a person may have taken the task
 * back to its first step meanwhile, and no attempt of that is ever given the answer. `isWell`: the turn ended well,
 * and not merely without a result, as who was told to end its turn does with some CLIs.
 */
export function isWaitingForAnswer(
  questions: readonly QuestionFacts[],
  attempt: { readonly id: string; readonly step: number },
  isWell: boolean,
): boolean {
  return questions.some(({ step, isOpen, isParked, isDelivered, carriedBy }) => {
    if (step !== attempt.step) return false;
    return isOpen ? isParked || isWell : isParked && !isDelivered && carriedBy !== attempt.id;
  });
}
