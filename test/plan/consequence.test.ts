import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backOffMs, consequenceOf, DEFAULT_RETRY_SETTINGS, type Consequence } from "../../src/plan/consequence.ts";
import { FAILURE_CAUSES, isProvidersOwnMaking, type FailureCause } from "../../src/plan/failure-cause.ts";
import { EMPTY_LEDGER, type Ledger } from "../../src/plan/records.ts";

const NOW_MS = 1_000_000;
const SETTINGS = DEFAULT_RETRY_SETTINGS;

const anyLedger: fc.Arbitrary<Ledger> = fc.record({
  attempts: fc.integer({ min: 1, max: 20 }),
  retries: fc.integer({ min: 0, max: 5 }),
  continuations: fc.integer({ min: 0, max: 6 }),
  freshSessions: fc.integer({ min: 0, max: 2 }),
  repairs: fc.integer({ min: 0, max: 3 }),
  rounds: fc.integer({ min: 0, max: 3 }),
  waits: fc.integer({ min: 0, max: 3 }),
});

describe("R1: what follows from a bad end, row by row of the design's table", () => {
  test.each<FailureCause>(["transient", "rate-limit", "stalled", "crashed"])(
    "%s: another attempt after a back-off, as often as the task has retries, then it fails",
    (cause) => {
      let ledger = EMPTY_LEDGER;
      for (let retry = 1; retry <= 3; retry += 1) {
        const next = after(cause, ledger);
        expect(next).toMatchObject({ type: "back-off", ledger: { ...EMPTY_LEDGER, retries: retry } });
        if (next.type === "back-off") ledger = next.ledger;
      }
      expect(after(cause, ledger)).toMatchObject({ type: "fail", why: "3 retries did not help" });
      expect(after(cause, EMPTY_LEDGER, 0)).toMatchObject({ type: "fail", why: "no retry was allowed" });
      expect(after(cause, ledger, 4)).toMatchObject({ type: "back-off" });
    },
  );

  test("usage-limit: the provider is parked and only the waits count, however often", () => {
    fc.assert(
      fc.property(anyLedger, (ledger) => {
        expect(after("usage-limit", ledger)).toEqual({ type: "park", ledger: { ...ledger, waits: ledger.waits + 1 } });
      }),
    );
  });

  test.each<FailureCause>(["auth", "billing", "permission-denied", "spawn-failed", "invalid-request"])(
    "%s: no retry, a person is asked, whatever was spent before",
    (cause) => {
      fc.assert(
        fc.property(anyLedger, (ledger) => {
          expect(after(cause, ledger)).toEqual({ type: "person", code: cause });
        }),
      );
    },
  );

  test.each<FailureCause>(["context-overflow", "no-result"])("%s: one fresh session, and no second one", (cause) => {
    const next = after(cause, EMPTY_LEDGER);
    expect(next).toEqual({ type: "fresh-session", ledger: { ...EMPTY_LEDGER, freshSessions: 1 } });
    expect(after(cause, { ...EMPTY_LEDGER, freshSessions: 1 })).toMatchObject({ type: "fail" });
  });

  test.each<FailureCause>(["turn-limit", "engine-crash"])("%s: the session goes on, five times at most", (cause) => {
    const left = Array.from({ length: 6 }, (_, continuations) => after(cause, { ...EMPTY_LEDGER, continuations }).type);
    expect(left).toEqual(["continue", "continue", "continue", "continue", "continue", "fail"]);
  });

  test("budget: the session goes on as soon as the plan's budget has room, and nothing is spent", () => {
    expect(after("budget", { ...EMPTY_LEDGER, continuations: 5 })).toEqual({
      type: "continue",
      ledger: { ...EMPTY_LEDGER, continuations: 5 },
    });
  });

  test("a command that failed is tried again only where the task says so", () => {
    expect(after("command-failed", EMPTY_LEDGER)).toMatchObject({ type: "fail" });
    expect(after("command-failed", EMPTY_LEDGER, 1)).toMatchObject({ type: "back-off" });
    expect(after("command-failed", { ...EMPTY_LEDGER, retries: 1 }, 1)).toMatchObject({ type: "fail" });
  });

  test("timed-out, worktree-failed and a reported failure fail at once; cancelled ends", () => {
    for (const cause of ["timed-out", "worktree-failed", "reported-failure"] as const) {
      expect(after(cause, EMPTY_LEDGER, 9).type).toBe("fail");
    }
    expect(after("cancelled", EMPTY_LEDGER)).toEqual({ type: "cancel" });
  });

  test("the ledgers never mix: each cause spends from one alone, and none spends attempts or repairs", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...FAILURE_CAUSES),
        anyLedger,
        fc.option(fc.integer({ min: 0, max: 5 })),
        (cause, ledger, retries) => {
          const next = after(cause, ledger, retries);
          if (!("ledger" in next)) return;
          const spent = (Object.keys(ledger) as (keyof Ledger)[]).filter((name) => next.ledger[name] !== ledger[name]);
          const of = {
            "back-off": ["retries"],
            "fresh-session": ["freshSessions"],
            continue: ["continuations"],
            park: ["waits"],
          };
          // It was booked: the budget is what bounds it.
          expect(spent).toEqual(cause === "budget" ? [] : of[next.type]);
          for (const name of spent) expect(next.ledger[name]).toBe(ledger[name] + 1);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("R1: exponential back-off with full jitter", () => {
  const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  test("anything between nothing and a bound that doubles up to the cap", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000 }), anyRandom, (retries, random) => {
        const waitMs = backOffMs(retries, null, SETTINGS, random);
        expect(waitMs).toBeGreaterThanOrEqual(0);
        expect(waitMs).toBeLessThanOrEqual(Math.min(SETTINGS.backoffMaxMs, SETTINGS.backoffBaseMs * 2 ** retries));
      }),
    );
    const bounds = [0, 1, 2, 3, 4, 5, 6, 7, 1_000].map((retries) => backOffMs(retries, null, SETTINGS, 1 - 1e-12));
    expect(bounds).toEqual([5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
  });

  test("all of the range is used: the least chance waits for nothing, half the chance half the time", () => {
    expect(backOffMs(3, null, SETTINGS, 0)).toBe(0);
    expect(backOffMs(3, null, SETTINGS, 0.5)).toBe(20_000);
  });

  test("more chance or more retries never wait for less", () => {
    fc.assert(
      fc.property(fc.nat(40), fc.nat(40), anyRandom, anyRandom, (few, more, low, high) => {
        const [lowRandom, highRandom] = low <= high ? [low, high] : [high, low];
        const least = backOffMs(Math.min(few, more), null, SETTINGS, lowRandom);
        expect(backOffMs(Math.max(few, more), null, SETTINGS, highRandom)).toBeGreaterThanOrEqual(least);
      }),
    );
  });

  test("never less than the provider asked for, also beyond the cap", () => {
    fc.assert(
      fc.property(fc.nat(20), fc.integer({ min: 0, max: 10_000_000 }), anyRandom, (retries, askedMs, random) => {
        expect(backOffMs(retries, askedMs, SETTINGS, random)).toBeGreaterThanOrEqual(askedMs);
        const next = consequenceOf(
          { cause: "rate-limit", retryAfterMs: askedMs, resetsAtMs: null },
          EMPTY_LEDGER,
          null,
          SETTINGS,
          NOW_MS,
          random,
        );
        expect(next.type === "back-off" ? next.untilMs : 0).toBeGreaterThanOrEqual(NOW_MS + askedMs);
      }),
    );
  });
});

test("R2: the causes that count against a provider are those of its own making", () => {
  expect(FAILURE_CAUSES.filter(isProvidersOwnMaking)).toEqual(["transient", "rate-limit", "stalled", "auth"]);
});

function after(cause: FailureCause, ledger: Ledger, retries: number | null = null): Consequence {
  return consequenceOf({ cause, retryAfterMs: null, resetsAtMs: null }, ledger, retries, SETTINGS, NOW_MS, 0.5);
}
