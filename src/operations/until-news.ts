/** Waiting for news: what `waitSeconds` of `task_status` waits for. */
import type { App } from "../app.ts";
import type { StoredEvent } from "../events/event.ts";
import { standingOf } from "../plan/explain.ts";
import type { TaskKey } from "../plan/records.ts";
import { isEnded, needsPerson } from "../plan/task-state.ts";
import type { OperationCall } from "./operation.ts";

/** What a caller waits for: one task, one plan, or all that are open. */
export interface Scope {
  readonly planId: string | null;
  readonly task: TaskKey | null;
}

/** What ends within this time of the first news is told in the same answer: an answer costs a parent a model request. */
const GATHER_MS = 500;
/** Some hosts end a call that shows no sign of life. */
const PROGRESS_EVERY_MS = 10_000;

/** Waits for news after `since`; not at all where nothing moves, for none would come. */
export async function untilNews(
  app: App,
  { scope, since, waitMs }: { scope: Scope; since: number; waitMs: number },
  call: OperationCall,
): Promise<void> {
  const { bus, clock } = app.parts;
  if (isStill(app, scope) || hasNewsSince(app, scope, since)) return;
  await new Promise<void>((resolve) => {
    let cancelGathering: (() => void) | null = null;
    const end = (): void => {
      unsubscribe();
      cancel();
      cancelGathering?.();
      cancelProgress();
      call.signal.removeEventListener("abort", end);
      resolve();
    };
    let cancelProgress = (): void => {};
    const report = (): void => {
      call.progress("waiting for news");
      cancelProgress = clock.schedule(PROGRESS_EVERY_MS, report);
    };
    const unsubscribe = bus.onEvent((event) => {
      if (isOf(event, scope)) tellProgress(event, call);
      if (!isNews(event, scope)) return;
      if (isStill(app, scope)) return end();
      cancelGathering ??= clock.schedule(GATHER_MS, end);
    });
    const cancel = clock.schedule(waitMs, end);
    call.signal.addEventListener("abort", end);
    if (call.signal.aborted) end();
    else report();
  });
}

function tellProgress({ taskId, body }: StoredEvent, call: OperationCall): void {
  if (body.type === "task-state") call.progress(`${taskId}: ${body.to}`);
  if (body.type === "question-asked") call.progress(`${taskId} asks ${body.id}`);
}

function hasNewsSince(app: App, scope: Scope, since: number): boolean {
  const taskId = scope.task?.slice(scope.task.indexOf("/") + 1);
  const filter = {
    limit: 500,
    ...(scope.planId === null ? {} : { planId: scope.planId }),
    ...(taskId === undefined ? {} : { taskId }),
  };
  for (let seq = since; ;) {
    const events = app.parts.store.events.since(seq, filter);
    if (events.some((event) => isNews(event, scope))) return true;
    const last = events.at(-1);
    if (last === undefined || events.length < filter.limit) return false;
    seq = last.seq;
  }
}

function isOf(event: StoredEvent, { planId, task }: Scope): boolean {
  if (task !== null) return event.taskId !== null && `${event.planId}/${event.taskId}` === task;
  return planId === null || event.planId === planId;
}

/**
 * What somebody who waits wants to hear: that something ended, or that it waits for a person. A task's way there
 * (started, merging, tried again) is none: it would wake a parent several times a task.
 */
function isNews(event: StoredEvent, scope: Scope): boolean {
  if (!isOf(event, scope)) return false;
  const { body } = event;
  switch (body.type) {
    case "task-state":
      return isEnded(body.to) || body.to === "blocked" || (body.wait !== null && needsPerson(body.wait.code));
    // Asked and not answered from memory; later ones are asked, the question is the same.
    case "question-routed":
      return body.reason === null;
    case "plan-created":
    case "plan-changed":
    case "plan-budget":
    case "plan-paused":
    case "plan-resumed":
    case "plan-ended":
    case "task-dropped":
    case "provider-changed":
    case "warning":
      return true;
    default:
      return false;
  }
}

/** Whether nothing moves by itself. */
function isStill(app: App, { planId, task }: Scope): boolean {
  const { board } = app.parts;
  if (task !== null) {
    const { state, wait } = board.node(task).record;
    if (isEnded(state) || state === "blocked" || (wait !== null && needsPerson(wait.code))) return true;
  }
  const plans = planId === null ? [...board.plans()] : [board.plan(planId)];
  return plans.every((plan) => standingOf(plan).state !== "running");
}
