/** What the core knows of plans and tasks: plain values, the same in memory, in the store and on the wire. */
import type { FailureCause } from "./failure-cause.ts";
import type { TaskState, Wait } from "./task-state.ts";

export type FailureMode = "hard" | "soft" | "skip";
export type MergeMode = "auto" | "manual" | "none";

/** A task as it was submitted, defaults filled in. */
export interface TaskSpec {
  readonly id: string;
  readonly title: string;
  readonly prompt: string;
  /** A role of the config. */
  readonly agent: string;
  readonly dependsOn: readonly string[];
  /** Claims as globs; null = none given (no claim, with a warning); [] = writes nothing. */
  readonly writes: readonly string[] | null;
  readonly onFailure: FailureMode;
  readonly workflow: string | null;
  /** Null: the config's. */
  readonly verify: readonly string[] | null;
  readonly merge: MergeMode;
  readonly timeoutMinutes: number;
  readonly priority: number;
  /** Null: the config's for causes that pass by themselves, none for a command that failed. */
  readonly retries: number | null;
  /** The task whose agent goes on here, in its conversation and its folder: set when something is said to it after its end. */
  readonly continues: string | null;
}

/** One step of a task's way: who does it. Resolved from the config when the plan is made, so that it never changes. */
export interface Step {
  /** A role of the config. */
  readonly agent: string;
  /** Whom it prefers; from the moment it went to another, that one: a task stays where it is until its end. */
  readonly provider: string;
  /** Where it goes while its provider can't take it, in this order. */
  readonly otherProviders?: readonly string[];
  /** What this step is told besides; for a command, what it runs. Null for the first step, whose prompt is the task's. */
  readonly prompt: string | null;
}

/** The steps that a task goes through on its one branch before it merges; a task without a workflow has one. */
export interface Workflow {
  readonly steps: readonly Step[];
  /** How often a reject goes back to the first step before a person is asked. */
  readonly maxRounds: number;
}

export function singleStep(agent: string, provider: string): Workflow {
  return { steps: [{ agent, provider, prompt: null }], maxRounds: 0 };
}

export interface Budget {
  readonly usd: number | null;
  readonly tokens: number | null;
  readonly minutes: number | null;
}

export interface PlanRecord {
  readonly id: string;
  readonly name: string | null;
  readonly goal: string | null;
  /** Short name of the target branch. */
  readonly target: string;
  maxConcurrent: number;
  budget: Budget;
  readonly createdAtMs: number;
  paused: boolean;
}

/** What was used up, each in a ledger of its own: waiting never spends a retry. */
export interface Ledger {
  readonly attempts: number;
  readonly retries: number;
  readonly continuations: number;
  readonly freshSessions: number;
  readonly repairs: number;
  /** Rejects that went back to the first step. */
  readonly rounds: number;
  /** Attempts that ended because the account was used up. */
  readonly waits: number;
}

export const EMPTY_LEDGER: Ledger = {
  attempts: 0,
  retries: 0,
  continuations: 0,
  freshSessions: 0,
  repairs: 0,
  rounds: 0,
  waits: 0,
};

export const TURN_KINDS = ["start", "again", "hand-over", "repair", "message", "review", "rejected"] as const;
export type TurnKind = (typeof TURN_KINDS)[number];

/** How the next attempt begins. */
export interface NextTurn {
  /**
   * `start`: the task's prompt, a new session · `again`: the session goes on where there is one · `hand-over`: a new
   * session that is told what the old one did · `repair`: the session is given the output of a failed verify ·
   * `message`: the session is given what was said to it meanwhile (which any other kind of turn tells too) · `review`: a
   * later step looks at the work, for the first time or again · `rejected`: the session is given a reviewer's words.
   */
  readonly kind: TurnKind;
  /** What the agent is told besides; null when nothing. */
  readonly note: string | null;
}

export const FIRST_TURN: NextTurn = { kind: "start", note: null };

/** What an operator wished for a task while its agent runs; carried out when the attempt has ended. */
export type Wish = "cancel" | "pause" | "skip";

export interface TaskRecord {
  readonly planId: string;
  readonly id: string;
  /** Age: counts up over all plans of the engine. */
  readonly ordinal: number;
  spec: TaskSpec;
  workflow: Workflow;
  /** Which step it is at, counted from 0. */
  step: number;
  /** The current step's: slots and gates go by it. A ready task may start with another of its step's. */
  provider: string;
  /** Providers that can't serve it before a person has acted: no key, no credit, no program. A retry forgets them. */
  ruledOut: string[];
  state: TaskState;
  wait: Wait | null;
  /** Where a waiting task goes on: with an agent, or in the merge queue. */
  stage: "work" | "merge";
  /** Why it failed, was cancelled or was skipped. */
  cause: FailureCause | null;
  message: string | null;
  ledger: Ledger;
  nextTurn: NextTurn;
  wish: Wish | null;
  /** True from the first attempt until merged, failed, cancelled or released. */
  holdsClaims: boolean;
  /** What a person last said about the work as it is: that it may be merged, or also what needs approval in it. */
  consent: Consent | null;
  /** The commit that brought the task's work into the target; null while not merged, or when there was nothing. */
  mergedSha: string | null;
  /** The task whose agent proposed this one; null for a person's or a parent's. */
  readonly proposedBy: string | null;
}

export const CONSENTS = ["merge", "approve"] as const;

/** The control action with which a person let work through. */
export type Consent = (typeof CONSENTS)[number];

/** A task's full name: unique in the engine. */
export type TaskKey = `${string}/${string}`;

export function taskKey(task: { readonly planId: string; readonly id: string }): TaskKey {
  return `${task.planId}/${task.id}`;
}

export function newTask(
  planId: string,
  ordinal: number,
  spec: TaskSpec,
  workflow: Workflow,
  proposedBy: string | null = null,
): TaskRecord {
  return {
    planId,
    id: spec.id,
    ordinal,
    spec,
    workflow,
    step: 0,
    provider: workflow.steps[0]?.provider ?? "",
    ruledOut: [],
    state: "pending",
    wait: null,
    stage: "work",
    cause: null,
    message: null,
    ledger: EMPTY_LEDGER,
    nextTurn: FIRST_TURN,
    wish: null,
    holdsClaims: false,
    consent: null,
    mergedSha: null,
    proposedBy,
  };
}

/** A provider's health: its circuit and its parking, kept over restarts. */
export interface ProviderHealth {
  readonly name: string;
  failuresInARow: number;
  /** The circuit lets nobody through before this moment, then one probe. */
  openUntilMs: number | null;
  /** The account is used up; nobody is let through before this moment. */
  parkedUntilMs: number | null;
  /** True when the reset's time was not told, so that after the parking only one task probes. */
  isResetUnknown: boolean;
  parkings: number;
  reason: string | null;
}

export function healthyProvider(name: string): ProviderHealth {
  return {
    name,
    failuresInARow: 0,
    openUntilMs: null,
    parkedUntilMs: null,
    isResetUnknown: false,
    parkings: 0,
    reason: null,
  };
}
