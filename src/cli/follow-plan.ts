/** Follows a plan until it settles: ended, or nothing can move without a person. */
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../errors.ts";
import type { OpenQuestion } from "../operations/open-questions.ts";
import type { PlanStatus } from "../operations/task-status.ts";
import type { EngineSession } from "./engine-session.ts";
import type { EventFeed } from "./event-feed.ts";

/** Asked for all the same after so long without an event: waits that end by time change what is shown, not the store. */
const LOOK_AGAIN_MS = 5_000;
/** Many events come together; one look tells of them all. */
const GATHER_MS = 100;
/** Between one task's end and what follows from it nothing may move for a moment. */
const CONFIRM_MS = 300;
const EVENTS_WAIT_MS = 5_000;
const MAX_LISTED = 2_000;

/** The plan as it settled, with all its tasks. Throws what the engine answers, and what ends the feed. */
export async function followPlan(
  session: EngineSession,
  feed: EventFeed,
  planId: string,
  onStatus: (plan: PlanStatus, questions: readonly OpenQuestion[]) => void,
): Promise<PlanStatus> {
  for (;;) {
    const { plan, questions, seq } = await readPlan(session, planId);
    onStatus(plan, questions);
    if (await isSettled(session, plan)) {
      const last = await readWholePlan(session, planId);
      // Its events are on their way: they are told before the end is.
      await feed.beyond(last.seq - 1, EVENTS_WAIT_MS);
      onStatus(last.plan, last.questions);
      return last.plan;
    }
    if (feed.isEnded)
      throw new AppError(
        "ENGINE_STOPPING",
        `the engine was stopped; plan ${planId} goes on with: orchestrator resume ${planId}`,
      );
    await feed.beyond(seq, LOOK_AGAIN_MS);
    await delay(GATHER_MS);
  }
}

async function isSettled(session: EngineSession, plan: PlanStatus): Promise<boolean> {
  if (plan.state === "succeeded" || plan.state === "failed") return true;
  if (plan.state === "running") return false;
  await delay(CONFIRM_MS);
  return (await readPlan(session, plan.plan)).plan.state !== "running";
}

export interface ReadPlan {
  readonly plan: PlanStatus;
  readonly questions: readonly OpenQuestion[];
  readonly seq: number;
}

/** The plan with its most urgent tasks. */
async function readPlan(session: EngineSession, planId: string, offset = 0): Promise<ReadPlan> {
  const status = await session.call("task_status", { plan: planId, include: ["why"], offset });
  const [plan] = status.plans;
  if (plan === undefined) throw new AppError("PLAN_NOT_FOUND", `there is no plan "${planId}"`);
  return { plan, questions: status.questions, seq: status.seq };
}

/** The plan with all its tasks, page by page. */
export async function readWholePlan(session: EngineSession, planId: string): Promise<ReadPlan> {
  let { plan, questions, seq } = await readPlan(session, planId);
  while (plan.more > 0 && plan.tasks.length < MAX_LISTED) {
    const next = await readPlan(session, planId, plan.tasks.length);
    plan = { ...next.plan, tasks: [...plan.tasks, ...next.plan.tasks] };
    ({ questions, seq } = next);
  }
  return { plan, questions, seq };
}
