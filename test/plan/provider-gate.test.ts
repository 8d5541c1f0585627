import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FAILURE_CAUSES, isProvidersOwnMaking } from "../../src/plan/failure-cause.ts";
import {
  gateOf,
  noteFailure,
  noteMended,
  noteNewKey,
  notePark,
  noteSuccess,
  type GateSettings,
} from "../../src/plan/provider-gate.ts";
import { healthyProvider, type ProviderHealth } from "../../src/plan/records.ts";

const MINUTE_MS = 60_000;
const SETTINGS: GateSettings = {
  failuresToOpen: 5,
  openMs: MINUTE_MS,
  usageProbesMs: [5, 15, 30, 60].map((minutes) => minutes * MINUTE_MS),
};
const NOW_MS = 1_000_000_000;

describe("R2: a provider that keeps failing is circuit-broken until it recovers", () => {
  test("the fifth failure in a row opens the circuit for a minute, then one probe is let through", () => {
    const health = healthyProvider("p");
    for (let failure = 1; failure <= 4; failure += 1) fail(health);
    expect(gateOf(health, NOW_MS)).toEqual({ state: "open-to-all" });
    fail(health);
    expect(gateOf(health, NOW_MS)).toEqual({ state: "shut", code: "circuit-open", untilMs: NOW_MS + MINUTE_MS });
    expect(gateOf(health, NOW_MS + MINUTE_MS - 1).state).toBe("shut");
    expect(gateOf(health, NOW_MS + MINUTE_MS)).toEqual({ state: "one-probe", code: "circuit-open" });
    expect(health.reason).toBe("it failed");
  });

  test("failures that are not in a row do not open it, nor do those that are not its own", () => {
    const health = healthyProvider("p");
    for (let round = 0; round < 10; round += 1) {
      for (let failure = 1; failure <= 4; failure += 1) fail(health);
      noteSuccess(health);
    }
    expect(gateOf(health, NOW_MS).state).toBe("open-to-all");
    for (const cause of FAILURE_CAUSES.filter((one) => !isProvidersOwnMaking(one))) {
      for (let failure = 0; failure < 10; failure += 1) noteFailure(health, cause, "no", NOW_MS, SETTINGS);
    }
    expect(health).toEqual(healthyProvider("p"));
  });

  test("a probe that fails opens it again at once, one that succeeds closes it and forgets all", () => {
    const health = opened();
    const laterMs = NOW_MS + MINUTE_MS;
    noteFailure(health, "transient", "again", laterMs, SETTINGS);
    expect(gateOf(health, laterMs + MINUTE_MS - 1)).toMatchObject({ state: "shut", untilMs: laterMs + MINUTE_MS });
    noteSuccess(health);
    expect(health).toEqual(healthyProvider("p"));
  });

  test("another key lets one probe ask at once, and leaves a parking as it is", () => {
    const health = healthyProvider("p");
    noteFailure(health, "auth", "not signed in", NOW_MS, SETTINGS);
    noteNewKey(health, NOW_MS + 1);
    expect(gateOf(health, NOW_MS + 1)).toEqual({ state: "one-probe", code: "circuit-open" });
    const parked = healthyProvider("p");
    notePark(parked, NOW_MS + 3_600_000, "used up", NOW_MS, SETTINGS);
    noteNewKey(parked, NOW_MS + 1);
    expect(gateOf(parked, NOW_MS + 1)).toMatchObject({ state: "shut", code: "usage-limit" });
  });

  test("auth opens it at the first failure", () => {
    const health = healthyProvider("p");
    noteFailure(health, "auth", "not signed in", NOW_MS, SETTINGS);
    expect(gateOf(health, NOW_MS).state).toBe("shut");
  });

  test("a person who says that it is mended lets one probe through at once", () => {
    const health = opened();
    noteMended(health, NOW_MS + 1);
    expect(gateOf(health, NOW_MS + 1)).toEqual({ state: "one-probe", code: "circuit-open" });
  });
});

describe("a used-up account parks its provider", () => {
  test("until the reset where its time is told, and then everybody passes", () => {
    const health = healthyProvider("p");
    const resetMs = NOW_MS + 3 * 3_600_000;
    expect(notePark(health, resetMs, "used up", NOW_MS, SETTINGS)).toBe(resetMs);
    expect(gateOf(health, resetMs - 1)).toEqual({ state: "shut", code: "usage-limit", untilMs: resetMs });
    expect(gateOf(health, resetMs).state).toBe("open-to-all");
  });

  test("for 5, 15, 30 and then each 60 minutes where it is not, with one probe after each", () => {
    const health = healthyProvider("p");
    let nowMs = NOW_MS;
    const waits: number[] = [];
    for (let parking = 0; parking < 6; parking += 1) {
      const untilMs = notePark(health, null, "used up", nowMs, SETTINGS);
      waits.push((untilMs - nowMs) / MINUTE_MS);
      expect(gateOf(health, untilMs - 1).state).toBe("shut");
      expect(gateOf(health, untilMs)).toEqual({ state: "one-probe", code: "usage-limit" });
      nowMs = untilMs;
    }
    expect(waits).toEqual([5, 15, 30, 60, 60, 60]);
    noteSuccess(health);
    expect(notePark(health, null, "used up", nowMs, SETTINGS)).toBe(nowMs + 5 * MINUTE_MS);
  });

  test.each([
    ["just now", NOW_MS],
    ["in the past", NOW_MS - 1],
    ["never", 0],
  ])("a reset that was %s tells nothing: it is probed, not hammered", (_, resetMs) => {
    const health = healthyProvider("p");
    expect(notePark(health, resetMs, "used up", NOW_MS, SETTINGS)).toBe(NOW_MS + 5 * MINUTE_MS);
    expect(health.isResetUnknown).toBe(true);
  });

  test("no probe times at all still give an hour", () => {
    const health = healthyProvider("p");
    expect(notePark(health, null, "x", NOW_MS, { ...SETTINGS, usageProbesMs: [] })).toBe(NOW_MS + 3_600_000);
  });

  test("mended by a person: one probe, also before a reset that was told", () => {
    const health = healthyProvider("p");
    notePark(health, NOW_MS + 3_600_000, "used up", NOW_MS, SETTINGS);
    noteMended(health, NOW_MS + 1);
    expect(gateOf(health, NOW_MS + 1)).toEqual({ state: "one-probe", code: "usage-limit" });
  });

  test("parked and open at once: shut until both have passed", () => {
    const health = opened();
    notePark(health, NOW_MS + 10, "used up", NOW_MS, SETTINGS);
    expect(gateOf(health, NOW_MS + 9)).toMatchObject({ state: "shut", code: "usage-limit" });
    expect(gateOf(health, NOW_MS + 10)).toMatchObject({ state: "shut", code: "circuit-open" });
    expect(gateOf(health, NOW_MS + MINUTE_MS).state).toBe("one-probe");
  });
});

test("whatever happened and wherever the clock jumps, a gate that is shut says until when, and time alone opens it", () => {
  const step = fc.record({
    kind: fc.constantFrom("transient", "auth", "crashed", "success", "park", "park-known", "mended"),
    jumpMs: fc.integer({ min: -7_200_000, max: 36_000_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const health = healthyProvider("p");
      let nowMs = NOW_MS;
      for (const { kind, jumpMs } of steps) {
        nowMs += jumpMs;
        if (kind === "success") noteSuccess(health);
        else if (kind === "park") notePark(health, null, "x", nowMs, SETTINGS);
        else if (kind === "park-known") notePark(health, nowMs + 1_000, "x", nowMs, SETTINGS);
        else if (kind === "mended") noteMended(health, nowMs);
        else noteFailure(health, kind, "x", nowMs, SETTINGS);
        let gate = gateOf(health, nowMs);
        for (let waits = 0; gate.state === "shut"; waits += 1) {
          expect(gate.untilMs).toBeGreaterThan(nowMs);
          expect(waits).toBeLessThan(2);
          gate = gateOf(health, gate.untilMs);
        }
      }
    }),
    { numRuns: 500 },
  );
});

function fail(health: ProviderHealth): void {
  noteFailure(health, "transient", "it failed", NOW_MS, SETTINGS);
}

function opened(): ProviderHealth {
  const health = healthyProvider("p");
  for (let failure = 0; failure < SETTINGS.failuresToOpen; failure += 1) fail(health);
  return health;
}
