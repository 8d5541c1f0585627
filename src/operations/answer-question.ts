import { z } from "zod";
import type { App } from "../app.ts";
import { explainTask } from "../plan/explain.ts";
import { taskKey, type TaskKey } from "../plan/records.ts";
import type { ActingCall, Operation } from "./operation.ts";
import { filled, KEY, nextLine } from "./shapes.ts";

const input = z.strictObject({
  id: z.string().min(1).max(40).describe("The question's id, as task_status shows it: q1."),
  answer: filled(20_000).describe("What the agent is to do or to know; one of its options or your own words."),
  key: KEY,
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  id: z.string(),
  task: z.string(),
  question: z.string(),
  answer: z.string(),
  /** Questions that are still open. */
  open: z.number(),
});

export type AnswerInput = z.infer<typeof input>;
export type AnswerOutput = z.infer<typeof output>;

export const answerQuestion: Operation<AnswerInput, AnswerOutput> = {
  name: "answer_question",
  title: "Answer an agent's question",
  description:
    "Answers a question that an agent asked (task_status shows them first, with their ids). The agent goes on with your answer at once; nobody else waits. The first answer counts.",
  audience: "operator",
  isTool: true,
  isReading: false,
  input,
  output,
  run: (app, value, call) => Promise.resolve(answer(app, value, call)),
  text: ({ summary, next }) => [summary, nextLine(next)].filter((line) => line !== "").join("\n"),
};

function answer(app: App, { id, answer: words }: AnswerInput, call: ActingCall): AnswerOutput {
  const { questions } = app.scheduler;
  const isParent = call.caller.role === "operator" && call.caller.isParent === true;
  // A repeat under the same key never gets here: its first answer is found before.
  const question = questions.requireOpen(id.trim().toLowerCase());
  return call.commit(() => {
    questions.answer(question, words.trim(), isParent ? "parent" : "human");
    const open = app.parts.store.questions.listOpen();
    const [first] = open;
    const task = taskKey({ planId: question.planId, id: question.taskId });
    return {
      summary: `${question.id} is answered; ${task} goes on with it${onlyThen(app, task)}.`,
      next:
        first === undefined
          ? `task_status ${JSON.stringify({ plan: question.planId, waitSeconds: 45 })}`
          : `answer_question ${JSON.stringify({ id: first.id, answer: "…" })} (${open.length} more ${open.length === 1 ? "waits" : "wait"}; task_status shows them)`,
      id: question.id,
      task,
      question: question.text.slice(0, 500),
      answer: words.trim().slice(0, 500),
      open: open.length,
    };
  });
}

/** A task that was paused meanwhile, or whose plan was, has its answer and stays where it is. */
function onlyThen(app: App, task: TaskKey): string {
  const { state, code, command } = explainTask(app.parts.board, task, app.parts.clock.nowMs());
  return state === "waiting" && code === "paused" && command !== null ? ` after: ${command}` : "";
}
