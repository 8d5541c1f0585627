/** What an operator may do to a task or a plan, and what it means for the board. Refusals are TASK_STATE errors. */
import { AppError } from "../errors.ts";
import type { Board } from "./board.ts";
import { noteMended, noteNewKey } from "./provider-gate.ts";
import { goToMerge, passStep } from "./outcomes.ts";
import { candidatesOf } from "./provider-choice.ts";
import { rootFailure, type PlanNode, type TaskNode } from "./node.ts";
import { EMPTY_LEDGER, FIRST_TURN, taskKey, type TaskKey } from "./records.ts";
import { isEnded, type WaitCode } from "./task-state.ts";

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
        (node) => node.record.state === "running" && !isLeaving(node),
        (node) => board.requestStop(node, "pause"),
      );
    case "resume":
      plan.record.paused = false;
      return each(
        plan,
        (node) => node.record.wait?.code === "paused" || node.record.wish === "pause",
        (node) => resume(board, node),
      );
    case "cancel":
      return each(
        plan,
        (node) => !isEnded(node.record.state),
        (node) => cancel(board, node),
      );
    case "retry":
      // Opening one may change what fits the next: a dependent is no longer blocked, a waiter's claim is free.
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
  if (record.wait?.code === "paused") return;
  // The stronger wish stays: a pause must not bring back what somebody cancelled or skipped a moment ago.
  if (isLeaving(node)) throw refused(node, "pause");
  if (record.state === "running") return board.requestStop(node, "pause");
  if (node.isMergeActive) {
    record.wish = "pause";
    return board.touch(record);
  }
  if (!canPause(node)) throw refused(node, "pause");
  board.carryOutWish(node, "pause");
}

function canPause(node: TaskNode): boolean {
  const { record } = node;
  if (record.wish !== null || record.wait?.code === "paused") return false;
  const { state } = record;
  return state === "running" || state === "ready" || state === "merging" || record.wait?.untilMs != null;
}

/** Somebody wished it away already; its end is under way. */
function isLeaving(node: TaskNode): boolean {
  return node.record.wish === "cancel" || node.record.wish === "skip";
}

function resume(board: Board, node: TaskNode): void {
  if (!canResume(node)) throw refused(node, "resume");
  if (node.record.wish === "pause") {
    node.record.wish = null;
    return board.touch(node.record);
  }
  board.goOn(node);
}

function canResume(node: TaskNode): boolean {
  return node.record.wish === "pause" || node.record.wait?.code === "paused";
}

function cancel(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.state === "cancelled") return;
  if (isEnded(record.state)) throw refused(node, "cancel");
  if (record.state === "running") return board.requestStop(node, "cancel");
  if (node.isMergeActive) {
    record.wish = "cancel";
    return board.touch(record);
  }
  if (isOpenProposal(node)) {
    // Nobody asked for it: a plan whose own tasks all succeeded has not failed for want of it.
    return board.move(node, "skipped", { cause: "cancelled", message: "the proposal was declined" });
  }
  board.carryOutWish(node, "cancel");
}

function skip(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.state === "skipped") return;
  if (record.state === "succeeded") throw refused(node, "skip");
  if (record.state === "running") return board.requestStop(node, "skip");
  if (node.isMergeActive) {
    record.wish = "skip";
    return board.touch(record);
  }
  board.carryOutWish(node, "skip");
}

/**
 * Other variables have come for what `isMeant` says: who waits for a key goes on, one of them as the probe where the
 * provider's circuit is open. Spends nothing: a key that is refused again only brings the wait back.
 */
export function tryNewKey(board: Board, isMeant: MeantKey, nowMs: number): TaskKey[] {
  const waiting = [...board.plans()]
    .flatMap((plan) => [...plan.nodes.values()])
    .filter((node) => waitsForKey(node, isMeant));
  for (const node of waiting) {
    const { record } = node;
    for (const name of keysMissedBy(node).filter((provider) => isMeant(node, provider))) {
      const health = board.provider(name);
      noteNewKey(health, nowMs);
      board.touchProvider(health);
      record.ruledOut = record.ruledOut.filter((one) => one !== name);
    }
    board.touch(record);
    if (record.wait?.code === "auth") board.goOn(node);
    else board.requeue(node);
  }
  return waiting.map((node) => taskKey(node.record));
}

/** Whether other variables that came are those of the task's provider. */
export type MeantKey = (node: TaskNode, provider: string) => boolean;

/** Whether the task waits for one of the keys, or goes on elsewhere for want of one. */
export function waitsForKey(node: TaskNode, isMeant: MeantKey): boolean {
  return keysMissedBy(node).some((provider) => isMeant(node, provider));
}

function keysMissedBy({ record }: TaskNode): readonly string[] {
  return record.wait?.code === "auth" ? [...new Set([record.provider, ...record.ruledOut])] : record.ruledOut;
}

/** What only another action clears: a retry of a whole plan must neither merge what is to be merged by hand nor resume. */
const NOT_FOR_RETRY: ReadonlySet<WaitCode> = new Set(["lock", "manual-merge", "approval", "paused", "question"]);

function isRetryable(node: TaskNode): boolean {
  const { state, wait } = node.record;
  if (state === "failed" || state === "cancelled") return true;
  return state === "waiting" && (wait === null || !NOT_FOR_RETRY.has(wait.code));
}

/**
 * What a retry is to bring about, and finds: a client that brings the key for which a task waits has set it going before
 * its `retry`, which is what the task's own `why` names, arrives.
 */
export function isUnderWay({ record }: TaskNode): boolean {
  return (record.state === "ready" || record.state === "running") && record.wish === null;
}

/** Opens an ended task, or lets a waiting one go on now. Its ledgers begin anew; its session and worktree are kept. */
function retry(board: Board, node: TaskNode, nowMs: number): void {
  const { record } = node;
  const goesOn = isUnderWay(node);
  if (!goesOn && !isRetryable(node)) throw refused(node, "retry");
  // Its provider is asked at once all the same: that may be all a ready task waits for.
  if (record.state === "running") return;
  // What a reviewer rejected or a check found goes to who did it.
  const isForFirstStep = record.nextTurn.kind === "rejected" || record.wait?.code === "verify";
  const step = isForFirstStep ? 0 : record.step;
  record.ruledOut = [];
  for (const name of candidatesOf({ ...record, step, provider: record.workflow.steps[step]?.provider ?? "" })) {
    const health = board.provider(name);
    noteMended(health, nowMs);
    board.touchProvider(health);
  }
  if (goesOn) {
    board.touch(record);
    return board.requeue(node);
  }
  record.ledger = { ...EMPTY_LEDGER, attempts: record.ledger.attempts };
  if (record.wait?.code === "verify") {
    record.stage = "work";
    record.consent = null;
  }
  if (record.ledger.attempts === 0) record.nextTurn = FIRST_TURN;
  else if (record.stage === "work" && record.nextTurn.kind === "start") record.nextTurn = { kind: "again", note: null };
  const byDependencies = board.stateByDependencies(node);
  if (record.stage === "merge") return goToMerge(board, node);
  board.move(node, byDependencies, { step, cause: null, message: null });
}

function merge(board: Board, node: TaskNode): void {
  if (!canMerge(node)) throw refused(node, "merge");
  // Who asks for a merge has not looked at what waits for approval; what is approved stays so.
  node.record.consent ??= "merge";
  board.move(node, "merging");
}

function canMerge({ record }: TaskNode): boolean {
  return record.state === "waiting" && record.stage === "merge";
}

function approve(board: Board, node: TaskNode): void {
  if (!canApprove(node)) throw refused(node, "approve");
  const { record } = node;
  // In spite of the reviewer; whether there is anything to merge, the merge finds out.
  if (record.wait?.code === "review") return passStep(board, node, true);
  // A proposal that may begin is not what a later change of sensitive files has to be approved as.
  if (record.stage === "merge") record.consent = "approve";
  board.goOn(node);
}

function canApprove({ record }: TaskNode): boolean {
  return record.wait?.code === "approval" || record.wait?.code === "review";
}

function release(board: Board, node: TaskNode): void {
  if (!canRelease(node)) throw refused(node, "release");
  board.releaseClaims(node);
}

function canRelease({ record }: TaskNode): boolean {
  return record.holdsClaims && record.state !== "running" && record.state !== "merging";
}

/** Proposed by an agent, and nobody has decided yet. */
function isOpenProposal({ record }: TaskNode): boolean {
  return record.proposedBy !== null && record.wait?.code === "approval" && record.ledger.attempts === 0;
}

/** What would change something now; a refusal names these as the next step. */
function possibleActions(node: TaskNode): TaskAction[] {
  const { record } = node;
  const isPossible: Record<TaskAction, boolean> = {
    pause: canPause(node),
    resume: canResume(node),
    cancel: !isEnded(record.state) && record.wish !== "cancel",
    retry: isRetryable(node),
    skip: record.state !== "succeeded" && record.state !== "skipped" && record.wish !== "skip",
    merge: canMerge(node),
    approve: canApprove(node),
    release: canRelease(node),
  };
  return TASK_ACTIONS.filter((action) => isPossible[action]);
}

function refused(node: TaskNode, action: TaskAction): AppError {
  const { record } = node;
  const now = record.wait === null ? record.state : `waiting (${record.wait.code})`;
  const wish = record.wish === null ? "" : ` and about to ${record.wish}`;
  const possible = possibleActions(node);
  const instead =
    hintFor(node, action) ??
    (possible.length === 0 ? "nothing is left to do with it" : `possible: ${possible.join(", ")}`);
  return new AppError("TASK_STATE", `can't ${action} task ${taskKey(record)}: it is ${now}${wish}; ${instead}`, {
    details: { task: taskKey(record), state: record.state, action, possible },
  });
}

/** Where another task or the plan is what was meant. */
function hintFor(node: TaskNode, action: TaskAction): string | null {
  const { record } = node;
  if (action === "retry" && record.state === "blocked") {
    const culprit = rootFailure(node);
    if (culprit !== null)
      return `retry ${taskKey(culprit.record)} instead, which ${culprit.record.state === "failed" ? "failed" : "was cancelled"}`;
  }
  if (action === "retry" && record.wait?.code === "question") return `answer it instead: ${record.wait.command ?? ""}`;
  if (action === "pause" && record.state === "pending") return `pause its plan ${record.planId} instead`;
  if (action === "merge" && record.state === "merging") return "it is in the merge queue already";
  return null;
}
