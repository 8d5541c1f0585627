import type { App } from "../app.ts";

/** The call that follows a plan, or the one that lets it go on where somebody holds it: a parent can't see that else. */
export function nextCall(app: App, planId: string, task?: string): string {
  if (app.parts.board.plan(planId).record.paused) {
    return `control ${JSON.stringify({ action: "resume", plan: planId })}: the plan is paused, nothing of it starts before`;
  }
  return `task_status ${JSON.stringify(task === undefined ? { plan: planId, waitSeconds: 45 } : { task, waitSeconds: 45 })}`;
}
