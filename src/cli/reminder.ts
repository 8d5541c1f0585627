/** What a parent's session is reminded of. Pure; the words go to a model, and names and questions in them are others'. */
import { plainLine } from "./plain-text.ts";

/** Of `task_status`: what is used of it here. */
export interface PlansNow {
  readonly summary: string;
  readonly next: string;
  readonly questions: readonly OpenQuestion[];
  readonly plans: readonly object[];
}

interface OpenQuestion {
  readonly id: string;
  readonly task: string;
  readonly question: string;
  readonly options?: readonly string[] | null | undefined;
}

const MAX_QUESTIONS = 5;
const MAX_QUESTION_LENGTH = 300;
const MAX_LENGTH = 1500;

/** What Claude Code takes from a hook's standard output; null: nothing to say. */
export function reminderOf(event: "start" | "stop", now: PlansNow, isStopHookActive: boolean): string | null {
  return event === "start" ? startOf(now) : stopOf(now, isStopHookActive);
}

/** Plain text becomes part of what the session begins with. */
function startOf({ summary, next, questions, plans }: PlansNow): string | null {
  if (plans.length === 0 && questions.length === 0) return null;
  const lines = [`orchestrator-mcp has plans in this repository. ${cut(summary, MAX_LENGTH)}`];
  lines.push(...questionLines(questions));
  if (next !== "") lines.push(`Next: ${cut(next, MAX_LENGTH)}`);
  return `${lines.join("\n")}\n`;
}

/**
 * The turn goes on once, with this as its reason. In a turn that already goes on by a hook's word nothing is said: a
 * question that the model can't answer must not keep it for ever.
 */
function stopOf({ questions }: PlansNow, isStopHookActive: boolean): string | null {
  if (isStopHookActive || questions.length === 0) return null;
  const many = questions.length === 1 ? "An agent waits" : `${questions.length} agents wait`;
  const reason = [
    `${many} for an answer (orchestrator-mcp):`,
    ...questionLines(questions),
    "Answer with answer_question what the goal and the repository decide. What only the user can decide, put to the user, then end the turn.",
  ].join("\n");
  return `${JSON.stringify({ decision: "block", reason })}\n`;
}

function questionLines(questions: PlansNow["questions"]): string[] {
  const lines = questions.slice(0, MAX_QUESTIONS).map(({ id, task, question, options }) => {
    const choice = options == null || options.length === 0 ? "" : ` [${cut(options.join(" | "), MAX_QUESTION_LENGTH)}]`;
    return `- question ${plainLine(id)} from ${plainLine(task)}: ${cut(question, MAX_QUESTION_LENGTH)}${choice}`;
  });
  const more = questions.length - MAX_QUESTIONS;
  return more > 0 ? [...lines, `- and ${more} more: task_status`] : lines;
}

function cut(text: string, maxLength: number): string {
  const line = plainLine(text);
  return line.length <= maxLength ? line : `${line.slice(0, maxLength - 1)}…`;
}
