/** Questions of agents as people read them: values in, lines out. */
import type { AnswerOutput } from "../operations/answer-question.ts";
import type { ListedQuestion } from "../operations/list-questions.ts";
import type { OpenQuestion } from "../operations/open-questions.ts";
import { indented, styled, type Line, type Style } from "./styled.ts";

const STATE_STYLES: Readonly<Record<ListedQuestion["state"], Style>> = {
  open: "yellow",
  answered: "green",
  expired: "red",
  withdrawn: "dim",
};

export function renderQuestions(listed: {
  readonly summary: string;
  readonly questions: readonly ListedQuestion[];
  readonly more: number;
}): Line[] {
  const lines: Line[] = [[listed.summary]];
  for (const question of listed.questions) lines.push([], ...renderQuestion(question));
  if (listed.more > 0) lines.push([], [styled(`… and ${listed.more} more`, "dim")]);
  return lines;
}

function renderQuestion(asked: ListedQuestion): Line[] {
  const { id, task, agent, state, question, options, context } = asked;
  const lines: Line[] = [
    [styled(id, "bold"), ` ${task} (${agent})  `, styled(stateOf(asked), STATE_STYLES[state])],
    ...indented(question, 2),
  ];
  if (context !== null) lines.push(["  context:"], ...indented(context, 4));
  for (const option of options) lines.push(["  - ", option.replaceAll(/\s+/g, " ")]);
  if (asked.answer !== null) lines.push([`  answer (${asked.answeredBy ?? ""}):`], ...indented(asked.answer, 2));
  if (state === "open") lines.push(["  answer it with: ", styled(answerCommand(id), "bold")]);
  return lines;
}

function stateOf({ state, asked, until, answeredBy }: ListedQuestion): string {
  if (state === "open") return `asked: ${asked ?? "nobody yet"}${until === null ? "" : `, until ${until}`}`;
  return state === "answered" ? `answered by ${answeredBy ?? ""}` : state;
}

/** Open questions above a status: one line each, and the command. */
export function renderOpenQuestions(questions: readonly OpenQuestion[]): Line[] {
  return questions.map((question) => openQuestionLine(question));
}

export function openQuestionLine({ id, task, question, options }: Omit<OpenQuestion, "askedAt">): Line {
  const choice = options === undefined || options.length === 0 ? "" : ` [${options.join(" | ")}]`;
  return [
    styled(`? ${id} `, "yellow"),
    styled(task, "bold"),
    ` asks: ${question}${choice} → `,
    styled(answerCommand(id), "bold"),
  ];
}

export function renderAnswered({ summary, open }: AnswerOutput): Line[] {
  const lines: Line[] = [[summary]];
  if (open > 0) lines.push([`${open} more ${open === 1 ? "waits" : "wait"}: orchestrator questions`]);
  return lines;
}

export function answerCommand(id: string): string {
  return `orchestrator answer ${id} "…"`;
}
