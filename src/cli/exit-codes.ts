/** The one table of exit codes (DESIGN section 9): what each means, and which error ends with which. */
import type { ErrorCode } from "../errors.ts";

export const EXIT = {
  succeeded: 0,
  /** All ended, one failed or is blocked. */
  failed: 1,
  /** Wrong usage, plan or config. */
  usage: 2,
  /** Cannot run here: no repository, no agent CLI, no engine. */
  cannotRun: 3,
  /** Nothing can move without a person. */
  needsPerson: 4,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What is not listed is `cannotRun`; a test compares the list with errors.ts. */
export const EXIT_OF_ERROR: Readonly<Partial<Record<ErrorCode, ExitCode>>> = {
  PLAN_INVALID: EXIT.usage,
  PLAN_CYCLE: EXIT.usage,
  PLAN_UNKNOWN_DEPENDENCY: EXIT.usage,
  PLAN_DUPLICATE_TASK: EXIT.usage,
  PLAN_UNKNOWN_AGENT: EXIT.usage,
  PLAN_UNREADABLE: EXIT.usage,
  PLAN_EXISTS: EXIT.usage,
  PRICE_UNKNOWN: EXIT.usage,
  PLAN_NOT_FOUND: EXIT.usage,
  TASK_NOT_FOUND: EXIT.usage,
  TASK_STATE: EXIT.usage,
  QUESTION_NOT_FOUND: EXIT.usage,
  QUESTION_ANSWERED: EXIT.usage,
  INPUT_INVALID: EXIT.usage,
  REQUEST_KEY_REUSED: EXIT.usage,
  NOT_A_REPOSITORY: EXIT.cannotRun,
  REPOSITORY_UNUSABLE: EXIT.cannotRun,
  TARGET_NOT_FOUND: EXIT.usage,
  TARGET_DETACHED: EXIT.usage,
  HOOKS_UNUSABLE: EXIT.cannotRun,
  GIT_FAILED: EXIT.cannotRun,
  WORKTREE_FAILED: EXIT.cannotRun,
  CONFIG_INVALID: EXIT.usage,
  CONFIG_UNTRUSTED: EXIT.usage,
  BACKEND_NOT_FOUND: EXIT.usage,
  PROVIDER_NOT_FOUND: EXIT.usage,
  AGENT_CLI_MISSING: EXIT.cannotRun,
  ENGINE_UNREACHABLE: EXIT.cannotRun,
  ENGINE_OUTDATED: EXIT.cannotRun,
  ENGINE_STOPPING: EXIT.cannotRun,
  NOT_ALLOWED: EXIT.cannotRun,
  STATE_UNUSABLE: EXIT.cannotRun,
  MACHINE_LIMIT: EXIT.cannotRun,
  NATIVE_MODULE_MISSING: EXIT.cannotRun,
  USAGE: EXIT.usage,
  NOT_SUPPORTED: EXIT.usage,
  INTERNAL: EXIT.cannotRun,
};

export function exitCodeOf(code: ErrorCode): ExitCode {
  return EXIT_OF_ERROR[code] ?? EXIT.cannotRun;
}

/** How a plan stands, as `task_status` tells it. */
export type PlanState = "running" | "needs-person" | "succeeded" | "failed";

export function exitCodeOfPlan(state: PlanState): ExitCode {
  switch (state) {
    case "succeeded":
      return EXIT.succeeded;
    case "failed":
      return EXIT.failed;
    case "running":
    case "needs-person":
      return EXIT.needsPerson;
  }
}
