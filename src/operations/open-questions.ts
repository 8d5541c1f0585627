/** The questions that wait, as `task_status` shows them: first, whoever is asked by now, and small. */
import { z } from "zod";
import type { App } from "../app.ts";
import type { QuestionRow } from "../store/questions.ts";
import { cutEnd } from "./shapes.ts";

export const openQuestionSchema = z.object({
  id: z.string(),
  task: z.string(),
  /** Cut where it is long: ask for the task to read the whole. */
  question: z.string(),
  options: z.array(z.string()).optional(),
  context: z.string().optional(),
  askedAt: z.string(),
});

export type OpenQuestion = z.infer<typeof openQuestionSchema>;

/** What all of them may cost a parent's model: some 700 tokens. */
const MAX_CHARACTERS = 2_500;
const MAX_QUESTION = 300;
const MAX_CONTEXT = 200;
const MAX_OPTIONS = 300;

/**
 * Oldest first, those of the plan or of one task (null: all). Of one task they are told in full; of many as many as are
 * worth a parent's reading, and how many more wait.
 */
export function openQuestions(
  app: App,
  planId: string | null,
  task: string | null,
): { readonly questions: OpenQuestion[]; readonly total: number } {
  const open = app.parts.store.questions
    .listOpen()
    .filter((row) => (task === null ? planId === null || row.planId === planId : nameOf(row) === task));
  if (task !== null) return { questions: open.map((row) => shownIn(row, Infinity)), total: open.length };
  const questions: OpenQuestion[] = [];
  let characters = 0;
  for (const row of open) {
    const next = shownIn(row, 1);
    characters += JSON.stringify(next).length;
    if (questions.length > 0 && characters > MAX_CHARACTERS) break;
    questions.push(next);
  }
  return { questions, total: open.length };
}

/** `share`: how much longer than in a list. */
function shownIn(row: QuestionRow, share: number): OpenQuestion {
  const { id, text, options, context, askedAtMs } = row;
  let left = MAX_OPTIONS * share;
  const fitting = options.filter((option) => (left -= option.length) >= 0);
  const missing = options.length - fitting.length;
  return {
    id,
    task: nameOf(row),
    question: cutEnd(text, MAX_QUESTION * share),
    ...(options.length === 0 ? {} : { options: [...fitting, ...(missing === 0 ? [] : [`… ${missing} more`])] }),
    ...(context === null ? {} : { context: cutEnd(context, MAX_CONTEXT * share) }),
    askedAt: new Date(askedAtMs).toISOString(),
  };
}

/** One line each for parents that see text alone. The words are an agent's: on one line they can't pose as ours. */
export function questionLines(questions: readonly OpenQuestion[]): string[] {
  return questions.map(({ id, task, question, options, context }) => {
    const choice = options === undefined ? "" : ` [options: ${options.map(oneLine).join(" | ")}]`;
    const more = context === undefined ? "" : ` (context: ${oneLine(context)})`;
    return `question ${id} from ${task}: ${oneLine(question)}${choice}${more}`;
  });
}

/** What a parent is told to do about them; null where none waits. */
export function questionHeadline(
  questions: readonly OpenQuestion[],
  total: number,
): { readonly summary: string; readonly next: string } | null {
  const [first] = questions;
  if (first === undefined) return null;
  const hidden = total - questions.length;
  const isCut = first.question.endsWith(" more characters)") || hidden > 0;
  const read = isCut ? `; task_status ${JSON.stringify({ task: first.task })} has it in full` : "";
  return {
    summary: `${total} ${total === 1 ? "question waits" : "questions wait"} for your answer${hidden > 0 ? ` (the first ${questions.length} are shown)` : ""}.`,
    next: `answer_question ${JSON.stringify({ id: first.id, answer: "…" })}${read}`,
  };
}

function nameOf({ planId, taskId }: QuestionRow): string {
  return `${planId}/${taskId}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
