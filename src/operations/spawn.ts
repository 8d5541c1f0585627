/** spawn_agent: one more task, in a plan that is there or in one of its own; or a message to an agent that is there. */
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import { freeId, slugOf } from "../plan/plan-id.ts";
import type { TaskInput } from "../plan/schema.ts";
import { editPlan } from "./edit-plan.ts";
import { nextCall } from "./next-call.ts";
import type { ActingCall } from "./operation.ts";
import type { SpawnAgentInput, SpawnAgentOutput } from "./spawn-agent.ts";
import { submitPlan } from "./submit-plan.ts";
import { tellAgent } from "./tell-agent.ts";

export async function spawn(app: App, value: SpawnAgentInput, call: ActingCall): Promise<SpawnAgentOutput> {
  if (value.task !== undefined) return await tellAgent(app, value, call);
  const { plan, key: _key, target, task: _task, ...input } = value;
  if (plan === undefined) return await spawnAlone(app, input, target, call);
  if (target !== undefined)
    throw new AppError("INPUT_INVALID", "`target` is for a plan of its own; this one has its target already");
  const planId = await app.openPlan(plan);
  const id =
    input.id ?? freeId(slugOf(input.title ?? input.prompt), (taken) => app.parts.board.plan(planId).nodes.has(taken));
  // The edit's answer is what is stored under the key, so it is made to say all that this one says.
  let answer: SpawnAgentOutput | null = null;
  const edited = await editPlan(
    app,
    { plan: planId, add: [{ ...input, id }] },
    {
      ...call,
      commit: (work) => {
        const stored = call.commit(() => {
          const result = work();
          const warnings = "warnings" in result ? (result.warnings as string[]) : [];
          return outputOf(app, planId, id, warnings);
        });
        answer = stored;
        return stored as unknown as ReturnType<typeof work>;
      },
    },
  );
  return answer ?? outputOf(app, planId, id, edited.warnings);
}

async function spawnAlone(
  app: App,
  input: Omit<TaskInput, "id"> & { id?: string | undefined },
  target: string | undefined,
  call: ActingCall,
): Promise<SpawnAgentOutput> {
  if ((input.dependsOn ?? []).length > 0) {
    throw new AppError("INPUT_INVALID", "`dependsOn` names tasks of a plan: say which one with `plan`");
  }
  const id = input.id ?? slugOf(input.title ?? input.prompt);
  let answer: SpawnAgentOutput | null = null;
  const created = await submitPlan(
    app,
    { tasks: [{ ...input, id }], ...(target === undefined ? {} : { target }) },
    {
      ...call,
      commit: (work) => {
        const stored = call.commit(() => {
          const result = work();
          const planId = "plan" in result && typeof result.plan === "string" ? result.plan : "";
          return outputOf(app, planId, id, "warnings" in result ? (result.warnings as string[]) : []);
        });
        answer = stored;
        return { ...stored } as unknown as ReturnType<typeof work>;
      },
    },
  );
  return answer ?? outputOf(app, created.plan, id, created.warnings);
}

function outputOf(app: App, plan: string, id: string, warnings: readonly string[]): SpawnAgentOutput {
  return {
    summary: `Agent for ${plan}/${id} is on its way.`,
    next: nextCall(app, plan, `${plan}/${id}`),
    plan,
    task: `${plan}/${id}`,
    warnings: [...warnings],
  };
}
