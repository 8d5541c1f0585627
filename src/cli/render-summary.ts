/** What is said when a plan has come to its end, or can't go on by itself. */
import type { PlanStatus, TaskLine } from "../operations/task-status.ts";
import { exitCodeOfPlan, type ExitCode } from "./exit-codes.ts";
import { renderCost, renderDuration } from "./render-time.ts";
import { doneOf, taskIdOf } from "./render-status.ts";
import { styled, type Line } from "./styled.ts";

export interface Summary {
  readonly type: "summary";
  readonly plan: string;
  readonly state: PlanStatus["state"];
  readonly exitCode: ExitCode;
  readonly target: string;
  readonly paused: boolean;
  readonly interrupted: boolean;
  readonly counts: Readonly<Record<string, number>>;
  readonly total: number;
  readonly costUsd: number | null;
  readonly elapsedMs: number;
  /** What came into the target while this command watched. */
  readonly merged: readonly { readonly task: string; readonly sha: string }[];
  /** Tasks whose work a later step of their workflow rejected, and how often. */
  readonly rejected: readonly { readonly task: string; readonly rejects: number }[];
  readonly failed: readonly Stopped[];
  readonly waiting: readonly Stopped[];
}

export interface Stopped {
  readonly task: string;
  readonly state: string;
  /** Why: a wait's code; null for what failed. */
  readonly code: string | null;
  readonly message: string;
  readonly command: string | null;
}

export interface SummaryFacts {
  readonly plan: PlanStatus;
  readonly merged: Summary["merged"];
  readonly elapsedMs: number;
  readonly isInterrupted: boolean;
}

export function summarize({ plan, merged, elapsedMs, isInterrupted }: SummaryFacts): Summary {
  return {
    type: "summary",
    plan: plan.plan,
    state: plan.state,
    exitCode: isInterrupted ? 130 : exitCodeOfPlan(plan.state),
    target: plan.target,
    paused: plan.paused,
    interrupted: isInterrupted,
    counts: plan.counts,
    total: plan.total,
    costUsd: plan.costUsd,
    elapsedMs: Math.round(elapsedMs),
    merged,
    rejected: plan.tasks.flatMap(({ task, rejects }) => (rejects === undefined ? [] : [{ task, rejects }])),
    failed: plan.tasks
      .filter(({ state }) => state === "failed" || state === "blocked" || state === "cancelled")
      .map(stopped),
    waiting: plan.tasks.filter(({ state }) => state === "waiting").map(stopped),
  };
}

export function renderSummary(summary: Summary): Line[] {
  const lines: Line[] = [headline(summary)];
  if (summary.merged.length > 0) {
    lines.push([
      `merged into ${summary.target}: `,
      ...listed(summary.merged.map(({ task, sha }) => `${taskIdOf(task)} (${sha.slice(0, 10)})`)),
    ]);
  }
  if (summary.rejected.length > 0) {
    const names = summary.rejected.map(
      ({ task, rejects }) => `${taskIdOf(task)}${rejects === 1 ? "" : ` (${rejects} times)`}`,
    );
    lines.push(["rejected by a later step: ", ...listed(names)]);
  }
  const blocked = summary.failed.filter((task) => task.state === "blocked");
  const ended = summary.failed.filter((task) => task.state !== "blocked");
  for (const task of ended) {
    lines.push([
      styled(`${task.state}: `, task.state === "failed" ? "red" : null),
      `${taskIdOf(task.task)}: ${task.message}`,
      ...command(task),
    ]);
  }
  if (blocked.length > 0)
    lines.push([styled("blocked: ", "red"), ...listed(blocked.map((task) => taskIdOf(task.task)))]);
  // A paused plan's tasks all wait for one and the same thing.
  const waiting = summary.paused ? summary.waiting.filter((task) => task.code !== "paused") : summary.waiting;
  for (const task of waiting) {
    lines.push([
      styled("waits: ", "yellow"),
      `${taskIdOf(task.task)} (${task.code ?? "?"}): ${task.message}`,
      ...command(task),
    ]);
  }
  if (summary.paused && summary.state !== "succeeded" && summary.state !== "failed") {
    lines.push(["go on with: ", styled(`orchestrator resume ${summary.plan}`, "bold")]);
  }
  return lines;
}

const HEADLINES: Readonly<Record<PlanStatus["state"], readonly [string, "green" | "red" | "yellow"]>> = {
  succeeded: ["succeeded", "green"],
  failed: ["ended with failures", "red"],
  "needs-person": ["can't go on without a person", "yellow"],
  running: ["runs on", "yellow"],
};

function headline(summary: Summary): Line {
  const [words, style] =
    summary.paused && summary.state === "needs-person" ? (["is paused", "yellow"] as const) : HEADLINES[summary.state];
  const cost = renderCost(summary.costUsd);
  const done = doneOf(summary);
  const facts = [
    `${done} of ${summary.total} tasks done`,
    renderDuration(summary.elapsedMs),
    ...(cost === null ? [] : [cost]),
  ];
  return ["plan ", styled(summary.plan, "bold"), " ", styled(words, style), `: ${facts.join(", ")}`];
}

function stopped(task: TaskLine): Stopped {
  const { why } = task;
  return {
    task: task.task,
    state: task.state,
    code: why?.code ?? null,
    message: why?.message ?? task.note ?? task.state,
    command: why?.command ?? null,
  };
}

function command(task: Stopped): Line {
  return task.command === null ? [] : [" → ", styled(task.command, "bold")];
}

const MAX_LISTED = 20;

function listed(names: readonly string[]): Line {
  const more = names.length > MAX_LISTED ? `, and ${names.length - MAX_LISTED} more` : "";
  return [names.slice(0, MAX_LISTED).join(", ") + more];
}
