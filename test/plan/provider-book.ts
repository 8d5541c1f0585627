/** Every provider's circuit and account in the simulation's own words (DESIGN section 5): the board is not asked. */
import type { AttemptEnd } from "../../src/plan/outcomes.ts";
import type { FailureCause } from "../../src/plan/failure-cause.ts";

export interface ProviderRules {
  readonly failuresToOpen: number;
  readonly openMs: number;
  readonly probesMs: readonly number[];
}

interface Health {
  failures: number;
  /** Shut until then, after which one may try; null: open. */
  openUntilMs: number | null;
  parkedUntilMs: number | null;
  isResetTold: boolean;
  parkings: number;
}

export type ProviderHealthBook = Map<string, Health>;

const OF_ITS_OWN_MAKING: ReadonlySet<FailureCause> = new Set(["transient", "rate-limit", "stalled", "auth"]);
const SHOWS_IT_AT_WORK: ReadonlySet<FailureCause> = new Set(["reported-failure", "turn-limit", "command-failed"]);

/** Whether nobody, one at a time or everybody may start. */
export function admits(book: ProviderHealthBook, provider: string, nowMs: number): "nobody" | "one" | "all" {
  const { openUntilMs, parkedUntilMs, isResetTold } = healthIn(book, provider);
  if (parkedUntilMs !== null && nowMs < parkedUntilMs) return "nobody";
  if (parkedUntilMs !== null && !isResetTold) return "one";
  if (openUntilMs === null) return "all";
  return nowMs < openUntilMs ? "nobody" : "one";
}

/** Books what the end of a turn tells of its provider. */
export function bookEnd(
  book: ProviderHealthBook,
  rules: ProviderRules,
  provider: string,
  end: AttemptEnd,
  nowMs: number,
): void {
  const health = healthIn(book, provider);
  const isGood = end.type === "succeeded" || end.type === "asked";
  if (isGood || (end.type === "failed" && SHOWS_IT_AT_WORK.has(end.cause))) {
    // While nobody may start, what ends well began before that and says nothing of the time since.
    if (admits(book, provider, nowMs) !== "nobody") book.delete(provider);
    return;
  }
  if (end.type !== "failed") return;
  if (end.cause === "usage-limit") {
    const { probesMs } = rules;
    const toldMs = end.resetsAtMs !== null && end.resetsAtMs > nowMs ? end.resetsAtMs : null;
    if (health.parkedUntilMs !== null && nowMs < health.parkedUntilMs) {
      // One parking for all that ran when the account was used up; of two resets that were told the later counts.
      if (toldMs !== null) health.parkedUntilMs = health.isResetTold ? Math.max(health.parkedUntilMs, toldMs) : toldMs;
      if (toldMs !== null) health.isResetTold = true;
      return;
    }
    health.isResetTold = end.resetsAtMs !== null && end.resetsAtMs > nowMs;
    const wait = probesMs[Math.min(health.parkings, probesMs.length - 1)] ?? 0;
    health.parkedUntilMs = health.isResetTold ? end.resetsAtMs : nowMs + wait;
    health.parkings += 1;
  } else if (OF_ITS_OWN_MAKING.has(end.cause)) {
    health.failures += 1;
    const opens = health.openUntilMs !== null || end.cause === "auth" || health.failures >= rules.failuresToOpen;
    if (opens) health.openUntilMs = nowMs + rules.openMs;
  }
}

/** Somebody says that it is well again, or brought another key: one may try at once. */
export function bookMended(book: ProviderHealthBook, provider: string, nowMs: number, isOnlyKey: boolean): void {
  const health = healthIn(book, provider);
  if (health.openUntilMs !== null) health.openUntilMs = Math.min(health.openUntilMs, nowMs);
  if (isOnlyKey || health.parkedUntilMs === null) return;
  health.parkedUntilMs = Math.min(health.parkedUntilMs, nowMs);
  health.isResetTold = false;
}

/** The clock by which the moments were set went another way. */
export function moveHealth(book: ProviderHealthBook, byMs: number): void {
  for (const health of book.values()) {
    if (health.openUntilMs !== null) health.openUntilMs += byMs;
    if (health.parkedUntilMs !== null) health.parkedUntilMs += byMs;
  }
}

function healthIn(book: ProviderHealthBook, provider: string): Health {
  let health = book.get(provider);
  if (health === undefined) {
    health = { failures: 0, openUntilMs: null, parkedUntilMs: null, isResetTold: false, parkings: 0 };
    book.set(provider, health);
  }
  return health;
}
