import { z } from "zod";
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import type { QuestionRow } from "../store/questions.ts";
import type { Operation } from "./operation.ts";

const input = z.strictObject({
  id: z.string().min(1).max(40).optional().describe("One question, in whatever state."),
  plan: z.string().max(64).optional().describe("Those of one plan."),
  all: z.boolean().optional().describe("Also those that are open no more."),
});

const questionSchema = z.object({
  id: z.string(),
  task: z.string(),
  agent: z.string(),
  question: z.string(),
  options: z.array(z.string()),
  context: z.string().nullable(),
  state: z.enum(["open", "answered", "expired", "withdrawn"]),
  /** Who is asked now; anybody may answer. */
  asked: z.string().nullable(),
  askedAt: z.string(),
  /** When the next in the route is asked. */
  until: z.string().nullable(),
  answer: z.string().nullable(),
  answeredBy: z.string().nullable(),
  answeredAt: z.string().nullable(),
});

const output = z.object({ summary: z.string(), questions: z.array(questionSchema), more: z.number() });

export type ListedQuestion = z.infer<typeof questionSchema>;

export const listQuestions: Operation<z.infer<typeof input>, z.infer<typeof output>> = {
  name: "list_questions",
  title: "Questions of agents",
  description: "The questions that agents asked, in full: open ones, or all.",
  audience: "operator",
  isTool: false,
  isReading: true,
  input,
  output,
  run: (app, value) => Promise.resolve(list(app, value)),
  text: ({ summary, questions }) =>
    [summary, ...questions.map(({ id, task, question }) => `${id} ${task}: ${question.replaceAll(/\s+/g, " ")}`)].join(
      "\n",
    ),
};

const MAX_LISTED = 100;

function list(app: App, { id, plan, all }: z.infer<typeof input>): z.infer<typeof output> {
  const { store } = app.parts;
  if (id !== undefined) {
    const found = store.questions.get(id.trim().toLowerCase());
    if (found === null) throw new AppError("QUESTION_NOT_FOUND", `there is no question ${JSON.stringify(id)}`);
    return { summary: `${found.id} is ${found.state}.`, questions: [shown(found)], more: 0 };
  }
  const open = store.questions.listOpen();
  const rows =
    all === true ? (plan === undefined ? store.questions.listRecent(1_000) : store.questions.listByPlan(plan)) : open;
  const wanted = rows.filter((row) => plan === undefined || row.planId === plan);
  // The oldest open ones wait longest; of all, the latest are of interest.
  const page = all === true ? wanted.slice(-MAX_LISTED) : wanted.slice(0, MAX_LISTED);
  const waiting = open.filter((row) => plan === undefined || row.planId === plan).length;
  return {
    summary:
      waiting === 0
        ? "No question waits for an answer."
        : `${waiting} ${waiting === 1 ? "question waits" : "questions wait"} for an answer.`,
    questions: page.map(shown),
    more: wanted.length - page.length,
  };
}

function shown(row: QuestionRow): ListedQuestion {
  const { id, planId, taskId, role, text, options, context, state, stage, answer, answeredBy } = row;
  return {
    id,
    task: `${planId}/${taskId}`,
    agent: role,
    question: text,
    options: [...options],
    context,
    state,
    asked: stage,
    askedAt: isoTime(row.askedAtMs) ?? "",
    until: isoTime(row.stageUntilMs),
    answer,
    answeredBy,
    answeredAt: state === "withdrawn" ? null : isoTime(row.answeredAtMs),
  };
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
