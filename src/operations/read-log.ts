import { z } from "zod";
import { AppError } from "../errors.ts";
import { planConversation, tokensOf } from "./history.ts";
import type { Operation } from "./operation.ts";

const input = z.strictObject({
  plan: z.string().max(64).optional(),
  task: z.string().max(200).optional().describe("One task: PLAN/TASK."),
  turns: z
    .boolean()
    .optional()
    .describe(
      "Conversations instead of events: of the task's agent, or of a plan alone what the orchestrator role was asked.",
    ),
  since: z.number().int().min(0).optional(),
  before: z.number().int().min(0).optional().describe("With `turns`: those before the turn of this id."),
  limit: z.number().int().min(1).max(1000).optional(),
});

const output = z.object({
  summary: z.string(),
  /** The newest event, also of others. */
  seq: z.number(),
  /** After `since`, oldest first; `limit` of them at most. */
  events: z.array(
    z.object({
      seq: z.number(),
      atMs: z.number(),
      planId: z.string().nullable(),
      taskId: z.string().nullable(),
      attemptId: z.string().nullable(),
      body: z.looseObject({ type: z.string() }).describe("What happened; its other keys depend on its type."),
    }),
  ),
  turns: z.array(z.object({ id: z.number(), at: z.string(), attempt: z.string(), kind: z.string(), text: z.string() })),
  /** With `turns`: what each attempt was and used up. */
  attempts: z.array(
    z.object({
      id: z.string(),
      number: z.number(),
      provider: z.string(),
      outcome: z.string().nullable(),
      costUsd: z.number().nullable(),
      tokens: z.object({ input: z.number(), output: z.number(), cached: z.number() }).nullable(),
    }),
  ),
});

type Input = z.infer<typeof input>;
type Output = z.infer<typeof output>;

export const readLog: Operation<Input, Output> = {
  name: "read_log",
  title: "Events and conversations",
  description: "What happened, event by event; or what one task's agent was told and said.",
  audience: "operator",
  isTool: false,
  isReading: true,
  input,
  output,
  async run(app, value) {
    const { store } = app.parts;
    const limit = value.limit ?? 200;
    const task = value.task === undefined ? null : await app.findTask(value.task);
    const planId =
      task === null ? (value.plan === undefined ? null : await app.openPlan(value.plan)) : (task.split("/")[0] ?? null);
    const taskId = task === null ? null : (task.split("/")[1] ?? null);
    const isConversation = value.turns === true;
    if (isConversation && planId === null)
      throw new AppError("INPUT_INVALID", "`turns` needs a plan or a task: PLAN/TASK");
    const events = isConversation
      ? []
      : store.events.since(value.since ?? 0, {
          limit,
          ...(planId === null ? {} : { planId }),
          ...(taskId === null ? {} : { taskId }),
        });
    const page = { limit, ...(value.before === undefined ? {} : { beforeId: value.before }) };
    const { turns, attempts } =
      !isConversation || planId === null
        ? { turns: [], attempts: [] }
        : taskId === null
          ? planConversation(store, planId, page)
          : {
              turns: store.turns
                .listByTask(planId, taskId, page)
                .map(({ attemptId, ...turn }) => ({ attempt: attemptId, ...turn })),
              attempts: store.attempts.listByTask(planId, taskId),
            };
    return {
      summary: isConversation ? `${turns.length} turns.` : `${events.length} events.`,
      seq: store.events.lastSeq(),
      events: events.map((event) => ({ ...event, body: { ...event.body } })),
      turns: turns.map(({ id, attempt, atMs, kind, text }) => ({
        id,
        at: new Date(atMs).toISOString(),
        attempt,
        kind,
        text,
      })),
      attempts: attempts.map(({ id, number, provider, outcome, costUsd, tokens }) => ({
        id,
        number,
        provider,
        outcome,
        costUsd,
        tokens: tokens === null ? null : tokensOf(tokens),
      })),
    };
  },
  text: (result) =>
    [
      ...result.events.map(({ atMs, planId, taskId, body }) => {
        const name = taskId === null ? (planId ?? "engine") : `${planId ?? ""}/${taskId}`;
        return `${new Date(atMs).toISOString()} ${name} ${body.type} ${eventText(body)}`;
      }),
      ...result.turns.map((turn) => `[${turn.kind}] ${turn.text}`),
    ].join("\n"),
};

/** An event's facts in one line. */
function eventText(body: { readonly type: string }): string {
  const { type: _type, ...facts } = body as Record<string, unknown>;
  return Object.entries(facts)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
