import { z } from "zod";
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import { controlPlan, controlTask, isUnderWay, TASK_ACTIONS, type TaskAction } from "../plan/controls.ts";
import type { TaskKey } from "../plan/records.ts";
import type { ActingCall, Operation } from "./operation.ts";
import { KEY, nextLine } from "./shapes.ts";

const input = z.strictObject({
  action: z
    .enum(TASK_ACTIONS)
    .describe(
      "pause (ends the agent, keeps worktree and session) · resume · cancel · retry (failed, cancelled, or waiting for what a new attempt may clear: not for a lock, approval, merge by hand or resume) · skip (counts as done) · merge (what waits to be merged) · approve · release (frees a waiting task's write claim)",
    ),
  plan: z.string().max(64).optional().describe("A whole plan."),
  task: z.string().max(200).optional().describe("One task: PLAN/TASK."),
  key: KEY,
});

const output = z.object({
  summary: z.string(),
  next: z.string(),
  action: z.enum(TASK_ACTIONS),
  plan: z.string(),
  /** Tasks it was carried out on, PLAN/TASK, with the state they have now. */
  tasks: z.array(z.object({ task: z.string(), state: z.string() })),
});

export type ControlInput = z.infer<typeof input>;
export type ControlOutput = z.infer<typeof output>;

export const control: Operation<ControlInput, ControlOutput> = {
  name: "control",
  title: "Steer a plan or a task",
  description:
    'Steers a plan or a task. task_status with include: ["why"] names the action that clears each wait; skip and release take a task.',
  audience: "operator",
  isTool: true,
  isReading: false,
  input,
  output,
  run: steer,
  text: (result) =>
    [
      result.summary,
      nextLine(result.next),
      ...result.tasks.slice(0, 20).map(({ task, state }) => `- ${task}: ${state}`),
    ].join("\n"),
};

async function steer(app: App, value: ControlInput, call: ActingCall): Promise<ControlOutput> {
  const { action } = value;
  if ((value.plan === undefined) === (value.task === undefined)) {
    throw new AppError("INPUT_INVALID", "give either `plan` or `task`: a whole plan, or one task of it");
  }
  const { board, clock } = app.parts;
  if (value.plan !== undefined) {
    const planId = await app.openPlan(value.plan);
    return call.commit(() => {
      const keys = controlPlan(board, planId, action, clock.nowMs());
      app.savePlan(planId);
      const count = `${keys.length} ${keys.length === 1 ? "task" : "tasks"}`;
      const isOnPlan = action === "pause" || action === "resume";
      const done =
        keys.length > 0
          ? `${action}: plan ${planId} (${count})`
          : isOnPlan
            ? `${action}: plan ${planId}`
            : `nothing to ${action} in plan ${planId}`;
      return answer(app, action, planId, keys, done);
    });
  }
  const key = await app.findTask(value.task ?? "");
  return call.commit(() => {
    const node = board.node(key);
    // Where its providers are shut that has one asked at once, which is what was wished.
    const isHeldUp = board.obstacle(node, clock.nowMs())?.type === "provider-gate";
    const wentAlready = action === "retry" && isUnderWay(node) && !(isHeldUp && node.record.state === "ready");
    controlTask(board, key, action, clock.nowMs());
    const done = wentAlready ? `${key} is under way already` : `${action} carried out on ${key}`;
    return answer(app, action, board.node(key).record.planId, [key], done);
  });
}

function answer(app: App, action: TaskAction, plan: string, keys: readonly TaskKey[], done: string): ControlOutput {
  const { board } = app.parts;
  const tasks = keys.slice(0, 200).map((task) => {
    const { record } = board.node(task);
    return { task, state: record.wish === null ? record.state : `${record.state} (will ${record.wish})` };
  });
  const states = tasks.length === 1 ? `: now ${tasks[0]?.state ?? ""}` : "";
  return {
    summary: `${done}${states}.`,
    next: `task_status ${JSON.stringify({ plan, waitSeconds: 45 })}`,
    action,
    plan,
    tasks,
  };
}
