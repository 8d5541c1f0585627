/**
 * Why a turn of Claude Code failed, told from what it printed. Pure.
 *
 * The order matters and follows what was seen of 2.1.329: no result at all → the exit and stderr decide; a result that
 * is no error → there must be an answer; else the result's `subtype`, then the `error` of the last assistant message,
 * then the HTTP status, then the text. `subtype` is "success" for API failures too, and exit code 0 proves nothing.
 */
import type { FailureCause } from "../plan/failure-cause.ts";
import type { ProcessEnd } from "./backend.ts";
import { readResetTime } from "./claude-reset-time.ts";
import { fieldsOf, listOf, numberOf, oneLine, stringOf, type Fields } from "./fields.ts";

export interface ClaudeFailure {
  readonly cause: FailureCause;
  readonly message: string;
  readonly remedy: string | null;
  readonly resetsAtMs: number | null;
  /** False when the conversation does not exist (any more) or no longer fits: the next turn needs a new one. */
  readonly canContinue: boolean;
}

/** What the stream said, as far as the end is concerned. */
export interface ClaudeStreamFacts {
  /** The last `result` event, unless a turn began after it and did not end: then there is none. */
  readonly result: Fields | null;
  /** The last synthetic assistant message that tells of a failed request. */
  readonly apiError: Fields | null;
  /** `rate_limit_info` as it was told last. */
  readonly rateLimit: Fields;
  readonly hasStarted: boolean;
  /** The model said or did anything in this process. */
  readonly hasModelSpoken: boolean;
  readonly hasAnswer: boolean;
  /** The agent handed in its report through our tool, which counts as an answer. */
  readonly hasReported: boolean;
  readonly needsStructured: boolean;
  readonly hasStructured: boolean;
  /** The bound in money that the CLI had was ours. */
  readonly hasCostFence: boolean;
}

const MESSAGE_LENGTH = 500;

const AUTH_REMEDY =
  "Start `claude` once and sign in with /login, or set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN, made by " +
  "`claude setup-token`) where the orchestrator is started.";

const CLOUD_AUTH_REMEDY =
  "Refresh the cloud provider's credentials. Variables such as AWS_ACCESS_KEY_ID or GOOGLE_APPLICATION_CREDENTIALS " +
  "reach agents only when `providers.<name>.passEnv` names them.";

const MODEL_REMEDY = "Set `agents.<role>.model` in the config to a model that this account can use.";

const REFUSAL_REMEDY = "Say the task in other words, or set `agents.<role>.model` to another model.";

const START_REMEDY =
  "Look at `providers.<name>.args`, and bring Claude Code up to date: `npm install -g @anthropic-ai/claude-code`.";

/** Why the turn failed, or null when it succeeded. */
export function classifyClaudeEnd(facts: ClaudeStreamFacts, end: ProcessEnd, nowMs: number): ClaudeFailure | null {
  const { result } = facts;
  if (result === null) return classifyWithoutResult(facts, end);
  const subtype = stringOf(result["subtype"]) ?? "";
  if (result["is_error"] !== true && !subtype.startsWith("error_")) return classifyAnswer(facts, result);
  return classifyErrorSubtype(subtype, facts, result) ?? classifyApiError(facts, result, nowMs);
}

/** A signal, a start that was refused (stderr only), or a process that went away. */
function classifyWithoutResult(facts: ClaudeStreamFacts, end: ProcessEnd): ClaudeFailure {
  const words = lastWords(end.stderrTail);
  if (/No conversation found/i.test(end.stderrTail)) return unknownSession(words);
  const said = words === "" ? "" : `: ${words}`;
  const signal = end.signal ?? signalOf(end.exitCode);
  if (signal !== null) return failure("crashed", `Claude Code was ended by ${signal} before it gave a result${said}`);
  if (/not logged in|invalid api key|authentication/i.test(words)) return failure("auth", words, AUTH_REMEDY);
  if (end.exitCode !== 0 && !facts.hasStarted) {
    // An id that is taken can't be used again; the next attempt has one of its own.
    if (/already in use/i.test(words)) return { ...failure("crashed", words), canContinue: false };
    return failure("spawn-failed", `Claude Code did not start (exit code ${end.exitCode})${said}`, START_REMEDY);
  }
  return failure("crashed", `Claude Code ended with exit code ${end.exitCode} and without a result${said}`);
}

function classifyAnswer(facts: ClaudeStreamFacts, result: Fields): ClaudeFailure | null {
  const text = stringOf(result["result"]) ?? "";
  if (!facts.hasModelSpoken && /blocked by hook/i.test(text)) {
    return failure(
      "permission-denied",
      text,
      "A hook in your own Claude Code settings (~/.claude/settings.json) refused the prompt: change or remove it.",
    );
  }
  if (facts.needsStructured && !facts.hasStructured) {
    return failure("no-result", `the answer is not in the required form: ${text}`);
  }
  if (!facts.hasModelSpoken) return failure("no-result", "Claude Code ended well without asking the model anything");
  if (!facts.hasAnswer && !facts.hasReported && !facts.hasStructured) {
    return failure("no-result", "the model's answer was empty");
  }
  return null;
}

function classifyErrorSubtype(
  subtype: string,
  { hasCostFence }: ClaudeStreamFacts,
  result: Fields,
): ClaudeFailure | null {
  const words = listOf(result["errors"])
    .filter((error) => typeof error === "string")
    .join("; ");
  switch (subtype) {
    case "error_max_turns":
      return failure("turn-limit", words || "the limit on turns was reached");
    case "error_max_budget_usd":
      if (hasCostFence) return failure("budget", words || "the turn reached the bound in money of the plan's budget");
      // Only a provider's own arguments can have set one. Going on would spend what the user did not want to spend.
      return failure(
        "billing",
        words || "the CLI's own budget is used up",
        "Raise or remove --max-budget-usd in `providers.<name>.args`.",
      );
    case "error_max_structured_output_retries":
      return failure("no-result", words || "the answer did not fit the required form");
    case "error_during_execution":
      if (/No conversation found/i.test(words)) return unknownSession(words);
      return failure("crashed", `the turn was interrupted: ${words || (stringOf(result["terminal_reason"]) ?? "")}`);
    default:
      return null;
  }
}

/** A request to the model failed for good: the CLI's own retries are over. */
function classifyApiError(facts: ClaudeStreamFacts, result: Fields, nowMs: number): ClaudeFailure {
  const apiError = facts.apiError ?? {};
  const text = stringOf(result["result"]) ?? "";
  const status = numberOf(result["api_error_status"]) ?? numberOf(apiError["api_error_status"]);
  const message = text === "" ? `the model API failed${status === null ? "" : ` with HTTP ${status}`}` : text;
  const kind = stringOf(result["api_error"]) ?? stringOf(apiError["api_error"]);
  const type = stringOf(result["api_error_type"]) ?? stringOf(apiError["api_error_type"]);
  const ending = stringOf(result["terminal_reason"]);

  if (isUsageLimit(kind, text)) return usageLimit(facts, apiError, message, text, nowMs);
  if (isOverflow(ending, status, apiError, text)) {
    return { ...failure("context-overflow", message), canContinue: false };
  }
  if (type === "billing_error" || /credit balance|spend(ing)? limit|out of usage credits/i.test(text)) {
    return failure("billing", message, "The account has no credit left: look at its plan and billing.");
  }
  if (kind === "org_disabled_credential") return failure("auth", message, AUTH_REMEDY);
  if (result["stop_reason"] === "refusal") return failure("invalid-request", message, REFUSAL_REMEDY);
  return classifyErrorField(stringOf(apiError["error"]), message) ?? classifyStatus(status, message);
}

/** The `error` field: the CLI's own classes (complete for 2.1.329). */
function classifyErrorField(error: string | null, message: string): ClaudeFailure | null {
  switch (error) {
    case "authentication_failed":
    case "oauth_org_not_allowed":
    case "account_on_hold":
    case "verification_required":
      return failure("auth", message, AUTH_REMEDY);
    case "cloud_credential_error":
      return failure("auth", message, CLOUD_AUTH_REMEDY);
    case "billing_error":
      return failure("billing", message, "The account has no credit left: look at its plan and billing.");
    case "rate_limit":
      return failure("rate-limit", message);
    case "model_not_found":
      return failure("invalid-request", message, MODEL_REMEDY);
    case "invalid_request":
      return failure("invalid-request", message, "The model API refuses this request: see the message.");
    case "overloaded":
    case "server_error":
      return failure("transient", message);
    case "max_output_tokens":
      return failure(
        "invalid-request",
        message,
        "Ask for less at once, or set CLAUDE_CODE_MAX_OUTPUT_TOKENS in `providers.<name>.env`.",
      );
    default:
      return null;
  }
}

function classifyStatus(status: number | null, message: string): ClaudeFailure {
  if (status === null) {
    // No HTTP answer: the network. Anything else that the CLI calls an error without saying more may pass as well, but
    // is not the provider's making.
    return failure(/^API Error|timed out|connect/i.test(message) ? "transient" : "crashed", message);
  }
  if (status === 401 || status === 403) return failure("auth", message, AUTH_REMEDY);
  if (status === 402) {
    return failure("billing", message, "The account has no credit left: look at its plan and billing.");
  }
  if (status === 404) return failure("invalid-request", message, MODEL_REMEDY);
  if (status === 429) return failure("rate-limit", message);
  if (status === 408 || status === 409 || status >= 500) return failure("transient", message);
  return failure("invalid-request", message, "The model API refuses this request: see the message.");
}

/**
 * The account's allowance, not the moment's rate. 2.1.329 says so by `api_error`; older versions only by text:
 * `You've hit your limit · resets 2am (Europe/Berlin)`, `Claude AI usage limit reached|1755806400`.
 * "Server is temporarily limiting requests (not your usage limit)" is a rate limit.
 */
function isUsageLimit(kind: string | null, text: string): boolean {
  if (kind === "usage_limit_reached") return true;
  if (/not your usage limit/i.test(text)) return false;
  return (
    /(hit your\b.*\blimit|limit reached)\b.*(\bresets?\b|\|\d{9,})/is.test(text) && !/spend(ing)? limit/i.test(text)
  );
}

function usageLimit(
  facts: ClaudeStreamFacts,
  apiError: Fields,
  message: string,
  text: string,
  nowMs: number,
): ClaudeFailure {
  const refused = fieldsOf(fieldsOf(apiError["api_error_params"])["rate_limit_info"]);
  const seconds = numberOf(refused["resetsAt"]) ?? numberOf(facts.rateLimit["resetsAt"]);
  return {
    ...failure("usage-limit", message),
    resetsAtMs: seconds === null ? readResetTime(text, nowMs) : seconds * 1000,
  };
}

/** Also a request that is too large in bytes (413): it is the conversation that grew, and a fresh one helps. */
function isOverflow(ending: string | null, status: number | null, apiError: Fields, text: string): boolean {
  if (ending === "prompt_too_long" || ending === "blocking_limit" || ending === "rapid_refill_breaker") return true;
  if (status === 413 || fieldsOf(apiError["api_error_params"])["cut"] === "context_window") return true;
  return /^prompt is too long/i.test(text);
}

/** The transcript is gone (another home, purged): a fresh session with a hand-over note is what helps. */
function unknownSession(words: string): ClaudeFailure {
  return { ...failure("no-result", words || "the conversation does not exist any more"), canContinue: false };
}

function failure(cause: FailureCause, message: string, remedy: string | null = null): ClaudeFailure {
  return { cause, message: oneLine(message, MESSAGE_LENGTH), remedy, resetsAtMs: null, canContinue: true };
}

/** Its own handlers turn TERM and HUP into exit codes (143, 129); a shell in between does so with any signal. */
function signalOf(exitCode: number | null): string | null {
  const names: Readonly<Record<number, string>> = {
    129: "SIGHUP",
    130: "SIGINT",
    134: "SIGABRT",
    137: "SIGKILL",
    139: "SIGSEGV",
    143: "SIGTERM",
  };
  return exitCode === null ? null : (names[exitCode] ?? null);
}

function lastWords(stderrTail: string): string {
  const lines = stderrTail.split("\n").filter((line) => line.trim() !== "");
  const error = lines.findLast((line) => /error|not |no /i.test(line));
  return oneLine(error ?? lines.at(-1) ?? "", MESSAGE_LENGTH);
}
