/** Which steps a task goes through: its role alone, or its workflow's, resolved to providers. */
import { AppError } from "../errors.ts";
import type { Step, TaskSpec, Workflow } from "../plan/records.ts";
import type { PlanSettings } from "./settings.ts";

/** The role of the first step is the task's own `agent`: a workflow tells what comes behind it. */
export function workflowOf(settings: PlanSettings, spec: TaskSpec): Workflow {
  const first = stepFor(settings, spec.agent, null);
  const named = spec.workflow === null ? undefined : settings.workflows[spec.workflow];
  if (named === undefined) return { steps: [first], maxRounds: 0 };
  const later = named.steps.slice(1).map(({ agent, prompt }) => stepFor(settings, agent, prompt));
  return { steps: [first, ...later], maxRounds: named.maxRounds };
}

function stepFor(settings: PlanSettings, agent: string, prompt: string | null): Step {
  const { provider = "", otherProviders = [] } = settings.roles[agent] ?? {};
  return { agent, provider, ...(otherProviders.length === 0 ? {} : { otherProviders }), prompt };
}

/** Throws PLAN_INVALID for a step that runs a command and has none: the task's prompt is the first step's. */
export function checkWorkflows(settings: PlanSettings, specs: readonly TaskSpec[]): void {
  for (const spec of specs) {
    for (const [index, step] of workflowOf(settings, spec).steps.entries()) {
      const isCommand = settings.providers[step.provider]?.kind === "command";
      if (index === 0 || !isCommand || step.prompt !== null) continue;
      throw new AppError(
        "PLAN_INVALID",
        `task "${spec.id}": step ${index + 1} of workflow "${spec.workflow ?? ""}" is the role "${step.agent}", which runs commands, and has no command: give the step a \`prompt\` in the config, such as "npm test"`,
        { details: { task: spec.id, workflow: spec.workflow, step: index + 1 } },
      );
    }
  }
}
