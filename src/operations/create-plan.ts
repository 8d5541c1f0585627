import { z } from "zod";
import { forecastLines } from "../plan/budget-words.ts";
import { planInputSchema } from "../plan/schema.ts";
import type { Operation } from "./operation.ts";
import { budgetPreviewSchema } from "./plan-budget.ts";
import { KEY, nextLine } from "./shapes.ts";
import { providersOf } from "./task-words.ts";
import { submitPlan } from "./submit-plan.ts";

const input = planInputSchema.extend({
  tasks: planInputSchema.shape.tasks
    .optional()
    .describe("Left out: an agent decomposes `goal` into tasks, which wait for control resume."),
  into: z
    .string()
    .max(250)
    .optional()
    .describe("Branch to merge into, made from the target's tip where there is none."),
  dryRun: z.boolean().optional().describe("Only tell what would happen."),
  start: z.boolean().optional().describe("Start at once; default: true with tasks, false with a goal alone."),
  file: z
    .string()
    .max(4096)
    .optional()
    .describe("The file the plan came from, for continuing it by name.")
    .meta({ isHidden: true }),
  key: KEY,
});

const taskPreview = z.object({
  id: z.string(),
  agent: z.string(),
  provider: z.string(),
  /** Where it goes while that provider can't take it, in this order. */
  otherProviders: z.array(z.string()).optional(),
  model: z.string().nullable(),
  permissions: z.string(),
  dependsOn: z.array(z.string()),
  /** The steps behind the first, where it has a workflow. */
  laterSteps: z
    .array(
      z.object({
        agent: z.string(),
        provider: z.string(),
        otherProviders: z.array(z.string()).optional(),
        model: z.string().nullable(),
        permissions: z.string(),
      }),
    )
    .optional(),
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  plan: z.string().describe("The plan's id."),
  dryRun: z.boolean(),
  /** `created`, `continued` (same name again) or `attached` (it was under way already). */
  outcome: z.enum(["created", "continued", "attached", "checked"]),
  target: z.string(),
  total: z.number(),
  /** Tasks in an order that respects dependencies; at most 200 are listed. */
  tasks: z.array(taskPreview),
  verify: z.array(z.string()).describe("Commands that must pass after each merge; empty: nothing is verified."),
  maxConcurrent: z.number(),
  /** What it may use, and what is set aside for each attempt; left out without a budget. */
  budget: budgetPreviewSchema.optional(),
  longestPath: z.array(z.string()),
  warnings: z.array(z.string()),
});

export type CreatePlanInput = z.infer<typeof input>;
export type CreatePlanOutput = z.infer<typeof output>;

export const createPlan: Operation<CreatePlanInput, CreatePlanOutput> = {
  name: "create_plan",
  title: "Create a plan",
  description:
    "Starts a plan: each task is done by another agent CLI in its own git worktree, in parallel where `dependsOn` and `writes` allow, then merged into the target branch. Give `tasks`, or a `goal` alone to have it decomposed. Answers at once; follow it with task_status (waitSeconds: 45).",
  audience: "operator",
  isTool: true,
  isReading: false,
  input,
  invalidCode: "PLAN_INVALID",
  output,
  run: submitPlan,
  text(result) {
    const lines = [result.summary, nextLine(result.next)];
    for (const warning of result.warnings) lines.push(`warning: ${warning}`);
    if (result.dryRun) {
      lines.push(`target: ${result.target}; at once: ${result.maxConcurrent}`);
      lines.push(result.verify.length === 0 ? "verify: nothing" : `verify: ${result.verify.join(" && ")}`);
      if (result.budget !== undefined) lines.push(...forecastLines(result.budget));
      lines.push(`longest path: ${result.longestPath.join(" → ")}`);
      for (const task of result.tasks.slice(0, 50)) {
        const model = task.model === null ? "" : ` ${task.model}`;
        const after = task.dependsOn.length === 0 ? "" : ` after ${task.dependsOn.join(", ")}`;
        const then = (task.laterSteps ?? []).map((step) => ` → ${step.agent} (${providersOf(step)})`).join("");
        lines.push(`- ${task.id}: ${task.agent} (${providersOf(task, model)}, ${task.permissions})${then}${after}`);
      }
    }
    return lines.join("\n");
  },
};
