/** Tasks that an agent proposes when it reports: a task like any other, in the few fields that an agent may fill. Pure. */
import { z } from "zod";
import type { TaskRecord, TaskSpec } from "./records.ts";
import { freeId, slugOf } from "./plan-id.ts";
import { normalizeTask, taskInputSchema, type PlanNames } from "./schema.ts";

/** No `verify`, `merge`, deadline or retries: those are the plan's maker's to say. Ids are made from titles. */
export const proposalSchema = z.strictObject({
  title: taskInputSchema.shape.title,
  prompt: taskInputSchema.shape.prompt,
  agent: taskInputSchema.shape.agent,
  dependsOn: taskInputSchema.shape.dependsOn.describe("Ids of the plan's tasks; left out: your own task."),
  writes: taskInputSchema.shape.writes,
  workflow: taskInputSchema.shape.workflow,
});

export type Proposal = z.infer<typeof proposalSchema>;

const MAX_TITLE = 80;

/**
 * The tasks that `proposals` make, without those that this task proposed before: an agent that reports again, after a
 * reject or a restart, mostly proposes the same again. The same title is the same proposal.
 */
export function specsOfProposals(
  proposer: TaskRecord,
  existing: readonly TaskRecord[],
  proposals: readonly Proposal[],
  workflows: PlanNames["workflows"],
): TaskSpec[] {
  const taken = new Set(existing.map(({ id }) => id));
  const titles = new Set(existing.filter(({ proposedBy }) => proposedBy === proposer.id).map(({ spec }) => spec.title));
  const specs: TaskSpec[] = [];
  for (const { title: given, prompt, agent, dependsOn, writes, workflow } of proposals) {
    const title = titleOf(given, prompt);
    if (titles.has(title)) continue;
    titles.add(title);
    const id = freeId(slugOf(title), (candidate) => taken.has(candidate));
    taken.add(id);
    const fields = { agent, writes, workflow };
    const input = { id, title, prompt, dependsOn: dependsOn ?? [proposer.id], ...withoutUndefined(fields) };
    specs.push(normalizeTask(input, workflows));
  }
  return specs;
}

/** How many proposals led to this task: 0 for one of a person or a parent. */
export function depthOf(task: TaskRecord, find: (id: string) => TaskRecord | null): number {
  let depth = 0;
  const seen = new Set<string>();
  for (let current: TaskRecord | null = task; current?.proposedBy != null && !seen.has(current.id); depth += 1) {
    seen.add(current.id);
    current = find(current.proposedBy);
  }
  return depth;
}

function titleOf(title: string | undefined, prompt: string): string {
  const given = title?.trim() ?? "";
  const [first = ""] = (given === "" ? prompt : given).trim().split("\n");
  return given !== "" || first.length <= MAX_TITLE ? first : `${first.slice(0, MAX_TITLE)}…`;
}

function withoutUndefined<Fields extends object>(fields: Fields): { [Key in keyof Fields]?: NonNullable<Fields[Key]> } {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [Key in keyof Fields]?: NonNullable<Fields[Key]> };
}
