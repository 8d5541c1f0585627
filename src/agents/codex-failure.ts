/**
 * Why a turn of Codex failed, told from its words: `exec --json` gives no status code and no error code, only text.
 * The patterns follow codex-cli 0.169, each from a captured run; they are tried from the top.
 */
import type { FailureCause } from "../plan/failure-cause.ts";
import { readDelay, readResetTime } from "./codex-reset-time.ts";

export interface CodexFailure {
  readonly cause: FailureCause;
  /** One line, in Codex's or the provider's words. */
  readonly message: string;
  readonly remedy: string | null;
  readonly retryAfterMs: number | null;
  readonly resetsAtMs: number | null;
}

export const SANDBOX_REMEDY =
  "Codex could not start its sandbox: `codex sandbox -- true` must end with exit code 0. Allow unprivileged user " +
  'namespaces on this machine, or give the role `"permissions": "full"`, which runs without a sandbox.';

/** `codex exec` reads CODEX_API_KEY only; OPENAI_API_KEY counts once it was given to `codex login` (seen). */
const AUTH_REMEDY =
  "Run `codex login` (with a key: `codex login --with-api-key`), or set CODEX_API_KEY, or for a provider of your own " +
  "the variable that its `env_key` names.";

const BILLING_REMEDY = "The account behind Codex has no credit left: look at its plan and billing.";

/** Classifies the message of `turn.failed`. */
export function classifyTurnFailure(text: string, nowMs: number): CodexFailure {
  const message = oneLine(apiErrorText(text));
  const cause = causeOf(text);
  return {
    cause,
    message: message === "" ? "Codex gave no reason" : message,
    remedy: remedyFor(cause, text),
    retryAfterMs: cause === "rate-limit" || cause === "transient" ? readDelay(text) : null,
    resetsAtMs: cause === "usage-limit" ? readResetTime(text, nowMs) : null,
  };
}

function causeOf(text: string): FailureCause {
  for (const [pattern, cause] of TURN_PATTERNS) if (pattern.test(text)) return cause;
  const status = /(?:unexpected status|last status:) (\d{3})/.exec(text)?.[1];
  if (status !== undefined) return causeOfStatus(Number(status));
  if (TRANSPORT.test(text)) return "transient";
  // What is left is the provider's own message with nothing around it. Codex prints that only for answers it takes for
  // final (unknown model, refused prompt, 400).
  return "invalid-request";
}

const TURN_PATTERNS: readonly (readonly [RegExp, FailureCause])[] = [
  [/hit your usage limit|usage_limit_reached/i, "usage-limit"],
  [
    /^quota exceeded|insufficient_quota|out of credits|to use codex with your chatgpt plan|credit (?:balance|limit)|billing_hard_limit/i,
    "billing",
  ],
  [/context window|context_length_exceeded|maximum context length/i, "context-overflow"],
  [/^missing environment variable|invalid_api_key|not logged in|sign in again|could not be refreshed/i, "auth"],
  // Wrapped in "stream disconnected …", which by itself would pass.
  [/incomplete response returned|content_filter|content_policy/i, "invalid-request"],
  [/^rate limit exceeded|rate_limit_exceeded|rate limit reached/i, "rate-limit"],
  [/high demand|at capacity|overloaded/i, "transient"],
];

const TRANSPORT =
  /stream disconnected|connection (?:failed|refused|reset|closed)|error sending request|idle timeout|timed? ?out|dns|network/i;

function causeOfStatus(status: number): FailureCause {
  if (status === 401 || status === 407) return "auth";
  if (status === 402) return "billing";
  if (status === 429) return "rate-limit";
  if (status === 408 || status === 409 || status === 425 || status >= 500) return "transient";
  return "invalid-request";
}

function remedyFor(cause: FailureCause, text: string): string | null {
  if (cause === "billing") return BILLING_REMEDY;
  if (cause === "invalid-request") {
    return /model/i.test(text) ? "Check the role's `model` and whether the account may use it." : null;
  }
  if (cause !== "auth") return null;
  const variable = /^Missing environment variable: `([^`]+)`/.exec(text)?.[1];
  if (variable === undefined) return AUTH_REMEDY;
  return `Set ${variable} where you start the orchestrator and list it in the provider's \`passEnv\`.`;
}

/** The provider's own words out of a 400, whose body comes as it was: JSON in a string. */
function apiErrorText(text: string): string {
  if (!text.startsWith("{")) return text;
  try {
    const body = JSON.parse(text) as { error?: { message?: unknown }; detail?: unknown };
    const words = body.error?.message ?? body.detail;
    return typeof words === "string" ? words : text;
  } catch {
    return text;
  }
}

/** What the end of a process says that never told how its turn ended. */
export interface AbruptEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderr: string;
  /** The last `error` event that was no retry's. */
  readonly lastError: string | null;
  /** Once the turn has begun, stderr holds the words of tools and no longer tells of the start. */
  readonly turnStarted: boolean;
}

/** Classifies a process that ended without `turn.completed` or `turn.failed`. */
export function classifyAbruptEnd(end: AbruptEnd, nowMs: number): CodexFailure {
  if (end.signal === null && !end.turnStarted) {
    const found = START_PATTERNS.find(({ pattern }) => pattern.test(end.stderr));
    if (found !== undefined) return failure(found.cause, stderrWords(end.stderr, found.pattern), found.remedy);
    if (end.exitCode === 2) return failure("spawn-failed", stderrWords(end.stderr, /^error: /m), FLAGS_REMEDY);
  }
  if (end.signal === null && end.lastError !== null) return classifyTurnFailure(end.lastError, nowMs);
  const how = end.signal === null ? `exit code ${end.exitCode ?? "unknown"}` : `signal ${end.signal}`;
  const words = stderrWords(end.stderr, /^(?:thread .* panicked|Error)/m);
  return failure(
    "crashed",
    oneLine(`Codex ended with ${how} before its turn did${words === "" ? "" : `: ${words}`}`),
    null,
  );
}

const FLAGS_REMEDY = "Check the provider's `args`, and that Codex is no older than 0.169.";

const CONFIG_REMEDY = "Correct Codex's config.toml (in CODEX_HOME, else ~/.codex) or the provider's `args`.";

const START_PATTERNS: readonly { pattern: RegExp; cause: FailureCause; remedy: string | null }[] = [
  { pattern: /no rollout found for thread id/, cause: "no-result", remedy: null },
  { pattern: /already has an active writer/, cause: "transient", remedy: null },
  {
    pattern: /No prompt provided|Failed to read prompt/,
    cause: "invalid-request",
    remedy: "Give the task a prompt.",
  },
  {
    pattern: /input_too_large|Input exceeds the maximum length/,
    cause: "invalid-request",
    remedy: "Shorten the task's prompt: Codex takes at most 1,048,576 characters.",
  },
  {
    pattern: /Error loading config|Error finding codex home|Failed to load configuration/i,
    cause: "spawn-failed",
    remedy: CONFIG_REMEDY,
  },
  { pattern: /required MCP servers failed to initialize.*(?:timed out|deadline)/, cause: "transient", remedy: null },
  {
    pattern: /required MCP servers failed to initialize/,
    cause: "spawn-failed",
    remedy: "An MCP server that Codex must have did not start: see its words, and `orchestrator doctor`.",
  },
  {
    pattern: /Not inside a trusted directory|output schema file|No such file or directory \(os error 2\)/i,
    cause: "spawn-failed",
    remedy: null,
  },
];

function failure(cause: FailureCause, message: string, remedy: string | null): CodexFailure {
  return { cause, message, remedy, retryAfterMs: null, resetsAtMs: null };
}

/** What `stderr` says from `pattern` on, else its last line. */
function stderrWords(stderr: string, pattern: RegExp): string {
  const start = pattern.exec(stderr)?.index;
  if (start !== undefined) return oneLine(stderr.slice(start));
  return oneLine(
    stderr
      .trimEnd()
      .split("\n")
      .at(-1)
      ?.replace(/^Reading .*stdin\.\.\.$/, "") ?? "",
  );
}

const MAX_MESSAGE_LENGTH = 500;

function oneLine(text: string): string {
  const line = withoutSecrets(text).replaceAll(/\s+/g, " ").trim();
  return line.length <= MAX_MESSAGE_LENGTH ? line : `${line.slice(0, MAX_MESSAGE_LENGTH)}…`;
}

/** Codex's errors name the address asked, and providers repeat a key that they refuse; neither is for a log. */
export function withoutSecrets(text: string): string {
  return text
    .replaceAll(/\b(sk|key|tok)-[\w-]{6,}/gi, "$1-…")
    .replaceAll(/\bBearer [\w.~+/=-]{6,}/gi, "Bearer …")
    .replaceAll(/:\/\/[^\s/@]+@/g, "://…@");
}
