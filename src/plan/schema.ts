/**
 * The plan as people and parents submit it (DESIGN section 4): checked, defaults filled in, nothing looked up outside.
 * `parsePlan` is the only way in; what it answers is a graph without a cycle whose names are all safe.
 */
import { z } from "zod";
import { AppError } from "../errors.ts";
import { describeInvalid } from "../invalid-input.ts";
import { nearestName } from "../nearest-name.ts";
import { checkGraph } from "./graph.ts";
import type { Budget, TaskSpec } from "./records.ts";

/** Also a part of branch and folder names, hence the care: no `..`, no `.lock`, no dot at the end, 64 characters. */
export const TASK_ID_PATTERN = /^[a-z0-9](?:[a-z0-9_-]|\.(?!\.|lock$|$)){0,63}$/;

/** A prompt of a megabyte is fine (it goes over stdin); beyond this Codex refuses and nobody reads it. */
export const MAX_PROMPT_CHARACTERS = 1_048_576;
const MAX_TASKS = 100_000;
const MAX_DEPENDENCIES = 10_000;

// eslint-disable-next-line no-control-regex -- the point is to refuse it
const NUL = /\u0000/;

const text = (max: number): z.ZodString =>
  z
    .string()
    .max(max, { error: `at most ${max.toLocaleString("en")} characters` })
    .refine((value) => !NUL.test(value), { error: "must not hold a NUL character" });

const taskIdSchema = z
  .string()
  .regex(TASK_ID_PATTERN, {
    error:
      "a task id is 1–64 characters of a-z, 0-9, `_`, `-` and `.`, begins with a letter or digit, and has no `..`, no `.` and no `.lock` at its end",
  })
  .describe("Unique in the plan: a-z 0-9 _ - .");

const claimSchema = text(1024)
  .refine((value) => value.trim() !== "", { error: "a claim must not be empty" })
  .refine((value) => !value.startsWith("/") && !/^[A-Za-z]:[\\/]/.test(value) && !value.startsWith("~"), {
    error: "a claim is a glob relative to the repository's root, not an absolute path",
  })
  .refine((value) => !value.split(/[\\/]/).includes(".."), {
    error: "a claim must not leave the repository with `..`",
  });

const positive = (max: number): z.ZodNumber => z.number().positive().max(max);

export const taskInputSchema = z.strictObject({
  id: taskIdSchema,
  title: text(200).optional().describe("One line for people."),
  prompt: text(MAX_PROMPT_CHARACTERS)
    .refine((value) => value.trim() !== "", { error: "a prompt must not be empty" })
    .describe(
      "All the agent is told, besides the goal and what its dependencies reported. For `command`: the shell command.",
    ),
  agent: text(64)
    .optional()
    .describe("A role: coder (default), reviewer, tester, command (a shell), or one of the config."),
  dependsOn: z.array(text(64)).max(MAX_DEPENDENCIES).optional().describe("Ids of tasks whose merged work it needs."),
  writes: z
    .array(claimSchema)
    .max(1000)
    .optional()
    .describe(
      "Globs of files it will change: tasks that overlap never run together. [] = none; left out = unknown, nothing is kept apart.",
    ),
  onFailure: z
    .enum(["hard", "soft", "skip"])
    .optional()
    .describe("Its dependents then: hard (default): blocked · soft: may run · skip: it counts as done."),
  workflow: text(64)
    .optional()
    .describe("Steps before it merges, of the config: `standard` is coder → reviewer → tester."),
  verify: z
    .array(text(10_000))
    .max(50)
    .optional()
    .describe("Shell commands that must pass after merging; default: the config's."),
  merge: z
    .enum(["auto", "manual", "none"])
    .optional()
    .describe("auto (default) · manual: waits for control merge · none: keeps the branch."),
  timeoutMinutes: positive(60 * 24 * 7)
    .optional()
    .describe("Of one attempt; default 60."),
  priority: z.number().int().min(-1000).max(1000).optional().describe("Higher starts first."),
  retries: z
    .number()
    .int()
    .min(0)
    .max(100)
    .optional()
    .describe("For causes that may pass; default 3, for a failed command 0."),
});

export type TaskInput = z.infer<typeof taskInputSchema>;

export const budgetSchema = z.strictObject({
  usd: positive(1_000_000).optional(),
  tokens: positive(1e12).int().optional(),
  minutes: positive(60 * 24 * 365).optional(),
});
export type BudgetInput = z.infer<typeof budgetSchema>;

export const planInputSchema = z.strictObject({
  $schema: text(1000).optional().meta({ isHidden: true }),
  name: text(64)
    .refine((value) => TASK_ID_PATTERN.test(value), {
      error: "a plan's name is written like a task id: a-z, 0-9, `_`, `-`, `.`, at most 64 characters",
    })
    .optional()
    .describe("The same name again continues that plan: what ended well and is unchanged is kept."),
  goal: text(100_000).optional().describe("What all of it is for; every agent is told."),
  target: text(250).optional().describe("Branch to merge into; default: the one checked out."),
  maxConcurrent: z.number().int().min(1).max(1000).optional().describe("Agents at once."),
  budget: budgetSchema
    .optional()
    .describe(
      "Most that its agents use in all: US dollars; tokens in (cached too) and out; minutes, summed. What would go over is not started.",
    ),
  proposals: z
    .enum(["ask", "auto", "off"])
    .optional()
    .describe("What becomes of tasks that its agents propose; default: the config's (ask)."),
  tasks: z
    .array(taskInputSchema)
    .min(1, { error: "a plan needs at least one task" })
    .max(MAX_TASKS, { error: `at most ${MAX_TASKS.toLocaleString("en")} tasks` }),
});

export type PlanInput = z.infer<typeof planInputSchema>;

export interface PlanDraft {
  readonly name: string | null;
  readonly goal: string | null;
  readonly target: string | null;
  readonly maxConcurrent: number | null;
  readonly budget: Budget;
  readonly tasks: readonly TaskSpec[];
  /** Task ids in dependency order. */
  readonly order: readonly string[];
}

export interface PlanNames {
  /** Roles of the config. */
  readonly agents: readonly string[];
  readonly workflows: Readonly<Record<string, NamedWorkflow>>;
}

/** A workflow of the config, as far as a plan's check needs it. */
export interface NamedWorkflow {
  readonly steps: readonly { readonly agent: string }[];
}

/**
 * Checks a submitted plan. Throws PLAN_INVALID (details.problems: every problem found), PLAN_DUPLICATE_TASK,
 * PLAN_UNKNOWN_DEPENDENCY, PLAN_CYCLE or PLAN_UNKNOWN_AGENT. `where` names the plan in messages (a file, or "the plan").
 */
export function parsePlan(value: unknown, names: PlanNames, where = "the plan"): PlanDraft {
  const parsed = planInputSchema.safeParse(value);
  if (!parsed.success) throw invalidPlan(parsed.error, value, where);
  const input = parsed.data;
  const tasks = input.tasks.map((task) => normalizeTask(task, names.workflows));
  const order = checkGraph(tasks);
  checkNames(tasks, names);
  return {
    name: input.name ?? null,
    goal: input.goal ?? null,
    target: input.target ?? null,
    maxConcurrent: input.maxConcurrent ?? null,
    budget: {
      usd: input.budget?.usd ?? null,
      tokens: input.budget?.tokens ?? null,
      minutes: input.budget?.minutes ?? null,
    },
    tasks,
    order,
  };
}

/** Fills in what a task left out. Who does it, where only a workflow is named, is whom the workflow's first step names. */
export function normalizeTask(input: TaskInput, workflows: PlanNames["workflows"] = {}): TaskSpec {
  const named =
    input.workflow !== undefined && Object.hasOwn(workflows, input.workflow) ? workflows[input.workflow] : null;
  return {
    id: input.id,
    title: input.title?.trim() || input.id,
    prompt: input.prompt,
    agent: input.agent ?? named?.steps[0]?.agent ?? "coder",
    dependsOn: [...new Set(input.dependsOn ?? [])],
    writes: input.writes ?? null,
    onFailure: input.onFailure ?? "hard",
    workflow: input.workflow ?? null,
    verify: input.verify ?? null,
    merge: input.merge ?? "auto",
    timeoutMinutes: input.timeoutMinutes ?? 60,
    priority: input.priority ?? 0,
    retries: input.retries ?? null,
    continues: null,
  };
}

/** Throws PLAN_UNKNOWN_AGENT or PLAN_INVALID for a role or workflow that the config does not have. */
export function checkNames(tasks: readonly TaskSpec[], names: PlanNames): void {
  const agents = new Set(names.agents);
  const workflows = Object.keys(names.workflows);
  for (const task of tasks) {
    if (!agents.has(task.agent)) {
      const near = nearestName(task.agent, agents);
      throw new AppError(
        "PLAN_UNKNOWN_AGENT",
        `task "${task.id}" wants the agent "${task.agent}", which the config does not have` +
          (near === null ? "" : `; did you mean "${near}"?`) +
          `. Known: ${[...agents].join(", ")}.`,
        { details: { task: task.id, agent: task.agent } },
      );
    }
    if (task.workflow !== null && !workflows.includes(task.workflow)) {
      const near = nearestName(task.workflow, workflows);
      throw new AppError(
        "PLAN_INVALID",
        `task "${task.id}" wants the workflow "${task.workflow}", which the config does not have` +
          (near === null ? "" : `; did you mean "${near}"?`) +
          `. Known: ${workflows.join(", ")}.`,
        { details: { task: task.id, workflow: task.workflow } },
      );
    }
  }
}

function invalidPlan(error: z.ZodError, value: unknown, where: string): AppError {
  const problems = describeInvalid(error, planInputSchema, where, value);
  const shown = problems.slice(0, 5).map((problem) => problem.message);
  const more = problems.length > shown.length ? ` (and ${problems.length - shown.length} more)` : "";
  return new AppError("PLAN_INVALID", `${shown.join("; ")}${more}`, {
    details: { problems: problems.slice(0, 50).map((problem) => problem.message) },
  });
}
