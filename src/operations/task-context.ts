import { z } from "zod";
import type { App } from "../app.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import { stepOf } from "../plan/workflow.ts";
import { verdictsIn } from "../scheduler/review.ts";
import { branchOf } from "../scheduler/task-place.ts";
import type { ActingCall, Operation } from "./operation.ts";
import { satelliteOf } from "./satellite-caller.ts";
import { lines } from "./shapes.ts";

const input = z.strictObject({});

const output = z.object({
  summary: z.string(),
  task: z.object({
    task: z.string(),
    title: z.string(),
    prompt: z.string(),
    branch: z.string(),
    target: z.string(),
    writes: z.array(z.string()).nullable(),
    attempt: z.number(),
    /** The commit that the task's branch began at: `git diff <base>...HEAD` shows the work. */
    base: z.string().nullable(),
  }),
  /** Your place in the task's workflow; null where it has one step. */
  step: z
    .object({
      number: z.number(),
      of: z.number(),
      agent: z.string(),
      round: z.number(),
      /** What is to be done in this step besides; null for the first, whose prompt is the task's. */
      instructions: z.string().nullable(),
      /** What the first step reported. */
      reported: z.string().nullable(),
      /** Verdicts so far, the last at the end. */
      verdicts: z.array(z.object({ agent: z.string(), round: z.number(), verdict: z.string(), words: z.string() })),
    })
    .nullable(),
  goal: z.string().nullable(),
  dependencies: z.array(
    z.object({
      task: z.string(),
      title: z.string(),
      state: z.string(),
      /** What it reported. */
      summary: z.string().nullable(),
      /** Its branch, where its work is not in yours (it failed, or was not merged). */
      branch: z.string().nullable(),
    }),
  ),
  /** Who else works now, and where. */
  others: z.array(z.object({ task: z.string(), title: z.string(), writes: z.array(z.string()).nullable() })),
});

export type TaskContextOutput = z.infer<typeof output>;

export const taskContext: Operation<z.infer<typeof input>, TaskContextOutput> = {
  name: "task_context",
  title: "Your task and its surroundings",
  description:
    "Tells your own task, the goal of the whole plan, what the tasks before yours reported, and who else is working where.",
  audience: "satellite",
  isTool: true,
  isReading: true,
  input,
  output,
  run: (app, _value, call) => Promise.resolve(contextOf(app, call)),
  text: (result) =>
    lines(
      result.summary,
      result.goal === null ? null : `goal: ${result.goal}`,
      `task ${result.task.task} (${result.task.title}) on ${result.task.branch}, attempt ${result.task.attempt}`,
      result.task.prompt,
      ...stepLines(result),
      ...result.dependencies.map(
        (dependency) =>
          `before you: ${dependency.task} (${dependency.state}): ${dependency.summary ?? "no report"}${dependency.branch === null ? "" : ` [branch ${dependency.branch}]`}`,
      ),
      ...result.others.map(
        (other) =>
          `now working: ${other.task}: ${other.title}${other.writes === null ? "" : ` (${other.writes.join(", ")})`}`,
      ),
    ),
};

const MAX_OTHERS = 50;

function contextOf(app: App, call: ActingCall): TaskContextOutput {
  const { planId, taskId } = satelliteOf(app, call);
  const { board, store } = app.parts;
  const node = board.node(`${planId}/${taskId}`);
  const { record, plan } = node;
  const work = store.tasks.listWork(planId);
  const dependencies = node.dependencies.map((dependency) => ({
    task: taskKey(dependency.record),
    title: dependency.record.spec.title,
    state: dependency.record.state,
    summary: work.get(dependency.record.id)?.report?.summary ?? null,
    branch: dependency.record.mergedSha === null ? (work.get(dependency.record.id)?.branch ?? null) : null,
  }));
  const others: TaskContextOutput["others"] = [];
  for (const other of board.plans()) {
    if (other.running === 0) continue;
    for (const candidate of other.nodes.values()) {
      if (candidate === node || candidate.record.state !== "running" || others.length >= MAX_OTHERS) continue;
      const { spec } = candidate.record;
      others.push({
        task: taskKey(candidate.record),
        title: spec.title,
        writes: spec.writes === null ? null : [...spec.writes],
      });
    }
  }
  return {
    summary: `You carry out task ${taskId} of plan ${planId}.`,
    task: {
      task: taskKey(record),
      title: record.spec.title,
      prompt: record.spec.prompt,
      branch: branchOf(record),
      target: plan.record.target,
      writes: record.spec.writes === null ? null : [...record.spec.writes],
      attempt: record.ledger.attempts,
      base: work.get(taskId)?.baseSha ?? null,
    },
    step: stepIn(app, record, work.get(taskId)?.report?.summary ?? null),
    goal: plan.record.goal,
    dependencies,
    others,
  };
}

function stepIn(app: App, record: TaskRecord, reported: string | null): TaskContextOutput["step"] {
  const { steps } = record.workflow;
  if (steps.length < 2) return null;
  const { agent, prompt } = stepOf(record);
  const verdicts = verdictsIn(app.parts.store.attempts.listByTask(record.planId, record.id));
  const rejects = verdicts.filter(({ verdict }) => verdict === "reject").length;
  return {
    number: record.step + 1,
    of: steps.length,
    agent,
    round: rejects + 1,
    instructions: prompt,
    reported,
    verdicts,
  };
}

function stepLines({ step, task }: TaskContextOutput): string[] {
  if (step === null) return [];
  return [
    `you are the ${step.agent}: step ${step.number} of ${step.of}, round ${step.round}`,
    ...(step.instructions === null ? [] : [`your step is for: ${step.instructions}`]),
    ...(step.number === 1 || step.reported === null ? [] : [`what was reported of the work: ${step.reported}`]),
    ...(task.base === null ? [] : [`the work: git diff ${task.base}...HEAD`]),
    ...step.verdicts.map(({ agent, round, verdict, words }) => `round ${round}, ${agent}: ${verdict}: ${words}`),
  ];
}
