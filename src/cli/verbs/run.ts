/** `orchestrator run FILE`: a plan from a file, followed to its end. */
import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { AppError } from "../../errors.ts";
import { readBudget } from "../budget-option.ts";
import { wholeNumber } from "../command-line.ts";
import { openEngineSession, type EngineSession, type Input, type Output } from "../engine-session.ts";
import { EventFeed } from "../event-feed.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { catchInterrupts, type Interrupts } from "../interrupts.ts";
import { readPlanFile } from "../plan-file.ts";
import { renderCreated, renderDryRun } from "../render-created.ts";
import { renderPlan } from "../render-status.ts";
import { renderSummary } from "../render-summary.ts";
import { readWholePlan } from "../follow-plan.ts";
import type { Terminal } from "../terminal.ts";
import type { VerbRunner } from "../verb.ts";
import { watchPlan } from "../watch-plan.ts";

const MAX_CONCURRENT = 1000;
/** `create_plan` takes them beside the plan; in a file they would change what this command was asked to do. */
const NOT_IN_A_FILE = ["into", "dryRun", "start", "file", "key"];

export const runRun: VerbRunner = async (invocation, terminal) => {
  const [file = "-"] = invocation.positionals;
  const given = invocation.text("concurrent");
  const maxConcurrent = given === null ? null : wholeNumber("concurrent", given, 1, MAX_CONCURRENT);
  const into = invocation.text("into");
  const budget = readBudget(invocation.texts("budget"));
  const plan = await readPlanFile(file, process.stdin);
  const odd = NOT_IN_A_FILE.find((key) => Object.hasOwn(plan, key));
  if (odd !== undefined)
    throw new AppError("PLAN_INVALID", `${file}: a plan has no "${odd}"; it is an option of the command`);
  const isDryRun = invocation.has("dry-run");
  const input = {
    ...plan,
    ...(maxConcurrent === null ? {} : { maxConcurrent }),
    ...(into === null ? {} : { into }),
    ...(budget === null ? {} : { budget: { ...(plan["budget"] as object | undefined), ...budget } }),
    ...(file === "-" ? {} : { file: resolve(file) }),
    ...(isDryRun ? { dryRun: true } : {}),
    key: randomUUID(),
  } as Input<"create_plan">;

  const session = await openEngineSession({ repo: invocation.repo });
  const interrupts = catchInterrupts();
  try {
    const feed = new EventFeed(session.client, null);
    const created = await createFrom(session, input, file);
    if (isDryRun) {
      if (invocation.json) terminal.printJson(created);
      else terminal.print(...renderDryRun(created));
      return EXIT.succeeded;
    }
    const follow = { session, feed, created, terminal, json: invocation.json, interrupts };
    return await carryOut(follow, invocation.has("detach"));
  } finally {
    interrupts.release();
    await session.close();
  }
};

/** A plan's problems are told with the file's name: that is where they are mended. */
const IN_THE_FILE = [
  "PLAN_INVALID",
  "PLAN_CYCLE",
  "PLAN_UNKNOWN_DEPENDENCY",
  "PLAN_DUPLICATE_TASK",
  "PLAN_UNKNOWN_AGENT",
];

async function createFrom(
  session: EngineSession,
  input: Input<"create_plan">,
  file: string,
): Promise<Output<"create_plan">> {
  const name = file === "-" ? "the plan" : file;
  try {
    return await session.call("create_plan", input);
  } catch (thrown) {
    if (!(thrown instanceof AppError) || !IN_THE_FILE.includes(thrown.code)) throw thrown;
    throw new AppError(thrown.code, `${name}: ${thrown.message}`, { details: thrown.details, cause: thrown });
  }
}

export interface FollowCreated {
  readonly session: EngineSession;
  readonly feed: EventFeed;
  readonly created: Pick<Output<"create_plan">, "plan" | "summary" | "warnings">;
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly interrupts: Interrupts;
}

/** Follows a plan that was just made or continued, and says how it ended. */
export async function carryOut(options: FollowCreated, isDetached: boolean): Promise<ExitCode> {
  const { session, feed, created, terminal, json } = options;
  await goOnWhenPaused(session, created);
  if (json) terminal.printJson({ type: "plan", ...created });
  else {
    terminal.note(...renderCreated(created));
  }
  if (isDetached) {
    if (!json) terminal.print(`follow it with: orchestrator status ${created.plan} --watch`);
    return EXIT.succeeded;
  }
  terminal.exitCodeOnClosedOutput = EXIT.interrupted;
  options.interrupts.beforeLeaving = async () => await session.call("end_now", { plan: created.plan });
  const summary = await watchPlan({
    session,
    feed,
    planId: created.plan,
    terminal,
    json,
    interrupted: options.interrupts.signal,
  });
  if (json) terminal.printJson(summary);
  else {
    if (terminal.isInteractive) {
      const { plan } = await readWholePlan(session, created.plan);
      terminal.print(...renderPlan(plan, { width: terminal.columns() - 1 }));
    }
    terminal.print(...renderSummary(summary));
  }
  return summary.exitCode;
}

/** Who runs a plan wants it to run: one that was paused by an earlier Ctrl-C goes on. */
async function goOnWhenPaused(session: EngineSession, created: FollowCreated["created"]): Promise<void> {
  const outcome = "outcome" in created ? created.outcome : null;
  if (outcome !== "attached") return;
  const status = await session.call("task_status", { plan: created.plan });
  if (status.plans[0]?.paused === true) await session.call("control", { action: "resume", plan: created.plan });
}
