import { z } from "zod";
import type { App } from "../app.ts";
import type { QuestionRow } from "../store/questions.ts";
import type { Operation, OperationCall } from "./operation.ts";

const input = z.strictObject({
  client: z.string().max(200).describe("The client's name, as its MCP handshake gives it."),
  seen: z.array(z.string().max(40)).max(1_000).optional().describe("Questions it was shown before."),
  showing: z.string().max(40).optional().describe("Waits for the end of this question instead of for another."),
  waitSeconds: z.number().min(0).max(45),
});

const output = z.object({
  summary: z.string(),
  /** False: `questions.elicit` does not name this client, so it is shown nothing. */
  isWanted: z.boolean(),
  /** The oldest question that a parent is asked and this client was not shown; null when there is none. */
  question: z
    .object({
      id: z.string(),
      task: z.string(),
      text: z.string(),
      options: z.array(z.string()),
      context: z.string().nullable(),
    })
    .nullable(),
  /** Whether the question of `showing` needs no answer any more. */
  isOver: z.boolean(),
});

type Input = z.infer<typeof input>;
type Output = z.infer<typeof output>;

/** While a client waits here, a parent is there to be asked: its calls count as a parent's. */
export const watchQuestions: Operation<Input, Output> = {
  name: "watch_questions",
  title: "Wait for a question to show",
  description: "For a client that shows agents' questions to its user by MCP elicitation.",
  audience: "operator",
  isTool: false,
  isReading: true,
  input,
  output,
  run: watch,
  text: ({ summary }) => summary,
};

async function watch(app: App, value: Input, call: OperationCall): Promise<Output> {
  if (app.elicitedClient() !== value.client) {
    return { summary: "Questions are not shown here.", isWanted: false, question: null, isOver: true };
  }
  const first = look(app, value);
  if (hasNews(first, value) || value.waitSeconds === 0) return first;
  await untilQuestionsChange(app, value, call);
  return look(app, value);
}

function look(app: App, { seen = [], showing }: Input): Output {
  const { store } = app.parts;
  const shown = new Set(seen);
  const next = store.questions.listOpen().find(({ id, stage }) => stage === "parent" && !shown.has(id));
  const isOver = showing === undefined || store.questions.get(showing)?.state !== "open";
  const summary = next === undefined ? "No question is to be shown." : `${next.id} is to be shown.`;
  return { summary, isWanted: true, question: next === undefined ? null : facts(next), isOver };
}

function hasNews({ question, isOver }: Output, { showing }: Input): boolean {
  return showing === undefined ? question !== null : isOver;
}

async function untilQuestionsChange(app: App, value: Input, { signal }: OperationCall): Promise<void> {
  const { bus, clock } = app.parts;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      unsubscribe();
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const unsubscribe = bus.onEvent(({ body }) => {
      const isOfQuestions = body.type.startsWith("question-");
      if (body.type === "engine-stopping" || (isOfQuestions && hasNews(look(app, value), value))) end();
    });
    const cancel = clock.schedule(value.waitSeconds * 1000, end);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

function facts({ id, planId, taskId, text, options, context }: QuestionRow): NonNullable<Output["question"]> {
  return { id, task: `${planId}/${taskId}`, text, options: [...options], context };
}
