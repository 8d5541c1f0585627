/** What is said of a plan that was made, and of one that only would be. */
import type { CreatePlanOutput } from "../operations/create-plan.ts";
import { providersOf } from "../operations/task-words.ts";
import { forecastLines } from "../plan/budget-words.ts";
import { styled, type Line } from "./styled.ts";

type Task = CreatePlanOutput["tasks"][number];

export function renderCreated(created: Pick<CreatePlanOutput, "summary" | "warnings">): Line[] {
  return [[created.summary], ...warnings(created.warnings)];
}

export function renderDryRun(created: CreatePlanOutput): Line[] {
  const lines: Line[] = [
    [created.summary],
    ...warnings(created.warnings),
    [`target: ${created.target}`],
    [`at once: ${created.maxConcurrent}`],
    [`verify: ${created.verify.length === 0 ? "nothing" : created.verify.join(" && ")}`],
    ...(created.budget === undefined ? [] : forecastLines(created.budget).map((line): Line => [line])),
    [`longest path: ${created.longestPath.join(" → ")}`],
    ["in this order:"],
  ];
  for (const task of created.tasks) {
    const model = task.model === null ? "" : ` ${task.model}`;
    const after = task.dependsOn.length === 0 ? "" : `, after ${task.dependsOn.join(", ")}`;
    lines.push([
      "  ",
      styled(task.id, "bold"),
      `: ${task.agent} (${providersOf(task, model)}, ${task.permissions})${(task.laterSteps ?? []).map(laterStep).join("")}${after}`,
    ]);
  }
  const left = created.total - created.tasks.length;
  if (left > 0) lines.push([`  … and ${left} more`]);
  return lines;
}

function laterStep(step: NonNullable<Task["laterSteps"]>[number]): string {
  return ` → ${step.agent} (${providersOf(step, step.model === null ? "" : ` ${step.model}`)}, ${step.permissions})`;
}

function warnings(texts: readonly string[]): Line[] {
  return texts.map((text): Line => [styled("warning:", "yellow"), ` ${text}`]);
}
