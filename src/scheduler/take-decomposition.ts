/** What the orchestrator role answered becomes the plan's tasks. */
import { readDecomposition } from "../plan/decomposition.ts";
import type { TaskRecord } from "../plan/records.ts";
import type { FinishedWork } from "./finish-work.ts";
import type { Parts } from "./parts.ts";
import type { PlanSettings } from "./settings.ts";
import { applyEdit } from "./submit.ts";
import { workflowOf } from "./workflow-of.ts";

/**
 * An answer that does not fit ends the attempt as `no-result`, which gives one fresh session that is told what was
 * wrong. A good one is added in the transaction of the end; unless the plan starts alone, it is held for a look.
 */
export function takeDecomposition(
  parts: Parts,
  task: TaskRecord,
  settings: PlanSettings,
  answer: unknown,
): FinishedWork {
  const read = readDecomposition(answer, { agents: Object.keys(settings.roles), workflows: settings.workflows });
  if (!read.ok) {
    const message = `the answer is not a valid plan: ${read.problem}`;
    const end = {
      type: "failed",
      cause: "no-result",
      message,
      remedy: null,
      retryAfterMs: null,
      resetsAtMs: null,
    } as const;
    return { end, write: () => {} };
  }
  return {
    end: { type: "succeeded", hasChanges: false, message: null },
    write: () => {
      const plan = parts.board.plan(task.planId).record;
      if (!settings.startsAlone) {
        plan.paused = true;
        parts.store.plans.update(task.planId, { paused: true });
        parts.store.events.append({
          planId: task.planId,
          taskId: null,
          attemptId: null,
          body: { type: "plan-paused" },
        });
      }
      const edit = { add: read.tasks, change: [], drop: [] };
      applyEdit(parts, task.planId, edit, (spec) => workflowOf(settings, spec));
      const summary = `${read.tasks.length} tasks: ${read.tasks.map((spec) => spec.id).join(", ")}`;
      parts.store.tasks.setWork(task.planId, task.id, { report: { status: "succeeded", summary } });
    },
  };
}
