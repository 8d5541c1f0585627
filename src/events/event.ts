/**
 * What happened, as rows: each is written in the transaction of the change it tells, with a sequence number that only
 * grows. The bus hands committed rows on (never dropped, in order); live agent output is not a row and may be dropped
 * by a slow listener, because `attempts/<id>/` can always retell it.
 */
import type { FailureCause } from "../plan/failure-cause.ts";
import type { AnsweredBy, QuestionStage } from "../plan/question.ts";
import type { TaskState, Wait } from "../plan/task-state.ts";

export type EventBody =
  | { readonly type: "engine-started"; readonly version: string; readonly recovered: number }
  | { readonly type: "engine-stopping"; readonly reason: string }
  | { readonly type: "plan-created"; readonly target: string; readonly tasks: number }
  | { readonly type: "plan-changed"; readonly added: number; readonly changed: number; readonly dropped: number }
  /** What it may use from now on; null: unbounded. */
  | {
      readonly type: "plan-budget";
      readonly usd: number | null;
      readonly tokens: number | null;
      readonly minutes: number | null;
    }
  | { readonly type: "plan-paused" }
  /** All tasks ended or are blocked. A retry opens it again. */
  | { readonly type: "plan-ended"; readonly state: "succeeded" | "failed" }
  | { readonly type: "plan-resumed" }
  | { readonly type: "task-added"; readonly title: string }
  | { readonly type: "task-dropped" }
  | {
      readonly type: "task-state";
      readonly from: TaskState;
      readonly to: TaskState;
      readonly wait: Wait | null;
      readonly cause: FailureCause | null;
      readonly message: string | null;
    }
  | {
      readonly type: "attempt-started";
      readonly number: number;
      readonly provider: string;
      readonly pid: number | null;
    }
  | { readonly type: "attempt-session"; readonly sessionId: string }
  | { readonly type: "attempt-note"; readonly message: string }
  | {
      readonly type: "attempt-ended";
      readonly number: number;
      readonly outcome: "succeeded" | "asked" | "failed";
      readonly cause: FailureCause | null;
      readonly message: string | null;
      readonly costUsd: number | null;
      readonly tokens: number | null;
    }
  /** Somebody said something to the task's agent. */
  | { readonly type: "message"; readonly sender: string; readonly text: string }
  | {
      readonly type: "report";
      readonly status: string;
      readonly summary: string;
      readonly verdict?: "approve" | "reject";
    }
  /** What a later step of a workflow said of the work, once it counts. */
  | {
      readonly type: "verdict";
      readonly agent: string;
      /** Counted from 1, as is the round. */
      readonly step: number;
      readonly round: number;
      readonly verdict: "approve" | "reject";
      readonly summary: string;
    }
  | { readonly type: "merge-started"; readonly target: string; readonly candidate: string | null }
  | {
      readonly type: "merge-ended";
      readonly target: string;
      readonly outcome: string;
      readonly sha: string | null;
      readonly message: string | null;
    }
  | {
      readonly type: "provider-changed";
      readonly provider: string;
      readonly state: string;
      readonly reason: string | null;
    }
  /** Texts of questions and answers are cut; their rows have the whole. */
  | {
      readonly type: "question-asked";
      readonly id: string;
      readonly question: string;
      readonly options: readonly string[];
    }
  /** Who is asked now, and why not who was asked before. */
  | {
      readonly type: "question-routed";
      readonly id: string;
      readonly stage: QuestionStage;
      readonly untilMs: number;
      readonly reason: string | null;
    }
  | { readonly type: "question-answered"; readonly id: string; readonly answer: string; readonly by: AnsweredBy }
  /** Every deadline passed: the agent uses its own judgement. */
  | { readonly type: "question-expired"; readonly id: string }
  /** Its task ended, or its agent decided by itself. */
  | { readonly type: "question-withdrawn"; readonly id: string; readonly reason: string }
  | { readonly type: "warning"; readonly message: string };

export type EventType = EventBody["type"];

export interface StoredEvent {
  /** Grows by one a row; never reused. */
  readonly seq: number;
  readonly atMs: number;
  readonly planId: string | null;
  readonly taskId: string | null;
  readonly attemptId: string | null;
  readonly body: EventBody;
}

export type NewEvent = Omit<StoredEvent, "seq" | "atMs">;
