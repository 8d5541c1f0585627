/**
 * A provider's circuit breaker and its parking, as functions of its health.
 *
 * Closed: everybody passes. Open: nobody before `openUntilMs`, then one probe; its success closes, its failure opens
 * again. Parked (the account is used up): nobody before `parkedUntilMs`; when the reset's time was told all pass then,
 * else one probes.
 */
import { isProvidersOwnMaking, type FailureCause } from "./failure-cause.ts";
import type { ProviderHealth } from "./records.ts";

export interface GateSettings {
  readonly failuresToOpen: number;
  readonly openMs: number;
  readonly usageProbesMs: readonly number[];
}

export type Gate =
  | { readonly state: "open-to-all" }
  | { readonly state: "one-probe"; readonly code: "circuit-open" | "usage-limit" }
  | { readonly state: "shut"; readonly code: "circuit-open" | "usage-limit"; readonly untilMs: number };

export function gateOf(health: ProviderHealth, nowMs: number): Gate {
  if (health.parkedUntilMs !== null) {
    if (nowMs < health.parkedUntilMs) return { state: "shut", code: "usage-limit", untilMs: health.parkedUntilMs };
    if (health.isResetUnknown) return { state: "one-probe", code: "usage-limit" };
  }
  if (health.openUntilMs !== null) {
    if (nowMs < health.openUntilMs) return { state: "shut", code: "circuit-open", untilMs: health.openUntilMs };
    return { state: "one-probe", code: "circuit-open" };
  }
  return { state: "open-to-all" };
}

/** The provider answered as it should: everything is forgotten. */
export function noteSuccess(health: ProviderHealth): void {
  health.failuresInARow = 0;
  health.openUntilMs = null;
  health.parkedUntilMs = null;
  health.isResetUnknown = false;
  health.parkings = 0;
  health.reason = null;
}

/** Counts a failure of the provider's own making and opens the circuit when it is time. */
export function noteFailure(
  health: ProviderHealth,
  cause: FailureCause,
  message: string,
  nowMs: number,
  settings: GateSettings,
): void {
  if (!isProvidersOwnMaking(cause)) return;
  const wasOpen = health.openUntilMs !== null;
  health.failuresInARow += 1;
  if (wasOpen || cause === "auth" || health.failuresInARow >= settings.failuresToOpen) {
    health.openUntilMs = nowMs + settings.openMs;
    health.reason = message;
  }
}

/**
 * Parks the provider until its reset, or for a growing while when the reset is unknown. Answers until when. Several that
 * ran when the account was used up are one parking: only a probe that fails makes the next wait longer.
 */
export function notePark(
  health: ProviderHealth,
  resetsAtMs: number | null,
  message: string,
  nowMs: number,
  settings: GateSettings,
): number {
  const probes = settings.usageProbesMs;
  const waitMs = probes[Math.min(health.parkings, probes.length - 1)] ?? 3_600_000;
  // A reset in the past tells nothing: treat it as unknown rather than hammering the provider.
  const isKnown = resetsAtMs !== null && resetsAtMs > nowMs;
  const parkedUntilMs = health.parkedUntilMs !== null && nowMs < health.parkedUntilMs ? health.parkedUntilMs : null;
  if (parkedUntilMs !== null) {
    // Two resets that were told are those of two limits: both have to pass.
    if (isKnown) health.parkedUntilMs = health.isResetUnknown ? resetsAtMs : Math.max(parkedUntilMs, resetsAtMs);
    if (isKnown) health.isResetUnknown = false;
    return health.parkedUntilMs ?? parkedUntilMs;
  }
  health.parkedUntilMs = isKnown ? resetsAtMs : nowMs + waitMs;
  health.isResetUnknown = !isKnown;
  health.parkings += 1;
  health.reason = message;
  return health.parkedUntilMs;
}

/** The provider's agents get another key, or another place to ask: an open circuit is probed at once. */
export function noteNewKey(health: ProviderHealth, nowMs: number): void {
  if (health.openUntilMs !== null) health.openUntilMs = Math.min(health.openUntilMs, nowMs);
}

/** A person says that the provider is well again: the next attempt probes at once. */
export function noteMended(health: ProviderHealth, nowMs: number): void {
  noteNewKey(health, nowMs);
  if (health.parkedUntilMs !== null) {
    health.parkedUntilMs = Math.min(health.parkedUntilMs, nowMs);
    health.isResetUnknown = true;
  }
}
