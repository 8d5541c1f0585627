/** What a step of a workflow has to know of the others, and what its end means as a verdict. */
import { join } from "node:path";
import type { AgentBackend, FileToWrite, TurnEnd } from "../agents/backend.ts";
import type { AttemptEnd } from "../plan/outcomes.ts";
import type { TaskRecord } from "../plan/records.ts";
import { isReview, stepOf, type Verdict } from "../plan/workflow.ts";
import type { AttemptRow } from "../store/attempts.ts";
import type { TaskReport } from "../store/tasks.ts";
import { failure } from "./attempt-end.ts";
import { deliveredMail, type Mail } from "./mail.ts";
import type { Parts } from "./parts.ts";
import type { RoleSettings } from "./settings.ts";
import type { TaskPlace } from "./task-place.ts";

/** A verdict that counted. */
export interface GivenVerdict {
  readonly agent: string;
  /** Counted from 1: it was given after so many times that the first step had done its work. */
  readonly round: number;
  readonly verdict: Verdict["type"];
  readonly words: string;
}

/** A step's place among the others; made for tasks with a workflow alone. */
export interface StepFacts {
  /** Counted from 1. */
  readonly number: number;
  readonly of: number;
  readonly agent: string;
  /** Who did the work that is judged. */
  readonly worker: string;
  readonly round: number;
  /** What the config says that this step is to do. */
  readonly instructions: string | null;
  readonly baseSha: string;
  /** What the first step reported. */
  readonly reported: string | null;
  /** What was said to the first step while it worked: a part of what was asked for. */
  readonly told: readonly Mail[];
  /** Rejects that the first step has not answered yet. */
  readonly openRejects: readonly GivenVerdict[];
  readonly earlier: readonly GivenVerdict[];
  /** For a later step: what is on the branch beyond its base, cut. */
  readonly diff: Shown | null;
  /** What changed since this step looked last; null when it never did. */
  readonly since: (Shown & { readonly sha: string }) | null;
}

export interface Shown {
  readonly text: string;
  readonly isCut: boolean;
}

/** Enough for a change of a sensible size; an agent gets the rest from git. */
const MAX_DIFF_BYTES = 48 * 1024;

export async function stepFactsOf(parts: Parts, task: TaskRecord, place: TaskPlace): Promise<StepFacts | null> {
  if (task.workflow.steps.length < 2) return null;
  const { repository, store } = parts;
  const step = stepOf(task);
  const attempts = store.attempts.listByTask(task.planId, task.id);
  const earlier = verdictsIn(attempts);
  const show = async (from: string): Promise<Shown> => {
    const { text, isTruncated } = await repository.diff(from, place.headSha, {
      format: "patch",
      maxBytes: MAX_DIFF_BYTES,
    });
    return { text, isCut: isTruncated };
  };
  const lastSha = lookedAt(attempts, task.step);
  return {
    number: task.step + 1,
    of: task.workflow.steps.length,
    agent: step.agent,
    worker: task.spec.agent,
    round: earlier.filter(({ verdict }) => verdict === "reject").length + 1,
    instructions: step.prompt,
    baseSha: place.baseSha,
    reported: store.tasks.getWork(task.planId, task.id)?.report?.summary ?? null,
    told: isReview(task) ? deliveredMail(parts, { ...task, step: 0 }) : [],
    openRejects: openRejectsIn(attempts),
    earlier,
    diff: isReview(task) ? await show(place.baseSha) : null,
    since: isReview(task) && lastSha !== null ? { sha: lastSha, ...(await show(lastSha)) } : null,
  };
}

/** Oldest first. One that was reported by an attempt that then failed did not count. */
export function verdictsIn(attempts: readonly AttemptRow[]): GivenVerdict[] {
  const given: GivenVerdict[] = [];
  let round = 1;
  for (const { step, outcome, role, report } of attempts) {
    const verdict = step === 0 || outcome !== "succeeded" ? null : verdictOf(report);
    if (verdict === null) continue;
    given.push({ agent: role, round, verdict: verdict.type, words: verdict.words });
    if (verdict.type === "reject") round += 1;
  }
  return given;
}

function openRejectsIn(attempts: readonly AttemptRow[]): GivenVerdict[] {
  const answered = attempts.findLastIndex(({ step, outcome }) => step === 0 && outcome === "succeeded");
  const open = new Set(attempts.slice(answered + 1));
  const before = verdictsIn(attempts.filter((attempt) => !open.has(attempt))).length;
  return verdictsIn(attempts)
    .slice(before)
    .filter(({ verdict }) => verdict === "reject");
}

/** The branch's tip when this step ended well last. */
function lookedAt(attempts: readonly AttemptRow[], step: number): string | null {
  return attempts.findLast((attempt) => attempt.step === step && attempt.outcome === "succeeded")?.headSha ?? null;
}

function verdictOf(report: TaskReport | null): Verdict | null {
  const type = report?.verdict;
  return type === "approve" || type === "reject" ? { type, words: report?.summary ?? "" } : null;
}

export interface Judgement {
  readonly end: AttemptEnd;
  /** What a command's exit code said in the place of a report. */
  readonly report: TaskReport | null;
}

/**
 * Makes a verdict out of the end of a later step; the end of a first step stays as it is. An agent must have reported
 * one, in this attempt or in one before it that was cut off after its report; a command's exit code is one.
 */
export function judge(
  parts: Parts,
  task: TaskRecord,
  attemptId: string,
  { end, turnEnd, isCommand }: { readonly end: AttemptEnd; readonly turnEnd: TurnEnd; readonly isCommand: boolean },
): Judgement {
  if (!isReview(task)) return { end, report: null };
  const hasExitCode =
    isCommand && (end.type === "succeeded" || (end.type === "failed" && end.cause === "command-failed"));
  if (end.type !== "succeeded" && !hasExitCode) return { end, report: null };
  const reported = latestReport(parts, task, attemptId);
  const verdict = verdictOf(reported);
  if (verdict !== null) return { end: passed(verdict), report: null };
  if (reported?.status === "failed") {
    return {
      end: failure("reported-failure", `the ${stepOf(task).agent} reported: ${reported.summary}`, null),
      report: null,
    };
  }
  if (hasExitCode) {
    const type = end.type === "succeeded" ? "approve" : "reject";
    const words = wordsOfCommand(end, turnEnd);
    return {
      end: passed({ type, words }),
      report: { status: "succeeded", summary: words, verdict: type },
    };
  }
  const message = `the ${stepOf(task).agent} ended without a verdict: report_result was not called with \`verdict\` (approve or reject)`;
  return { end: failure("no-result", message, null), report: null };
}

function passed(verdict: Verdict): AttemptEnd {
  return { type: "succeeded", hasChanges: true, message: null, verdict };
}

/** Of this visit to the step: attempts up to the last one that ended well belong to an earlier one. */
export function latestReport(parts: Parts, task: TaskRecord, attemptId: string): TaskReport | null {
  const attempts = parts.store.attempts.listByTask(task.planId, task.id);
  for (const attempt of attempts.toReversed()) {
    if (attempt.id !== attemptId && (attempt.outcome === "succeeded" || attempt.step !== task.step)) return null;
    if (attempt.report !== null) return attempt.report;
  }
  return null;
}

/** What a command printed last is what the first step is told: that is where test runners say what failed. */
const MAX_COMMAND_WORDS = 8_000;

function wordsOfCommand(end: AttemptEnd, turnEnd: TurnEnd): string {
  const printed = turnEnd.finalText.trim().slice(-MAX_COMMAND_WORDS);
  const how = end.type === "failed" ? end.message : "";
  return [how, printed].filter((part) => part !== "").join("\n\n") || "the command ended well";
}

/** A later step that only looks, or has no memory, begins and ends with the branch as it is. */
export function leavesNothing(role: RoleSettings, backend: AgentBackend): boolean {
  return role.permissions === "read" || !backend.hasSessions;
}

/**
 * Puts aside what this very step left uncommitted when it was cut off: a command does all of it again, and who only
 * looks leaves nothing. Not after any other end, for then it is a person who changed something there.
 */
export async function clearAfterCut(parts: Parts, task: TaskRecord, place: TaskPlace): Promise<void> {
  const last = parts.store.attempts.listByTask(task.planId, task.id).at(-1);
  if (!isReview(task) || last?.step !== task.step || last.outcome !== "failed") return;
  await parts.repository.worktrees.putBack(place.path, place.headSha);
}

/** What a script is told of its step, through its environment: it has no prompt of its own to read. */
export function stepFiles(
  step: StepFacts | null,
  scratchDir: string,
): { readonly variables: Record<string, string>; readonly files: readonly FileToWrite[] } {
  if (step === null) return { variables: {}, files: [] };
  const { number, of, round, baseSha, openRejects } = step;
  const variables = {
    ORCHESTRATOR_STEP: `${number}/${of}`,
    ORCHESTRATOR_ROUND: String(round),
    ORCHESTRATOR_BASE: baseSha,
  };
  if (openRejects.length === 0) return { variables, files: [] };
  const path = join(scratchDir, "comments.txt");
  const content = openRejects.map(({ agent, words }) => `${agent}: ${words}\n`).join("\n");
  return { variables: { ...variables, ORCHESTRATOR_COMMENTS: path }, files: [{ path, content }] };
}
