/**
 * The one error class of the project and the list of its codes.
 *
 * Callers branch on `code`, never on text. A message names the thing, what was expected, what was found and the next
 * step. Expected outcomes are values, not errors: an `AppError` is thrown for input that is refused and for
 * preconditions that do not hold.
 */

/** Each code with the condition under which it is thrown. */
export const ERROR_CODES = {
  PLAN_INVALID: "the plan does not fit the schema (wrong type, unknown key, empty, bad id, bad glob)",
  PLAN_CYCLE: "the dependencies form a cycle; details.cycle is its path",
  PLAN_UNKNOWN_DEPENDENCY: "a task depends on an id that the plan does not have",
  PLAN_DUPLICATE_TASK: "two tasks of a plan have one id",
  PLAN_UNKNOWN_AGENT: "a task names a role that the config does not have",
  PLAN_UNREADABLE: "the plan file is missing, too large or is neither JSON nor YAML",
  PLAN_EXISTS: "a plan of that name is under way with another text",
  PRICE_UNKNOWN: "a plan has a budget in money, and nobody knows what a model that it uses costs",
  PLAN_NOT_FOUND: "no plan has that id",
  TASK_NOT_FOUND: "no task has that id, or it is ambiguous without its plan",
  TASK_STATE: "the task's state does not allow what was asked",
  QUESTION_NOT_FOUND: "no question has that id",
  QUESTION_ANSWERED: "the question is open no more: answered, expired or withdrawn; details.by says by whom",
  INPUT_INVALID: "an operation's input does not fit its schema",
  REQUEST_KEY_REUSED: "a request key was used before for another operation or input",
  NOT_A_REPOSITORY: "no git repository was found",
  REPOSITORY_UNUSABLE: "the repository is bare, has no commit, or has a branch named `orchestrator`",
  TARGET_NOT_FOUND: "the target branch does not exist",
  TARGET_DETACHED: "HEAD is detached, so there is no branch to default to",
  HOOKS_UNUSABLE: "git's hooks folder can't be written, or hooks are switched off",
  GIT_FAILED: "a git command ended with an error; details has the arguments and git's words",
  WORKTREE_FAILED: "a worktree could not be made, reset or removed",
  CONFIG_INVALID: "a config file has a syntax error, an unknown key or a wrong value; details has file, line, column",
  CONFIG_UNTRUSTED: "the repository's own config is not trusted, or changed since it was",
  BACKEND_NOT_FOUND: "a provider has a kind that does not exist",
  PROVIDER_NOT_FOUND: "an agent names a provider that the config does not have",
  AGENT_CLI_MISSING: "the CLI of a provider is not installed",
  ENGINE_UNREACHABLE: "the engine could not be started or did not answer",
  ENGINE_OUTDATED: "the client is older than the engine, or speaks another protocol",
  ENGINE_STOPPING: "the engine is shutting down and takes no new work",
  NOT_ALLOWED: "a satellite asked for what only an operator may do",
  STATE_UNUSABLE: "the state folder or file can't be used: read-only, on a network file system, damaged or newer",
  MACHINE_LIMIT: "the machine has no room, descriptors, processes or memory left for what was asked",
  NATIVE_MODULE_MISSING: "better-sqlite3 has no compiled part on this machine",
  USAGE: "the command line is wrong",
  NOT_SUPPORTED: "what was asked for can't be done on this platform or with this backend",
  INTERNAL: "a bug; details.id is in the engine's log",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface AppErrorOptions {
  /** Plain data about the failure, safe to show and to log. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** What every part throws. `message` is for people, `code` for programs. */
export class AppError extends Error {
  override readonly name = "AppError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** The text of anything that was thrown, without a stack. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message;
  return String(thrown);
}

/** True when `thrown` is an AppError with one of `codes`. */
export function hasCode(thrown: unknown, ...codes: readonly ErrorCode[]): thrown is AppError {
  return thrown instanceof AppError && codes.includes(thrown.code);
}
