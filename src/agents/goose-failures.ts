import type { FailureCause } from "../plan/failure-cause.ts";

export interface GooseFailure {
  readonly cause: FailureCause;
  readonly message: string;
  readonly remedy: string | null;
  readonly retryAfterMs: number | null;
}

interface Rule {
  readonly pattern: RegExp;
  readonly cause: FailureCause;
  readonly remedy?: string;
}

const KEY_REMEDY = "Run `goose configure`, or set the provider's key variable, then retry.";
const FLAG_REMEDY = "Check the role's `model` and the provider's `args`, and that Goose is 1.52 or newer.";
const CREDIT_REMEDY = "Add credit at the provider (or choose another model for the role), then retry.";

/** An account that is used up, in the words that providers put into a 429 or 400. Without a time nobody knows when. */
const USED_UP: readonly Rule[] = [
  {
    pattern:
      /insufficient_quota|exceeded your current quota|insufficient (?:funds|credits?|balance)|credit balance|billing/i,
    cause: "billing",
    remedy: CREDIT_REMEDY,
  },
  {
    pattern: /usage limit|(?:daily|weekly|monthly|per[- ]day) (?:\w+ )?(?:limit|quota)|quota exceeded/i,
    cause: "usage-limit",
  },
];

const CONTEXT_FULL = /context[ _](?:length|window|limit)|maximum context|prompt is too long|too many tokens/i;

/** What Goose says in place of an answer, in an assistant message of its own. First match wins. */
const OWN_WORDS: readonly Rule[] = [
  { pattern: /^I've reached the maximum number of actions/, cause: "turn-limit" },
  { pattern: /^The model returned an empty response/, cause: "no-result" },
  { pattern: /Authentication error|Status: 40[13]\b/, cause: "auth", remedy: KEY_REMEDY },
  { pattern: /Rate limit exceeded|\(429\b/, cause: "rate-limit" },
  {
    pattern: /^Network error|Server error|Stream decode error|Request timed out|(?:\(|status )(?:5\d\d|408|409|425)\b/,
    cause: "transient",
  },
  { pattern: /trying to compact|^Context (?:limit|length)/, cause: "context-overflow" },
  {
    pattern: /(?:\(|status )4\d\d\b|Resource not found|Bad request|not supported|model .*not found/i,
    cause: "invalid-request",
    remedy: "The provider refuses the request. Check the role's `model` and the provider's settings, then retry.",
  },
];

/** Error lines that Goose prints outside its JSON, on stdout or stderr. First match wins. */
const START_UP: readonly Rule[] = [
  { pattern: /No session found with name|Cannot resume session/, cause: "no-result" },
  {
    pattern: /No provider configured|No model configured/,
    cause: "auth",
    remedy: "Run `goose configure`, or set GOOSE_PROVIDER and GOOSE_MODEL, or give the role a `PROVIDER/MODEL`.",
  },
  { pattern: /Configuration value not found|keychain|keyring|Authentication/i, cause: "auth", remedy: KEY_REMEDY },
  {
    pattern: /Unknown provider|unexpected argument/,
    cause: "spawn-failed",
    remedy: FLAG_REMEDY,
  },
  {
    pattern: /Tool approval required|elicitation/i,
    cause: "permission-denied",
    remedy: "Goose wanted to ask a person. Allow what it needs in the role's `permissions`, then retry.",
  },
];

/** Why a run ended whose last message is Goose's own. `words` is that message. */
export function classifyOwnWords(words: string): GooseFailure {
  const rule = OWN_WORDS.find(({ pattern }) => pattern.test(words));
  // Goose's words for what it can't name; most such errors pass, and retries are bounded.
  const found = rule ?? { cause: "transient" };
  const usedUp =
    found.cause === "rate-limit" || found.cause === "invalid-request"
      ? USED_UP.find(({ pattern }) => pattern.test(words))
      : undefined;
  const isFull = found.cause === "invalid-request" && CONTEXT_FULL.test(words);
  const { cause, remedy } = isFull
    ? { cause: "context-overflow" as const, remedy: undefined }
    : (usedUp ?? (found as Rule));
  return failure(cause, words, remedy, retryAfterMs(words));
}

/**
 * Why a run ended that printed no answer, from what stands in its output besides JSON; null when nothing is known.
 * Only lines that Goose marks as its error count: what its servers print beside them may say anything.
 */
export function classifyStartUp(printed: string, exitCode: number | null): GooseFailure | null {
  const lines = printed.split("\n").filter((line) => /^\s*error:/i.test(line));
  for (const { pattern, cause, remedy } of START_UP) {
    const line = lines.find((candidate) => pattern.test(candidate));
    if (line === undefined) continue;
    const missing = /Configuration value not found: (\w+)/.exec(line)?.[1];
    const keyRemedy = `Set ${missing} for this provider, or run \`goose configure\`, then retry.`;
    return failure(cause, line, missing === undefined ? remedy : keyRemedy, null);
  }
  // What its option parser ends with, whatever it says.
  if (exitCode === 2) return failure("spawn-failed", lines[0] ?? printed, FLAG_REMEDY, null);
  return null;
}

/** The refused key or login; Goose ends with exit code 1. */
export function authFailure(words: string): GooseFailure {
  return failure("auth", words, KEY_REMEDY, null);
}

/** HTTP 402, which Goose tells as a notification of a kind of its own. */
export function billingFailure(words: string): GooseFailure {
  return failure("billing", words, CREDIT_REMEDY, null);
}

function failure(
  cause: FailureCause,
  words: string,
  remedy: string | undefined,
  retryAfter: number | null,
): GooseFailure {
  return { cause, message: plainWords(words), remedy: remedy ?? null, retryAfterMs: retryAfter };
}

/** Without what Goose puts around every error and its advice to a person at a keyboard, on one line. */
export function plainWords(words: string): string {
  const advice =
    /\s*(?:Please (?:retry if you think|resend your message|try again or create)[^\n]*|Would you like me to continue\?)\s*$/;
  return words
    .replace(advice, "")
    .replace(/^\s*(?:error:\s*|Ran into this error:\s*)/i, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** Goose waits out a Retry-After by itself; what is left is the time in the provider's words ("in 1m20s", "20 s"). */
function retryAfterMs(words: string): number | null {
  const told =
    /(?:try again|retry|wait)[^\d\n]{0,20}(?:(\d+)\s*m(?!s)(?:in(?:ute)?s?)?\b|(\d+)m(?=\d))?\s*(?:(\d+(?:\.\d+)?)\s*(ms|s(?:ec(?:ond)?s?)?)\b)?/i.exec(
      words,
    );
  const minutes = told?.[1] ?? told?.[2];
  const seconds = told?.[3];
  if (minutes === undefined && seconds === undefined) return null;
  const divisor = told?.[4]?.toLowerCase() === "ms" ? 1000 : 1;
  return Math.round((Number(minutes ?? 0) * 60 + Number(seconds ?? 0) / divisor) * 1000);
}
