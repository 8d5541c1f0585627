/**
 * The steps of a task's workflow. The first step does the task; each later one judges what is on the branch and must
 * give a verdict: `approve` goes on to the next step, `reject` back to the first, whose repair is judged by all later
 * steps again. All steps work on one branch in one worktree, one at a time, each in a session and a slot of its own.
 */
import type { Step, TaskRecord } from "./records.ts";

export interface Verdict {
  readonly type: "approve" | "reject";
  /** Why, for the agent that mends it and for people. */
  readonly words: string;
}

export function stepOf(task: Pick<TaskRecord, "workflow" | "step">): Step {
  const step = task.workflow.steps[task.step];
  if (step === undefined) throw new Error(`a workflow of ${task.workflow.steps.length} steps has no step ${task.step}`);
  return step;
}

/** Every step after the first judges. */
export function isReview(task: Pick<TaskRecord, "step">): boolean {
  return task.step > 0;
}

/** Only while the task is in no queue and holds no slot, which go by its provider: `Places.move` does it in between. */
export function goToStep(record: TaskRecord, step: number): void {
  record.step = step;
  record.provider = record.workflow.steps[step]?.provider ?? record.provider;
}

/** Under which name a step's conversation is kept: two steps of one role are two agents. */
export function sessionNameOf({ workflow, step }: Pick<TaskRecord, "workflow" | "step">): string {
  const { agent } = stepOf({ workflow, step });
  const first = workflow.steps.findIndex((other) => other.agent === agent);
  return first === step ? agent : `${agent}#${step + 1}`;
}

/** "reviewer, step 2 of 3, round 1": what people read; null for a task of one step. */
export function describeStep({
  workflow,
  step,
  ledger,
}: Pick<TaskRecord, "workflow" | "step" | "ledger">): string | null {
  if (workflow.steps.length < 2) return null;
  const { agent } = stepOf({ workflow, step });
  return `${agent}, step ${step + 1} of ${workflow.steps.length}, round ${ledger.rounds + 1}`;
}

/** How long a task takes as far as is known: the mean durations of its steps' roles, one after the other. */
export function weigher(means: ReadonlyMap<string, number>): (task: TaskRecord | undefined) => number {
  return (task) => task?.workflow.steps.reduce((sum, { agent }) => sum + (means.get(agent) ?? 1), 0) ?? 1;
}
