import { z } from "zod";
import type { Operation } from "./operation.ts";

const input = z.strictObject({
  plan: z.string().max(64).optional(),
  task: z.string().max(200).optional().describe("One task: its agent's conversation instead of events."),
  since: z.number().int().min(0).optional(),
  limit: z.number().int().min(1).max(1000).optional(),
});

const output = z.object({
  summary: z.string(),
  seq: z.number(),
  events: z.array(
    z.object({
      seq: z.number(),
      at: z.string(),
      plan: z.string().nullable(),
      task: z.string().nullable(),
      type: z.string(),
      text: z.string(),
    }),
  ),
  turns: z.array(z.object({ id: z.number(), at: z.string(), attempt: z.string(), kind: z.string(), text: z.string() })),
});

type Input = z.infer<typeof input>;
type Output = z.infer<typeof output>;

export const readLog: Operation<Input, Output> = {
  name: "read_log",
  title: "Events and conversations",
  description: "What happened, event by event; for one task also what its agent was told and said.",
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
    const events = store.events.since(value.since ?? 0, {
      limit,
      ...(planId === null ? {} : { planId }),
      ...(taskId === null ? {} : { taskId }),
    });
    const turns = planId === null || taskId === null ? [] : store.turns.listByTask(planId, taskId, { limit });
    return {
      summary: `${events.length} events${turns.length === 0 ? "" : `, ${turns.length} turns`}.`,
      seq: store.events.lastSeq(),
      events: events.map((event) => ({
        seq: event.seq,
        at: new Date(event.atMs).toISOString(),
        plan: event.planId,
        task: event.taskId,
        type: event.body.type,
        text: eventText(event.body),
      })),
      turns: turns.map((turn) => ({
        id: turn.id,
        at: new Date(turn.atMs).toISOString(),
        attempt: turn.attemptId,
        kind: turn.kind,
        text: turn.text,
      })),
    };
  },
  text: (result) =>
    [
      ...result.events.map((event) => `${event.at} ${event.task ?? event.plan ?? ""} ${event.type} ${event.text}`),
      ...result.turns.map((turn) => `[${turn.kind}] ${turn.text}`),
    ].join("\n"),
};

/** An event's facts in one line. */
export function eventText(body: { readonly type: string }): string {
  const { type: _type, ...facts } = body as Record<string, unknown>;
  return Object.entries(facts)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
