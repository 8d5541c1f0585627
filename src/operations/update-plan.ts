import { z } from "zod";
import { budgetSchema, taskInputSchema } from "../plan/schema.ts";
import type { Operation } from "./operation.ts";
import { editPlan } from "./edit-plan.ts";
import { KEY, nextLine, PLAN_ID } from "./shapes.ts";

const input = z.strictObject({
  plan: PLAN_ID,
  add: z
    .array(taskInputSchema.meta({ describesOnly: [] }))
    .max(10_000)
    .optional()
    .describe("New tasks, as in create_plan."),
  change: z
    .array(taskInputSchema.partial().required({ id: true }).meta({ describesOnly: [] }))
    .max(10_000)
    .optional()
    .describe("Tasks that have not started: `id` and the fields to change."),
  drop: z.array(z.string().max(64)).max(10_000).optional().describe("Ids of tasks that have not started."),
  budget: budgetSchema.optional().describe("Bounds to change."),
  key: KEY,
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  plan: z.string(),
  added: z.array(z.string()),
  changed: z.array(z.string()),
  dropped: z.array(z.string()),
  warnings: z.array(z.string()),
});

export type UpdatePlanInput = z.infer<typeof input>;
export type UpdatePlanOutput = z.infer<typeof output>;

export const updatePlan: Operation<UpdatePlanInput, UpdatePlanOutput> = {
  name: "update_plan",
  title: "Change a plan",
  description:
    "Adds tasks to a plan, changes or drops tasks that have not started, or its budget; the rest runs on. All or nothing.",
  audience: "operator",
  isTool: true,
  isReading: false,
  input,
  invalidCode: "PLAN_INVALID",
  output,
  run: editPlan,
  text: (result) =>
    [result.summary, nextLine(result.next), ...result.warnings.map((warning) => `warning: ${warning}`)].join("\n"),
};
