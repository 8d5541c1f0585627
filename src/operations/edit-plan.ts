/** update_plan: what has not started may change while the rest runs on. */
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import type { TaskSpec } from "../plan/records.ts";
import { checkNames, normalizeTask } from "../plan/schema.ts";
import { applyEdit, checkEdit, type PlanEdit } from "../scheduler/submit.ts";
import { nextCall } from "./next-call.ts";
import { checkWorkflows, workflowOf } from "../scheduler/workflow-of.ts";
import type { ActingCall } from "./operation.ts";
import { warningsFor } from "./submit-plan.ts";
import type { UpdatePlanInput, UpdatePlanOutput } from "./update-plan.ts";

export async function editPlan(app: App, value: UpdatePlanInput, call: ActingCall): Promise<UpdatePlanOutput> {
  const planId = await app.openPlan(value.plan);
  const settings = app.settingsOfPlan(planId);
  const names = { agents: Object.keys(settings.plan.roles), workflows: settings.plan.workflows };
  const add = (value.add ?? []).map((task) => normalizeTask(task, names.workflows));
  if (add.length === 0 && (value.change ?? []).length === 0 && (value.drop ?? []).length === 0) {
    throw new AppError("INPUT_INVALID", "nothing to change: give `add`, `change` or `drop`");
  }
  const editOf = (): PlanEdit => ({
    add,
    change: (value.change ?? []).map((change) => merged(app, planId, change)),
    drop: value.drop ?? [],
  });
  const edit = editOf();
  const touched = [...edit.add, ...edit.change];
  checkNames(touched, names);
  checkWorkflows(settings.plan, touched);
  await app.checkAgents(settings, touched);
  return call.commit(() => {
    // Checked inside: between a check and its change nothing else may run.
    const current = editOf();
    checkEdit(app.parts, planId, current);
    applyEdit(app.parts, planId, current, (task) => workflowOf(settings.plan, task));
    const count = `${add.length} added, ${current.change.length} changed, ${current.drop.length} dropped`;
    return {
      summary: `Plan ${planId}: ${count}.`,
      next: nextCall(app, planId),
      plan: planId,
      added: add.map((task) => task.id),
      changed: current.change.map((task) => task.id),
      dropped: [...current.drop],
      warnings: warningsFor(touched, settings),
    };
  });
}

/** The task as it is with the given fields changed. Throws TASK_NOT_FOUND. */
function merged(app: App, planId: string, change: NonNullable<UpdatePlanInput["change"]>[number]): TaskSpec {
  const node = app.parts.board.plan(planId).nodes.get(change.id);
  if (node === undefined) throw new AppError("TASK_NOT_FOUND", `plan "${planId}" has no task "${change.id}"`);
  const { spec } = node.record;
  const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  return { ...spec, ...given };
}
