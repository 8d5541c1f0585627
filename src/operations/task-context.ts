import { z } from "zod";
import type { App } from "../app.ts";
import { taskKey } from "../plan/records.ts";
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
  }),
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
    },
    goal: plan.record.goal,
    dependencies,
    others,
  };
}
