/** What an operator may do to a task or a plan, and what it means for the board. Refusals are TASK_STATE errors. */
import { AppError } from "../errors.ts";
import type { Board } from "./board.ts";
import { noteMended } from "./provider-gate.ts";
import type { PlanNode, TaskNode } from "./node.ts";
import { EMPTY_LEDGER, FIRST_TURN, taskKey, type TaskKey } from "./records.ts";
import { isEnded, type Wait } from "./task-state.ts";

export const TASK_ACTIONS = ["pause", "resume", "cancel", "retry", "skip", "merge", "approve", "release"] as const;
export type TaskAction = (typeof TASK_ACTIONS)[number];

/** Carries out `action` on one task. Throws TASK_NOT_FOUND, or TASK_STATE with what is possible instead. */
export function controlTask(board: Board, key: TaskKey, action: TaskAction, nowMs: number): void {
  const node = board.node(key);
  switch (action) {
    case "pause":
      return pause(board, node);
    case "resume":
      return resume(board, node);
    case "cancel":
      return cancel(board, node);
    case "retry":
      return retry(board, node, nowMs);
    case "skip":
      return skip(board, node);
    case "merge":
      return merge(board, node);
    case "approve":
      return approve(board, node);
    case "release":
      return release(board, node);
  }
}

/**
 * Carries out `action` on a plan: pause and resume hold the plan as a whole; the others go to every task that they fit.
 * Answers the tasks they went to.
 */
export function controlPlan(board: Board, planId: string, action: TaskAction, nowMs: number): TaskKey[] {
  const plan = board.plan(planId);
  switch (action) {
    case "pause":
      plan.record.paused = true;
      return each(
        plan,
        (node) => node.record.state === "running",
        (node) => board.requestStop(node, "pause"),
      );
    case "resume":
      plan.record.paused = false;
      return each(
        plan,
        (node) => node.record.wait?.code === "paused",
        (node) => resume(board, node),
      );
    case "cancel":
      return each(
        plan,
        (node) => !isEnded(node.record.state),
        (node) => cancel(board, node),
      );
    case "retry":
      return each(plan, isRetryable, (node) => {
        if (isRetryable(node)) retry(board, node, nowMs);
      });
    case "merge":
      return each(
        plan,
        (node) => node.record.wait?.code === "manual-merge",
        (node) => merge(board, node),
      );
    case "approve":
      return each(
        plan,
        (node) => node.record.wait?.code === "approval",
        (node) => approve(board, node),
      );
    case "skip":
    case "release":
      throw new AppError("TASK_STATE", `${action} takes one task, not a whole plan: name it as ${planId}/TASK`);
  }
}

function each(plan: PlanNode, fits: (node: TaskNode) => boolean, act: (node: TaskNode) => void): TaskKey[] {
  const chosen = [...plan.nodes.values()].filter(fits);
  for (const node of chosen) act(node);
  return chosen.map((node) => taskKey(node.record));
}

function pause(board: Board, node: TaskNode): void {
  const { record } = node;
  const key = taskKey(record);
  if (record.state === "running") return board.requestStop(node, "pause");
  const wait: Wait = {
    code: "paused",
    message: "paused by the operator",
    command: `orchestrator resume ${key}`,
    untilMs: null,
  };
  if (record.wait?.code === "paused") return;
  if (record.state === "merging" && node.isMergeActive) {
    record.wish = "pause";
    return board.touch(record);
  }
  const canPause = record.state === "ready" || record.state === "merging" || record.wait?.untilMs != null;
  if (!canPause)
    throw refused(node, "pause", record.state === "pending" ? `pause its plan ${record.planId} instead` : null);
  board.move(node, "waiting", { wait });
}

function resume(board: Board, node: TaskNode): void {
  if (node.record.wish === "pause") {
    node.record.wish = null;
    return board.touch(node.record);
  }
  if (node.record.wait?.code !== "paused") throw refused(node, "resume", null);
  board.goOn(node);
}

function cancel(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.state === "cancelled") return;
  if (isEnded(record.state)) throw refused(node, "cancel", null);
  if (record.state === "running") return board.requestStop(node, "cancel");
  if (node.isMergeActive) {
    record.wish = "cancel";
    return board.touch(record);
  }
  board.move(node, "cancelled", { cause: "cancelled", message: "cancelled by the operator" });
}

function skip(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.state === "skipped") return;
  if (record.state === "succeeded") throw refused(node, "skip", null);
  if (record.state === "running") return board.requestStop(node, "skip");
  if (node.isMergeActive) {
    record.wish = "skip";
    return board.touch(record);
  }
  board.move(node, "skipped", { cause: "cancelled", message: "skipped by the operator" });
}

function isRetryable(node: TaskNode): boolean {
  const { state } = node.record;
  return state === "failed" || state === "cancelled" || (state === "waiting" && node.record.wait?.code !== "lock");
}

/** Opens an ended task, or lets a waiting one go on now. Its ledgers begin anew; its session and worktree are kept. */
function retry(board: Board, node: TaskNode, nowMs: number): void {
  const { record } = node;
  if (!isRetryable(node)) {
    const culprit = node.dependencies.find((dependency) => dependency.record.state === "failed");
    throw refused(
      node,
      "retry",
      culprit === undefined ? null : `retry ${taskKey(culprit.record)} instead, which failed`,
    );
  }
  const health = board.provider(record.provider);
  noteMended(health, nowMs);
  board.touchProvider(health);
  record.ledger = { ...EMPTY_LEDGER, attempts: record.ledger.attempts };
  if (record.wait?.code === "verify") record.stage = "work";
  if (record.ledger.attempts === 0) record.nextTurn = FIRST_TURN;
  else if (record.stage === "work" && record.nextTurn.kind === "start") record.nextTurn = { kind: "again", note: null };
  const byDependencies = board.stateByDependencies(node);
  if (record.stage === "merge") return board.move(node, "merging");
  board.move(node, byDependencies, { cause: null, message: null });
}

function merge(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.state !== "waiting" || record.stage !== "merge") {
    throw refused(node, "merge", record.state === "merging" ? "it is in the merge queue already" : null);
  }
  record.isApproved = true;
  board.move(node, "merging");
}

function approve(board: Board, node: TaskNode): void {
  if (node.record.wait?.code !== "approval") throw refused(node, "approve", null);
  node.record.isApproved = true;
  board.goOn(node);
}

function release(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.state === "running" || record.state === "merging" || !record.holdsClaims) {
    throw refused(node, "release", record.holdsClaims ? "its work is under way" : "it holds no claim");
  }
  board.releaseClaims(node);
}

function refused(node: TaskNode, action: string, instead: string | null): AppError {
  const { record } = node;
  const now = record.wait === null ? record.state : `waiting (${record.wait.code})`;
  return new AppError(
    "TASK_STATE",
    `can't ${action} task ${taskKey(record)}: it is ${now}${instead === null ? "" : `; ${instead}`}`,
    { details: { task: taskKey(record), state: record.state, action } },
  );
}
