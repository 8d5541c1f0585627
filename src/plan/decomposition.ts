/**
 * A plan that is only a goal begins with one task, in which the orchestrator role decomposes it. That makes it a task
 * like any other: retried, continued after a crash, seen in the status. Its answer becomes the plan's tasks.
 */
import { z } from "zod";
import { AppError } from "../errors.ts";
import { describeInvalid } from "../invalid-input.ts";
import { checkGraph } from "./graph.ts";
import type { TaskSpec } from "./records.ts";
import { checkNames, normalizeTask, taskInputSchema, type PlanNames, type TaskInput } from "./schema.ts";

export const DECOMPOSE_TASK = "decompose";

export function decomposeTask(goal: string): TaskInput {
  return {
    id: DECOMPOSE_TASK,
    title: "Decompose the goal into tasks",
    agent: "orchestrator",
    writes: [],
    merge: "none",
    verify: [],
    timeoutMinutes: 30,
    prompt:
      "Decompose the goal below into a plan: tasks that other agents carry out, each alone in its own git worktree, in parallel where they can. " +
      "Look at the repository first. Change nothing.\n\n" +
      "Each task needs an `id` (a-z, 0-9, - and _), a `title`, and a `prompt` that tells an agent who sees nothing else exactly what to do and when it is done. " +
      "`dependsOn` names the tasks whose work it needs. `writes` lists globs of the files it will change: tasks that write the same files run one after another. " +
      "`agent` is who does it, by default the coder. Prefer few tasks of a sensible size; add a dependency only where one is needed.\n\n" +
      `The goal:\n${goal}`,
  };
}

/** What the role must answer. */
const decompositionSchema = z.strictObject({
  tasks: z
    .array(
      z.strictObject({
        id: taskInputSchema.shape.id,
        title: taskInputSchema.shape.title.unwrap(),
        prompt: taskInputSchema.shape.prompt,
        agent: z.string().max(64).optional(),
        dependsOn: z.array(z.string().max(64)).optional(),
        // Checked like a person's: an agent's claim must not leave the repository either.
        writes: z.array(taskInputSchema.shape.writes.unwrap().element).optional(),
      }),
    )
    .min(1)
    .max(200),
});

/** The JSON Schema that is given to the agent's CLI. */
export function decompositionJsonSchema(): Record<string, unknown> {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(decompositionSchema, { target: "draft-7", io: "input" });
  return schema;
}

/** The tasks of an answer, or what is wrong with it in words that an agent can act on. */
export function readDecomposition(
  answer: unknown,
  names: PlanNames,
): { readonly ok: true; readonly tasks: readonly TaskSpec[] } | { readonly ok: false; readonly problem: string } {
  const parsed = decompositionSchema.safeParse(answer);
  if (!parsed.success) {
    const problems = describeInvalid(parsed.error, decompositionSchema, "the answer", answer).map(
      (problem) => problem.message,
    );
    return { ok: false, problem: problems.slice(0, 10).join("; ") };
  }
  const tasks = parsed.data.tasks.map((task) => normalizeTask(task, names.workflows));
  if (tasks.some((task) => task.id === DECOMPOSE_TASK)) {
    return { ok: false, problem: `no task may have the id "${DECOMPOSE_TASK}"` };
  }
  try {
    checkGraph(tasks);
    checkNames(tasks, names);
    return { ok: true, tasks };
  } catch (thrown) {
    if (thrown instanceof AppError) return { ok: false, problem: thrown.message };
    throw thrown;
  }
}
