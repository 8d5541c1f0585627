import { z } from "zod";
import { taskInputSchema } from "../plan/schema.ts";
import type { Operation } from "./operation.ts";
import { KEY, nextLine, TASK_NAME } from "./shapes.ts";
import { spawn } from "./spawn.ts";

const input = taskInputSchema
  .partial()
  .extend({
    prompt: taskInputSchema.shape.prompt,
    plan: z.string().max(64).optional().describe("Add it to this plan; left out: a plan of its own."),
    task: TASK_NAME.optional().describe(
      "Says `prompt` to the agent of this task (PLAN/TASK), whatever its state; goes with `prompt` and `key` alone.",
    ),
    target: z.string().max(250).optional().describe("Branch to merge into, for a plan of its own."),
    key: KEY,
  })
  // The fields of a task are told by create_plan, which is always there too.
  .meta({ describesOnly: ["prompt", "agent", "plan", "task", "target", "key"] });

const output = z.object({
  summary: z.string(),
  next: z.string(),
  plan: z.string(),
  task: z
    .string()
    .describe("PLAN/TASK. With `task`: the task that carries the message, a new one when that one has ended."),
  warnings: z.array(z.string()),
});

export type SpawnAgentInput = z.infer<typeof input>;
export type SpawnAgentOutput = z.infer<typeof output>;

export const spawnAgent: Operation<SpawnAgentInput, SpawnAgentOutput> = {
  name: "spawn_agent",
  title: "Start one agent",
  description:
    "Starts one more agent, now or after `dependsOn`, in a plan or alone; its work is merged like any task's, and its fields are those of a task in create_plan. With `task`: says something to an agent that is there, in its own conversation; one that is done goes on in a new task. Answers at once; follow it with task_status.",
  audience: "operator",
  isTool: true,
  isReading: false,
  input,
  output,
  run: spawn,
  text: (result) =>
    [result.summary, nextLine(result.next), ...result.warnings.map((warning) => `warning: ${warning}`)].join("\n"),
};
