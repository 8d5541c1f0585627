/** What the board tells of slots, claims, waits and plans, told wrongly one at a time. */
import type { Mutant } from "./mutants.ts";

export const TOLD_MUTANTS: readonly Mutant[] = [
  {
    name: "slots: what a plan's ended agents had is not given back",
    file: "places.ts",
    from: `plan.running -= 1;`,
    to: ``,
    promises: ["slots", "wakes", "restored", "standing", "why"],
  },
  {
    name: "claims: who gave them up is told as a holder",
    file: "claim-table.ts",
    from: `claims.holders.delete(node);`,
    to: ``,
    promises: ["claims", "restored"],
  },
  {
    name: "back-off: the first wait is as long as the last",
    file: "consequence.ts",
    from: `settings.backoffBaseMs * 2 ** Math.min(retriesBefore, 30)`,
    to: `settings.backoffMaxMs`,
    promises: ["back-off"],
  },
  {
    name: "back-off: sooner than the provider asked for",
    file: "consequence.ts",
    from: `Math.max(Math.round(boundMs * random), retryAfterMs ?? 0)`,
    to: `Math.round(boundMs * random)`,
    promises: ["back-off"],
  },
  {
    name: "timers: a task waits longer than its provider is parked",
    file: "outcomes.ts",
    from: `const untilMs = board.provider(record.provider).parkedUntilMs;`,
    to: `const untilMs = (board.provider(record.provider).parkedUntilMs ?? nowMs) + 60_000;`,
    promises: ["timers"],
  },
  {
    name: "why: who waits for a claim is told to wait for another",
    file: "explain.ts",
    from: `untilMs: null,\n    waitsFor: [name],`,
    to: `untilMs: null,\n    waitsFor: [taskKey(node.record)],`,
    promises: ["why"],
  },
  {
    name: "standing: a plan that only waits for a time is told to need a person",
    file: "explain.ts",
    from: `counts.ready + counts.merging + plan.movingWaits - plan.lockWaits > 0`,
    to: `counts.ready + counts.merging > 0`,
    promises: ["standing"],
  },
  {
    name: "standing: a plan with a task that was cancelled is told as succeeded",
    file: "explain.ts",
    from: `const done = counts.succeeded + counts.skipped;`,
    to: `const done = counts.succeeded + counts.skipped + counts.cancelled;`,
    promises: ["standing"],
  },
];
