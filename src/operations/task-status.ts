import { z } from "zod";
import type { Operation } from "./operation.ts";
import { openQuestionSchema, questionLines } from "./open-questions.ts";
import { standingWords } from "../plan/budget-words.ts";
import { budgetStatusSchema } from "./plan-budget.ts";
import { reportStatus } from "./report-status.ts";
import { providersOf, spentText } from "./task-words.ts";
import { countsSchema, lines, nextLine, taskStateSchema, whySchema } from "./shapes.ts";

const INCLUDES = ["output", "diff", "history", "why"] as const;

const input = z.strictObject({
  plan: z.string().max(64).optional().describe("One plan; left out: all that are open."),
  task: z.string().max(200).optional().describe("One task in full: PLAN/TASK."),
  waitSeconds: z
    .number()
    .min(0)
    .max(45)
    .optional()
    .describe("Answer at the next news, at the latest after this long (0–45)."),
  since: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe("`seq` of your last call: tells, and waits for, only what is newer."),
  include: z
    .array(z.enum(INCLUDES))
    .max(4)
    .optional()
    .describe("Of one task: its agent's last words, its diff, its conversation; why it waits (of a plan's tasks too)."),
  offset: z.number().int().min(0).optional().describe("For more of a long list or text."),
});

const attemptSchema = z.object({
  number: z.number(),
  /** Of the task's workflow, counted from 1. */
  step: z.number(),
  agent: z.string(),
  verdict: z.enum(["approve", "reject"]).nullable(),
  provider: z.string(),
  model: z.string().nullable(),
  state: z.string(),
  outcome: z.string().nullable(),
  cause: z.string().nullable(),
  message: z.string().nullable(),
  session: z.string().nullable(),
  startedAt: z.string(),
  endedAt: z.string().nullable(),
  costUsd: z.number().nullable(),
  /** Of this turn alone; left out when its CLI did not say. */
  tokens: z.object({ input: z.number(), output: z.number(), cached: z.number() }).optional(),
  /** Tools that were denied to the agent. */
  denied: z.array(z.string()),
});

const taskSchema = z.object({
  task: z.string(),
  /** Left out in long lists and where it says no more than the id. */
  title: z.string().optional(),
  state: taskStateSchema,
  /** One line: why it waits or failed, or what it reported. Null in long lists where the state says it all. */
  note: z.string().nullable(),
  /** Since when its agent runs. */
  startedAt: z.string().optional(),
  /** The same for who has no clock: `3 min`. */
  runsFor: z.string().optional(),
  /** Where it is in its workflow: `reviewer, step 2 of 3, round 1`. */
  step: z.string().optional(),
  /** How often a later step of its workflow rejected the work. */
  rejects: z.number().optional(),
  why: whySchema.optional(),
});

const planSchema = z.object({
  plan: z.string(),
  goal: z.string().nullable(),
  target: z.string(),
  state: z.enum(["running", "needs-person", "succeeded", "failed"]),
  paused: z.boolean(),
  createdAt: z.string().optional(),
  counts: countsSchema,
  total: z.number(),
  costUsd: z.number().nullable(),
  /** Left out without one. */
  budget: budgetStatusSchema.optional(),
  tasks: z.array(taskSchema),
  /** Tasks that fit the question but are not listed; ask with `offset`. */
  more: z.number(),
});

const detailSchema = taskSchema.extend({
  plan: z.string(),
  agent: z.string(),
  provider: z.string(),
  /** Where it goes while that one can't take it, in this order. */
  otherProviders: z.array(z.string()).optional(),
  /** What was used up, each for itself: `waits` for a used-up account spend no retry. */
  spent: z.object({
    attempts: z.number(),
    retries: z.number(),
    waits: z.number(),
    continuations: z.number(),
    freshSessions: z.number(),
    repairs: z.number(),
    rounds: z.number(),
  }),
  prompt: z.string(),
  dependsOn: z.array(z.string()),
  writes: z.array(z.string()).nullable(),
  branch: z.string().nullable(),
  worktree: z.string().nullable(),
  mergedSha: z.string().nullable(),
  /** When its work was in the target, or it was done without. */
  endedAt: z.string().optional(),
  report: z.object({ status: z.string(), summary: z.string(), verdict: z.string().optional() }).nullable(),
  verifyOutput: z.string().nullable(),
  attempts: z.array(attemptSchema),
  output: z.string().optional(),
  diff: z.string().optional(),
  /** The task whose agent's conversation goes on in this one. */
  continues: z.string().optional(),
  /** The latest of its conversation, oldest first; the first entry says how to get what came before. */
  history: z.array(z.object({ attempt: z.number(), kind: z.string(), text: z.string(), at: z.string() })).optional(),
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  /** Give it as `since` to the next call. */
  seq: z.number(),
  /** What concerns every plan: a machine that lacks something, an interruption, a state that was lost. */
  notices: z.array(z.string()).optional(),
  /** Open questions of agents, the oldest first. */
  questions: z.array(openQuestionSchema),
  plans: z.array(planSchema),
  task: detailSchema.optional(),
});

export type TaskStatusInput = z.infer<typeof input>;
export type TaskStatusOutput = z.infer<typeof output>;
export type PlanStatus = z.infer<typeof planSchema>;
export type TaskLine = z.infer<typeof taskSchema>;
export type TaskDetail = z.infer<typeof detailSchema>;

export const taskStatus: Operation<TaskStatusInput, TaskStatusOutput> = {
  name: "task_status",
  title: "How plans and tasks stand",
  description:
    "How all open plans, one plan or one task stand: waiting questions first, then what failed or waits, what runs, what is done. With waitSeconds it answers at the next news (a task ended, something waits for you): call it again with `since` until the plan is succeeded, failed or needs-person.",
  audience: "operator",
  isTool: true,
  isReading: true,
  input,
  output,
  run: reportStatus,
  text(result) {
    const parts: (string | null)[] = [result.summary, nextLine(result.next), `seq: ${result.seq}`];
    parts.push(...questionLines(result.questions));
    for (const plan of result.plans) parts.push(planText(plan));
    if (result.task !== undefined) parts.push(detailText(result.task));
    return lines(...parts);
  },
};

function planText(plan: PlanStatus): string {
  const counts = Object.entries(plan.counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`)
    .join(", ");
  const cost = plan.costUsd === null ? "" : `, $${plan.costUsd.toFixed(2)}`;
  const rows = plan.tasks.map(taskText);
  if (plan.more > 0) rows.push(`  … ${plan.more} more: the same call with a larger offset`);
  return [
    `${plan.plan} → ${plan.target}: ${plan.state}${plan.paused ? " (paused)" : ""}; ${counts}${cost}${budgetWords(plan)}`,
    ...rows,
  ].join("\n");
}

/** For people and models: `; budget: 4.70 of 5.00 USD (0.20 more set aside)`. */
function budgetWords({ budget }: PlanStatus): string {
  if (budget === undefined) return "";
  const { limits, used: spent, reserved } = budget;
  return `; budget: ${standingWords({ limits, spent, reserved }) ?? "none"}`;
}

function taskText(task: TaskLine): string {
  const command = task.why?.command == null ? "" : ` [${task.why.command}]`;
  const span = task.runsFor === undefined ? "" : ` for ${task.runsFor}`;
  const step = task.step === undefined ? "" : ` (${task.step})`;
  return `- ${task.task.split("/").slice(1).join("/")} ${task.state}${step}${span}${task.note === null ? "" : `: ${task.note}`}${command}`;
}

function detailText(task: TaskDetail): string {
  return lines(
    `${task.task} (${task.agent}): ${task.state}${task.runsFor === undefined ? "" : ` for ${task.runsFor}`}${task.note === null ? "" : ` — ${task.note}`}`,
    task.why === undefined
      ? null
      : `why: ${task.why.message}${task.why.command === null ? "" : ` [${task.why.command}]`}`,
    task.step === undefined
      ? null
      : `step: ${task.step}${task.rejects === undefined ? "" : `; rejected: ${task.rejects}`}`,
    `provider: ${providersOf(task)}`,
    `spent: ${spentText(task.spent)}`,
    task.branch === null ? null : `branch: ${task.branch}`,
    task.worktree === null ? null : `worktree: ${task.worktree}`,
    task.mergedSha === null ? null : `merged as ${task.mergedSha}`,
    task.report === null ? null : `report (${task.report.status}): ${task.report.summary}`,
    ...task.attempts.map(
      (attempt) =>
        `attempt ${attempt.number} (${attempt.provider}): ${attempt.verdict ?? attempt.outcome ?? attempt.state}${attempt.cause === null ? "" : ` (${attempt.cause})`}${attempt.message === null ? "" : `: ${attempt.message}`}${attempt.denied.length === 0 ? "" : ` (denied: ${attempt.denied.join("; ")})`}`,
    ),
    task.verifyOutput === null ? null : `verify output:\n${task.verifyOutput}`,
    task.output === undefined ? null : `output:\n${task.output}`,
    task.diff === undefined ? null : `diff:\n${task.diff}`,
    ...(task.history ?? []).map((turn) => `[${turn.kind}, attempt ${turn.attempt}] ${turn.text}`),
  );
}
