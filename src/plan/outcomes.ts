/** What the end of an attempt or of a merge means for its task. Pure over the board; the moment and chance are given. */
import { consequenceOf } from "./consequence.ts";
import type { Board } from "./board.ts";
import { showsProviderAtWork, type FailureCause } from "./failure-cause.ts";
import type { TaskNode } from "./node.ts";
import { ruleOut } from "./provider-choice.ts";
import { gateOf, noteFailure, notePark, noteSuccess } from "./provider-gate.ts";
import { taskKey, type Ledger, type NextTurn, type TaskKey, type Wish } from "./records.ts";
import type { Wait, WaitCode } from "./task-state.ts";
import { pausedWait } from "./waits.ts";
import { isReview, stepOf, type Verdict } from "./workflow.ts";

export type AttemptEnd =
  | {
      readonly type: "succeeded";
      readonly hasChanges: boolean;
      readonly message: string | null;
      /** Something was said to the agent that it has not heard: its session goes on before anything is merged. */
      readonly hasMail?: boolean;
      /** A later step's judgement of the work; the first step gives none. */
      readonly verdict?: Verdict | null;
    }
  | {
      readonly type: "failed";
      readonly cause: FailureCause;
      readonly message: string;
      readonly remedy: string | null;
      readonly retryAfterMs: number | null;
      readonly resetsAtMs: number | null;
    }
  /** Ended by the engine's own stop, or by its death before the agent was started: goes on, and nothing is spent. */
  | { readonly type: "interrupted" }
  /** Ended by an operator's wish; which one is in the record. */
  | { readonly type: "stopped" }
  /** Ended its turn to wait for answers to its questions; null: they are there already. Spends nothing but its attempt. */
  | { readonly type: "asked"; readonly wait: Wait | null }
  /** Never began: something outside is missing. Spends no attempt. Null: it was missing a moment ago only. */
  | { readonly type: "not-started"; readonly wait: Wait | null };

export type MergeEnd =
  | { readonly type: "merged"; readonly sha: string }
  | { readonly type: "nothing" }
  | {
      readonly type: "wait";
      readonly code: WaitCode;
      readonly message: string;
      readonly command: string | null;
      readonly untilMs?: number | null;
      /** What the checks of a red base printed. */
      readonly verifyOutput?: string;
    }
  /** The merged result did not pass; the output goes to the agent, as often as `maxRepairs` allows. */
  | { readonly type: "verify-failed"; readonly output: string; readonly canRepair: boolean }
  /** The target moved meanwhile, or the engine stopped: in line again. */
  | { readonly type: "again" };

/** Carries an attempt's end into the task's state. The task must be running. */
export function endAttempt(board: Board, key: TaskKey, end: AttemptEnd, nowMs: number, random: number): void {
  const node = board.node(key);
  const { record } = node;
  board.endProbe(node);
  const { wish } = record;
  record.wish = null;
  if (end.type === "not-started") {
    record.ledger = { ...record.ledger, attempts: record.ledger.attempts - 1 };
    if (wish === null || wish === "pause") {
      const wait = wish === "pause" ? pausedWait(node) : end.wait;
      if (wait === null) return beginAgain(board, node);
      if (wish === null && ruleOut(record, wait.code)) beginAgain(board, node, { message: wait.message });
      else board.move(node, "waiting", { wait });
      if (record.ledger.attempts === 0) board.releaseClaims(node);
      return;
    }
  }
  noteHealth(board, record.provider, end, nowMs);
  if (wish === "cancel" || wish === "skip") return board.carryOutWish(node, wish);
  if (end.type === "asked") return waitForAnswers(board, node, end.wait, wish);
  if (end.type === "succeeded") return finishStep(board, node, end, wish);
  if (end.type === "failed" && wish === null) return applyFailure(board, node, end, nowMs, random);
  if (wish === null) {
    // The engine's own stop, or an operator's who resumed the task before its agent was gone.
    if (record.ledger.attempts > 0) {
      record.nextTurn = againWith("You were interrupted. Look at the state of your worktree first, then go on.");
    }
    return board.move(node, "ready");
  }
  record.nextTurn = againWith("You were paused by the operator. Go on where you left off.");
  board.carryOutWish(node, wish);
}

/** One that never began asks its dependencies again: somebody may have opened one since it was let through. */
function beginAgain(board: Board, node: TaskNode, told: { readonly message?: string } = {}): void {
  board.move(node, "ready", told);
  if (node.record.ledger.attempts > 0) return;
  const next = board.stateByDependencies(node);
  if (next !== "ready") board.move(node, next);
}

/** What a turn's end tells of its provider. */
export function noteHealth(board: Board, provider: string, end: AttemptEnd, nowMs: number): void {
  const health = board.provider(provider);
  const before = JSON.stringify(health);
  const isWell = end.type === "succeeded" || end.type === "asked";
  if (isWell || (end.type === "failed" && showsProviderAtWork(end.cause))) {
    // Nobody is let through a shut gate: who ends well now began before it was shut, and says nothing of the time since.
    if (gateOf(health, nowMs).state !== "shut") noteSuccess(health);
  } else if (end.type === "failed") {
    if (end.cause === "usage-limit") notePark(health, end.resetsAtMs, end.message, nowMs, board.settings.gate);
    else noteFailure(health, end.cause, end.message, nowMs, board.settings.gate);
  }
  if (JSON.stringify(health) !== before) board.touchProvider(health);
}

/** Another turn of the same session, at once: the one before it spent nothing but its attempt. */
function hearMail(board: Board, node: TaskNode, wish: Wish | null): void {
  const { record } = node;
  record.nextTurn = { kind: "message", note: null };
  // Whatever step it is at: who carries out what was said is who does the task, and then it is judged again.
  if (isReview(record)) record.ledger = ledgerOfNextStep(record.ledger);
  const message = "something new was said to its agent, which goes on";
  board.move(node, "ready", { step: 0, cause: null, message });
  if (wish !== null) board.carryOutWish(node, wish);
}

/** No process and no slot meanwhile; the answers begin the next turn of the same session. */
function waitForAnswers(board: Board, node: TaskNode, wait: Wait | null, wish: Wish | null): void {
  node.record.nextTurn = { kind: "message", note: null };
  if (wish !== null) return board.carryOutWish(node, wish);
  if (wait === null) return board.move(node, "ready", { cause: null, message: "the answer to its question is there" });
  board.move(node, "waiting", { wait, cause: null, message: null });
}

/** The agent is done: on to the next step, back to the first, into the merge queue, to a person, or to the end. */
function finishStep(
  board: Board,
  node: TaskNode,
  end: Extract<AttemptEnd, { type: "succeeded" }>,
  wish: Wish | null,
): void {
  const verdict = isReview(node.record) ? (end.verdict ?? null) : null;
  if (verdict?.type === "reject") {
    // What was said meanwhile is told to the first step, in the same turn as the reject.
    sendBack(board, node, verdict.words, end.hasMail === true);
  } else if (end.hasMail === true) return hearMail(board, node, wish);
  else passStep(board, node, end.hasChanges);
  // A pause that came too late for this step still holds the next one.
  if (wish === "pause" && node.record.state === "ready") board.carryOutWish(node, wish);
}

/** What follows when a step is done: the next one, or after the last the merge. */
export function passStep(board: Board, node: TaskNode, hasChanges: boolean): void {
  const { record } = node;
  const next = record.step + 1;
  if (next < record.workflow.steps.length) {
    record.ledger = ledgerOfNextStep(record.ledger);
    record.nextTurn = { kind: "review", note: null };
    return board.move(node, "ready", { step: next, cause: null, message: null });
  }
  record.nextTurn = { kind: "again", note: null };
  if (!hasChanges || record.spec.merge === "none") {
    return board.move(node, "succeeded", { cause: null, message: hasChanges ? "not merged, as the task asks" : null });
  }
  record.stage = "merge";
  goToMerge(board, node);
}

/** Into the merge queue, or to a person where nothing is merged before they say so. */
export function goToMerge(board: Board, node: TaskNode): void {
  const { record } = node;
  if (record.spec.merge === "manual" && record.consent === null) {
    const command = `orchestrator merge ${taskKey(record)}`;
    const message = "the task is to be merged by hand";
    return board.move(node, "waiting", { wait: { code: "manual-merge", message, command, untilMs: null } });
  }
  board.move(node, "merging");
}

/**
 * A reject goes to the first step's own session with the words of who rejected; after `maxRounds` to a person. What a
 * person said meanwhile is one more round that they asked for: an approval would merge it unheard.
 */
function sendBack(board: Board, node: TaskNode, words: string, hasMail: boolean): void {
  const { record } = node;
  const { rounds } = record.ledger;
  const agent = stepOf(record).agent;
  // Kept for whoever retries: it is the first step that will be told.
  record.nextTurn = { kind: "rejected", note: words };
  const isRoundLeft = rounds < record.workflow.maxRounds;
  if (isRoundLeft || hasMail) {
    record.ledger = { ...ledgerOfNextStep(record.ledger), rounds: isRoundLeft ? rounds + 1 : rounds };
    const message = `${agent} rejected it: ${firstLines(words)}`;
    return board.move(node, "ready", { step: 0, cause: null, message });
  }
  const key = taskKey(record);
  const after = rounds === 0 ? "" : ` after ${rounds} ${rounds === 1 ? "repair" : "repairs"}`;
  const message = `${agent} rejected it${after}: ${firstLines(words)} — retry gives ${record.spec.agent} another round; to go on in spite of it: orchestrator approve ${key}`;
  const wait: Wait = { code: "review", message, command: `orchestrator retry ${key}`, untilMs: null };
  board.move(node, "waiting", { wait });
}

function applyFailure(
  board: Board,
  node: TaskNode,
  end: Extract<AttemptEnd, { type: "failed" }>,
  nowMs: number,
  random: number,
): void {
  const { record } = node;
  const key = taskKey(record);
  const consequence = consequenceOf(end, record.ledger, record.spec.retries, board.settings.retry, nowMs, random);
  const told = { cause: end.cause, message: end.message };
  switch (consequence.type) {
    case "back-off": {
      record.ledger = consequence.ledger;
      record.nextTurn = againWith("The last attempt was cut off before it ended: " + end.message);
      const wait: Wait = { code: "backoff", message: end.message, command: null, untilMs: consequence.untilMs };
      return board.move(node, "waiting", { wait, ...told });
    }
    case "park": {
      record.ledger = consequence.ledger;
      record.nextTurn = againWith("The account's limit was reached in the middle. Go on where you left off.");
      // Not as waiting for this one: another of its providers may take it now, or be well before this one is.
      if (stepOf(record).otherProviders !== undefined) return board.move(node, "ready", told);
      const untilMs = board.provider(record.provider).parkedUntilMs;
      return board.move(node, "waiting", {
        wait: { code: "usage-limit", message: end.message, command: null, untilMs },
        ...told,
      });
    }
    case "person": {
      record.nextTurn = againWith("The last attempt stopped: " + end.message);
      if (ruleOut(record, consequence.code)) return board.move(node, "ready", told);
      const message = end.remedy === null ? end.message : `${end.message} — ${end.remedy}`;
      const wait: Wait = { code: consequence.code, message, command: `orchestrator retry ${key}`, untilMs: null };
      return board.move(node, "waiting", { wait, ...told });
    }
    case "fresh-session":
      record.ledger = consequence.ledger;
      record.nextTurn = { kind: "hand-over", note: end.message };
      return board.move(node, "ready", told);
    case "continue":
      record.ledger = consequence.ledger;
      record.nextTurn = againWith(
        end.cause === "engine-crash"
          ? "You were interrupted: the engine that runs you stopped. Look at the state of your worktree first, then go on."
          : end.cause === "budget"
            ? "You were ended at the bound of the plan's budget, which has room again. Go on where you left off."
            : "You reached the limit of turns. Go on where you left off.",
      );
      return board.move(node, "ready", told);
    case "cancel":
      return board.move(node, "cancelled", told);
    case "fail": {
      const message = consequence.why === null ? end.message : `${end.message} (${consequence.why})`;
      return board.move(node, record.spec.onFailure === "skip" ? "skipped" : "failed", { cause: end.cause, message });
    }
  }
}

/** Carries a merge's end into the task's state. The task must be the active merge of its target. */
export function endMerge(board: Board, key: TaskKey, end: MergeEnd): void {
  const node = board.node(key);
  const { record } = node;
  board.endMerge(node);
  const { wish } = record;
  record.wish = null;
  if (end.type === "merged" || end.type === "nothing") {
    record.mergedSha = end.type === "merged" ? end.sha : null;
    return board.move(node, "succeeded", { cause: null, message: null });
  }
  if (wish !== null) return board.carryOutWish(node, wish);
  switch (end.type) {
    case "again":
      // Leaving and entering the line puts it at the end: others are not held up by one that keeps losing the race.
      board.move(node, "waiting", {
        wait: { code: "target", message: "the target moved", command: null, untilMs: null },
      });
      return board.move(node, "merging");
    case "wait": {
      const { code, message, command, untilMs = null } = end;
      return board.move(node, "waiting", { wait: { code, message, command, untilMs } });
    }
    case "verify-failed": {
      // Also for a person's retry: without the output its agent would not know what to repair.
      record.nextTurn = { kind: "repair", note: end.output };
      if (end.canRepair && record.ledger.repairs < board.settings.maxRepairs) {
        record.ledger = { ...ledgerOfNextStep(record.ledger), repairs: record.ledger.repairs + 1 };
        record.stage = "work";
        // What a person had let through was another state of the work.
        record.consent = null;
        // Through the later steps again: what lands was approved as it lands, not as it was before the repair.
        const message = "verify failed after merging; the agent repairs it";
        return board.move(node, "ready", { step: 0, cause: null, message });
      }
      const wait: Wait = {
        code: "verify",
        message: `verify failed after merging: ${lastLines(end.output)}`,
        command: `orchestrator retry ${key}`,
        untilMs: null,
      };
      return board.move(node, "waiting", { wait });
    }
  }
}

/** Each step and each visit to one has its own retries; what bounds the whole way is counted on. */
function ledgerOfNextStep(ledger: Ledger): Ledger {
  return { ...ledger, retries: 0, continuations: 0, freshSessions: 0 };
}

function againWith(note: string): NextTurn {
  return { kind: "again", note };
}

function firstLines(words: string): string {
  const first = words
    .trim()
    .split(/\s*\n\s*/)
    .slice(0, 3)
    .join(" / ");
  return first.length <= 300 ? first : `${first.slice(0, 300)}…`;
}

function lastLines(output: string): string {
  return output
    .trim()
    .split(/\s*\n\s*/)
    .slice(-3)
    .join(" / ")
    .slice(-300);
}
