/** The route of a question: who is asked next, and until when. Pure: what is known and the moment are given. */
import type { QuestionStage, RouteStep } from "../plan/question.ts";

/** A plan's pinned `questions` section. */
export interface QuestionSettings {
  /** How long a call is held for a quick answer before its agent's turn ends. */
  readonly holdMs: number;
  /** Who is asked, in this order. */
  readonly route: readonly RouteStep[];
  /** A parent that has not called for so long is not waited for. */
  readonly parentQuietMs: number;
  readonly deadlinesMs: Readonly<Record<QuestionStage, number>>;
}

/** What decides whom it makes sense to ask. */
export interface Known {
  /** What somebody answered to the same question; null when nobody did. */
  readonly remembered: string | null;
  readonly isParentThere: boolean;
  /** Whether the orchestrator role can be asked at all. */
  readonly hasOrchestrator: boolean;
}

export type NextStep =
  | { readonly type: "ask"; readonly stage: QuestionStage; readonly untilMs: number }
  | { readonly type: "answered"; readonly answer: string }
  /** The route is at its end. */
  | { readonly type: "nobody" };

/** Whom to ask when `after` (null: nobody yet) did not answer in time, or said that it can't know. */
export function nextStep(
  after: QuestionStage | null,
  settings: QuestionSettings,
  known: Known,
  nowMs: number,
): NextStep {
  const begin = after === null ? 0 : settings.route.indexOf(after) + 1;
  for (const step of settings.route.slice(begin)) {
    if (step === "memory") {
      if (known.remembered !== null) return { type: "answered", answer: known.remembered };
      continue;
    }
    if (step === "parent" && !known.isParentThere) continue;
    if (step === "orchestrator" && !known.hasOrchestrator) continue;
    return { type: "ask", stage: step, untilMs: nowMs + settings.deadlinesMs[step] };
  }
  return { type: "nobody" };
}

/** When every deadline has passed, if nobody is skipped: the asker goes on then at the latest. */
export function latestEndMs(stage: QuestionStage, stageUntilMs: number, settings: QuestionSettings): number {
  const rest = settings.route.slice(settings.route.indexOf(stage) + 1);
  return rest.reduce((sum, step) => (step === "memory" ? sum : sum + settings.deadlinesMs[step]), stageUntilMs);
}

/**
 * What two askings must share to be one question: the words, but for case and spaces. Options and context count too:
 * "May I delete it?" means nothing without what it is about.
 */
export function samenessOf(text: string, options: readonly string[], context: string | null): string {
  return JSON.stringify([text, context ?? "", ...options].map(normalized));
}

function normalized(text: string): string {
  return text.normalize("NFKC").trim().toLowerCase().replaceAll(/\s+/g, " ");
}

/** Told to an agent whose question nobody answered. */
export const NOBODYS_ANSWER =
  "Nobody answered in time. Use your own judgement, take the choice that is easiest to undo, and write down in your report what you assumed.";
