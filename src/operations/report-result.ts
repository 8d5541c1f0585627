import { z } from "zod";
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import { proposalSchema } from "../plan/proposal.ts";
import { checkProposals } from "../scheduler/proposals.ts";
import { isReview, stepOf } from "../plan/workflow.ts";
import type { ActingCall, Operation } from "./operation.ts";
import { satelliteOf } from "./satellite-caller.ts";
import { KEY, lines } from "./shapes.ts";

const input = z.strictObject({
  status: z
    .string()
    .min(1)
    .max(40)
    .describe("`succeeded` when the task is done as asked, `failed` when it can't be done."),
  summary: z.string().min(1).max(20_000).describe("What you did, for the tasks that build on yours: a few sentences."),
  verdict: z
    .enum(["approve", "reject"])
    .optional()
    .describe(
      "For reviewers and testers, who must give it: `approve` when the work can be merged as it is, else `reject` with each finding in the summary.",
    ),
  followUps: z
    .array(proposalSchema)
    .max(50)
    .optional()
    .describe(
      "Tasks you propose: a title, and a prompt that stands on its own. They come after your own task, and wait for approval where the plan asks for it.",
    ),
  key: KEY,
});

const output = z.object({ summary: z.string(), next: z.string() });

export type ReportResultInput = z.infer<typeof input>;
export type ReportResultOutput = z.infer<typeof output>;

export const reportResult: Operation<ReportResultInput, ReportResultOutput> = {
  name: "report_result",
  title: "Report your result",
  description:
    "Call it once, when your task is done or can't be done: a short summary of what you did reaches the tasks that build on yours. Calling it again replaces the report.",
  audience: "satellite",
  isTool: true,
  isReading: false,
  input,
  output,
  run: report,
  text: (result) => [result.summary, result.next].join("\n"),
};

/** Models use their own words for the two; anything else is asked for again. */
const SUCCEEDED = new Set(["succeeded", "success", "successful", "done", "completed", "complete", "ok", "finished"]);
const FAILED = new Set(["failed", "failure", "error", "blocked", "incomplete", "partial", "aborted"]);

async function report(app: App, value: ReportResultInput, call: ActingCall): Promise<ReportResultOutput> {
  const { planId, taskId, attemptId } = satelliteOf(app, call);
  const word = value.status.trim().toLowerCase();
  const status = SUCCEEDED.has(word) ? "succeeded" : FAILED.has(word) ? "failed" : null;
  if (status === null) {
    throw new AppError("INPUT_INVALID", `status: expected "succeeded" or "failed", found "${value.status}"`);
  }
  const { store, board } = app.parts;
  const task = board.node(`${planId}/${taskId}`).record;
  if (isReview(task) && status === "succeeded" && value.verdict === undefined) {
    throw new AppError(
      "INPUT_INVALID",
      `verdict: you are the ${stepOf(task).agent} of this task, and your step counts only with a verdict: "approve" when the work can be merged as it is, else "reject" with each finding in \`summary\``,
    );
  }
  const proposals = value.followUps ?? [];
  return call.commit(() => {
    const became = proposals.length === 0 ? null : checkProposals(app.parts, task, proposals);
    const { summary, verdict, followUps } = value;
    const report = {
      status,
      summary,
      ...(verdict === undefined ? {} : { verdict }),
      ...(followUps === undefined ? {} : { followUps }),
    };
    store.attempts.update(attemptId, { report });
    // What reaches the tasks that build on this one is what was done, not what was said about it.
    if (!isReview(task)) store.tasks.setWork(planId, taskId, { report });
    // Who reports has decided what it asked.
    app.scheduler.questions.withdraw(planId, taskId, "its agent decided and reported its result", task.step);
    store.events.append({
      planId,
      taskId,
      attemptId,
      body: {
        type: "report",
        status,
        summary: summary.slice(0, 2_000),
        ...(verdict === undefined ? {} : { verdict }),
      },
    });
    return {
      summary: lines(`Your report (${verdict ?? status}) is kept.`, became),
      next: "End your turn now; what you left uncommitted is committed for you.",
    };
  });
}
