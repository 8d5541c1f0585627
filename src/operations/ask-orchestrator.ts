import { z } from "zod";
import type { App } from "../app.ts";
import type { BackendKind } from "../agents/backend.ts";
import type { AskOutcome } from "../questions/question-desk.ts";
import type { ActingCall, Operation } from "./operation.ts";
import { satelliteOf } from "./satellite-caller.ts";
import { filled, KEY } from "./shapes.ts";

const input = z.strictObject({
  question: filled(8_000).describe("One question, with what you would do if nobody answered."),
  options: z.array(filled(500)).max(20).optional().describe("Answers to choose from, where there are some."),
  context: z.string().max(20_000).optional().describe("What somebody needs to know who does not see your work."),
  key: KEY,
  repeats: z
    .boolean()
    .optional()
    .describe("For scripts: instead of being parked you call again, with the same `key`, until there is an answer."),
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  id: z.string(),
  /** `parked`: end your turn; the answer begins your next one. `waiting`: call again with the same key. */
  status: z.enum(["answered", "parked", "waiting", "withdrawn"]),
  answer: z.string().nullable(),
  answeredBy: z.string().nullable(),
});

export type AskInput = z.infer<typeof input>;
export type AskOutput = z.infer<typeof output>;

export const askOrchestrator: Operation<AskInput, AskOutput> = {
  name: "ask_orchestrator",
  title: "Ask a question",
  description:
    'Asks whoever knows the whole plan: an earlier answer, the parent agent, the orchestrator, a person. Use it instead of guessing when a decision is not yours and a wrong one would cost work. It answers within a minute, or says "parked": then end your turn at once; you will be continued with the answer.',
  audience: "satellite",
  isTool: true,
  isReading: false,
  input,
  output,
  run: ask,
  text: ({ summary, next, answer }) => [summary, answer ?? "", next].filter((line) => line !== "").join("\n"),
};

async function ask(app: App, value: AskInput, call: ActingCall): Promise<AskOutput> {
  const { planId, taskId, attemptId } = satelliteOf(app, call);
  const attempt = app.parts.store.attempts.get(attemptId);
  const { hasSessions } = app.parts.backend((attempt?.kind ?? "command") as BackendKind);
  const outcome = await app.scheduler.questions.ask(
    {
      planId,
      taskId,
      attemptId,
      role: attempt?.role ?? "",
      text: value.question.trim(),
      options: value.options ?? [],
      context: value.context === undefined || value.context.trim() === "" ? null : value.context,
      requestKey: keyOf(value, call, `${planId}/${taskId}`),
    },
    { canPark: hasSessions && value.repeats !== true, signal: call.signal, progress: call.progress },
  );
  return outputOf(outcome);
}

/** Two tasks may choose the same key by chance; a pipe's can't be mistaken for one that was chosen. */
function keyOf({ key }: AskInput, call: ActingCall, task: string): string | null {
  if (key !== undefined) return `own:${task}:${key}`;
  return call.requestKey === null ? null : `pipe:${call.requestKey}`;
}

function outputOf({ type, question }: AskOutcome): AskOutput {
  const { id, state, answer, answeredBy } = question;
  const nothing = { id, answer: null, answeredBy: null };
  if (state === "withdrawn") {
    const summary = `Question ${id} was withdrawn: your task does not go on.`;
    return { ...nothing, status: "withdrawn", summary, next: "End your turn now." };
  }
  if (type === "settled") {
    const who = answeredBy === "nobody" ? "Nobody answered in time:" : `The answer (${answeredBy ?? ""}):`;
    return { id, status: "answered", summary: who, answer, answeredBy, next: "" };
  }
  if (type === "parked") {
    const summary = `parked: nobody has answered question ${id} yet.`;
    const next =
      "End your turn now, with nothing else. You will be continued in this session, in this worktree, with the answer.";
    return { ...nothing, status: "parked", summary, next };
  }
  const summary = `Nobody has answered question ${id} yet.`;
  return {
    ...nothing,
    status: "waiting",
    summary,
    next: "Ask the same again (with the same key, if you gave one); it waits on.",
  };
}
