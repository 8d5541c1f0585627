/** `orchestrator plan GOAL`: the orchestrator role decomposes the goal; a person looks; the tasks start. */
import { randomUUID } from "node:crypto";
import { openEngineSession, type EngineSession } from "../engine-session.ts";
import { EventFeed } from "../event-feed.ts";
import { EXIT } from "../exit-codes.ts";
import { readWholePlan } from "../follow-plan.ts";
import { catchInterrupts } from "../interrupts.ts";
import { readStdin } from "../plan-file.ts";
import { renderCreated } from "../render-created.ts";
import { renderPlan } from "../render-status.ts";
import { renderSummary } from "../render-summary.ts";
import type { VerbRunner } from "../verb.ts";
import { watchPlan } from "../watch-plan.ts";
import { carryOut } from "./run.ts";

export const runPlan: VerbRunner = async (invocation, terminal) => {
  const [word = ""] = invocation.positionals;
  const goal = word === "-" ? (await readStdin(process.stdin)).text : word;
  const into = invocation.text("into");
  const { json } = invocation;
  const session = await openEngineSession({ repo: invocation.repo });
  const interrupts = catchInterrupts();
  try {
    const feed = new EventFeed(session.client, null);
    const created = await session.call("create_plan", {
      goal,
      start: false,
      ...(into === null ? {} : { into }),
      key: randomUUID(),
    });
    const planId = created.plan;
    if (json) terminal.printJson({ type: "plan", ...created });
    else terminal.note(...renderCreated(created));
    if (invocation.has("detach")) {
      if (!json) terminal.print(`look at its tasks with: orchestrator status ${planId}`, startLine(planId));
      return EXIT.succeeded;
    }
    interrupts.beforeLeaving = async () => await session.call("end_now", { plan: planId });
    const decomposed = await watchPlan({ session, feed, planId, terminal, json, interrupted: interrupts.signal });
    if (
      interrupts.signal.aborted ||
      decomposed.failed.length > 0 ||
      decomposed.waiting.some((task) => task.code !== "paused")
    ) {
      if (json) terminal.printJson(decomposed);
      else terminal.print(...renderSummary(decomposed));
      return decomposed.exitCode;
    }
    const { plan } = await readWholePlan(session, planId);
    if (json) terminal.printJson({ type: "tasks", ...plan });
    else terminal.print(...renderPlan(plan, { width: terminal.isInteractive ? terminal.columns() - 1 : Infinity }));
    const mayStart = invocation.has("yes") || (!json && terminal.canAsk && (await terminal.ask("Start these tasks?")));
    if (!mayStart) {
      if (!json) terminal.print(startLine(planId));
      return EXIT.needsPerson;
    }
    return await start(session, planId, { feed, terminal, json, interrupts });
  } finally {
    interrupts.release();
    await session.close();
  }
};

async function start(
  session: EngineSession,
  planId: string,
  options: Pick<Parameters<typeof carryOut>[0], "feed" | "terminal" | "json" | "interrupts">,
): ReturnType<typeof carryOut> {
  const resumed = await session.call("control", { action: "resume", plan: planId });
  return await carryOut(
    { ...options, session, created: { plan: planId, summary: resumed.summary, warnings: [] } },
    false,
  );
}

function startLine(planId: string): string {
  return `start it with: orchestrator resume ${planId}`;
}
