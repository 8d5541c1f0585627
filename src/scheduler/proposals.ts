/**
 * What becomes of tasks that agents propose. They are checked when they are reported, so that the agent can mend them,
 * and join the plan in the transaction of the attempt's good end: a report that is replaced, or repeated after a
 * restart, adds nothing twice.
 */
import { z } from "zod";
import { AppError } from "../errors.ts";
import { depthOf, proposalSchema, specsOfProposals, type Proposal } from "../plan/proposal.ts";
import { taskKey, type TaskRecord, type TaskSpec } from "../plan/records.ts";
import { checkNames } from "../plan/schema.ts";
import type { Parts } from "./parts.ts";
import { latestReport } from "./review.ts";
import type { PlanSettings } from "./settings.ts";
import { applyEdit, checkEdit } from "./submit.ts";
import { checkWorkflows, workflowOf } from "./workflow-of.ts";

/** Throws what a plan with these tasks would throw, or INPUT_INVALID for too many. Answers what will become of them. */
export function checkProposals(parts: Parts, task: TaskRecord, proposals: readonly Proposal[]): string {
  const settings = parts.settingsOf(task.planId);
  const why = whyNot(parts, task, settings);
  if (why !== null) return `Your proposals stay in your report: ${why}.`;
  const specs = specsOf(parts, task, settings, proposals);
  checkNames(specs, { agents: Object.keys(settings.roles), workflows: settings.workflows });
  checkWorkflows(settings, specs);
  checkEdit(parts, task.planId, { add: specs, change: [], drop: [] });
  const { maxPerTask } = settings.proposals;
  const total = proposedBy(parts, task).length + specs.length;
  if (total > maxPerTask) {
    throw new AppError(
      "INPUT_INVALID",
      `followUps: one task may propose ${maxPerTask} tasks (proposals.maxPerTask), these would make ${total}: report again with the most important ones`,
    );
  }
  const count = `${specs.length} proposed ${specs.length === 1 ? "task" : "tasks"}`;
  const asked = specs.filter((spec) => mustAsk(settings, spec)).length;
  if (specs.length === 0) return "All of your proposals are in the plan already.";
  return asked === 0
    ? `${count} will join the plan when your task's turn has ended.`
    : `${count} will wait for approval when your task's turn has ended${asked === specs.length ? "" : ` (${asked} of them)`}.`;
}

/** Adds what the attempt proposed. Call in the transaction of an attempt's good end, after the board knows of it. */
export function addProposals(parts: Parts, task: TaskRecord): void {
  const { board, store } = parts;
  const attempt = store.attempts.listByTask(task.planId, task.id).at(-1);
  const report = attempt === undefined ? null : latestReport(parts, { ...task, step: attempt.step }, attempt.id);
  const read = z.array(proposalSchema).safeParse(report?.["followUps"] ?? []);
  const settings = parts.settingsOf(task.planId);
  if (!read.success || read.data.length === 0 || whyNot(parts, task, settings) !== null) return;
  const { nodes } = board.plan(task.planId);
  const room = settings.proposals.maxPerTask - proposedBy(parts, task).length;
  const specs = specsOf(parts, task, settings, read.data)
    .slice(0, Math.max(0, room))
    // A task that was dropped since it was named can't be waited for.
    .map((spec) => ({ ...spec, dependsOn: spec.dependsOn.filter((id) => nodes.has(id)) }));
  if (specs.length === 0) return;
  const edit = { add: specs, change: [], drop: [], proposedBy: task.id };
  applyEdit(parts, task.planId, edit, (spec) => workflowOf(settings, spec));
  for (const spec of specs) {
    if (!mustAsk(settings, spec)) continue;
    const key = taskKey({ planId: task.planId, id: spec.id });
    const message = `proposed by ${task.id}: ${spec.title}`;
    const wait = { code: "approval", message, command: `orchestrator approve ${key}`, untilMs: null } as const;
    board.move(board.node(key), "waiting", { wait });
  }
}

function specsOf(parts: Parts, task: TaskRecord, settings: PlanSettings, proposals: readonly Proposal[]): TaskSpec[] {
  const existing = [...parts.board.plan(task.planId).nodes.values()].map(({ record }) => record);
  return specsOfProposals(task, existing, proposals, settings.workflows);
}

function proposedBy(parts: Parts, task: TaskRecord): TaskRecord[] {
  const records = [...parts.board.plan(task.planId).nodes.values()].map(({ record }) => record);
  return records.filter((record) => record.proposedBy === task.id);
}

function whyNot(parts: Parts, task: TaskRecord, { proposals }: PlanSettings): string | null {
  if (proposals.policy === "off") return "this plan takes none (proposals.policy is off)";
  const { nodes } = parts.board.plan(task.planId);
  const depth = depthOf(task, (id) => nodes.get(id)?.record ?? null) + 1;
  if (depth <= proposals.maxDepth) return null;
  return `your task was itself proposed, and proposals go no further than proposals.maxDepth (${proposals.maxDepth})`;
}

/** An agent that is held by a sandbox must not write itself a shell command, or a colleague without one. */
function mustAsk(settings: PlanSettings, spec: TaskSpec): boolean {
  if (settings.proposals.policy === "ask") return true;
  return workflowOf(settings, spec).steps.some(({ agent, provider }) => {
    return settings.roles[agent]?.permissions === "full" || settings.providers[provider]?.kind === "command";
  });
}
