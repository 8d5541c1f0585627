import { writeSync } from "node:fs";
import { expect, test } from "vitest";
import { shrink } from "./shrink.ts";
import { isBroken, simulate, type BrokenLife } from "./simulate.ts";

const SEEDS = Number(process.env["SIMULATE_SEEDS"] ?? 10_000);
const FROM = Number(process.env["SIMULATE_FROM"] ?? 1);
/** In a long run somebody wants to know how far it is. To the file: vitest passes on what goes over a stream at the end. */
const TELL_EVERY = 10_000;
/** A thousandth of a second a step would be slow; this only keeps a life that never ends from hanging the run. */
const TIMEOUT_MS = 60_000 + SEEDS * 60;

test(
  `D2 D3 D4 D5 X1 R1 R2 R3: ${SEEDS} random lives keep order, bounds, claims and once, end, and explain every wait`,
  { timeout: TIMEOUT_MS },
  () => {
    let starts = 0;
    for (let seed = FROM; seed < FROM + SEEDS; seed += 1) {
      const result = simulate(seed);
      if (isBroken(result)) throw new Error(toldSmall(seed, result));
      starts += result.starts;
      const lived = seed - FROM + 1;
      if (lived % TELL_EVERY === 0 && lived < SEEDS) writeSync(2, `${lived} of ${SEEDS} lives kept every promise\n`);
    }
    // A world in which nothing starts would keep every promise; one life alone may have a single task.
    if (SEEDS >= 100) expect(starts).toBeGreaterThan(SEEDS * 15);
  },
);

test("the same seed lives the same life, line by line", () => {
  for (const seed of [1, 7, 1978]) {
    const first = simulate(seed, true);
    expect(first.history.length).toBeGreaterThan(10);
    expect(simulate(seed, true)).toEqual(first);
  }
});

/** What is needed to see it again, and the least that shows it. */
function toldSmall(seed: number, broken: BrokenLife): string {
  const { promise, message, life, history } = shrink(broken);
  const tasks = life.plans.reduce((sum, plan) => sum + plan.tasks.length, 0);
  const lines = [
    `seed ${seed} breaks "${broken.promise}": ${broken.message}`,
    `again: npm run simulate -- --seeds 1 --from ${seed}`,
    `made smaller (${tasks} tasks, ${life.steps.length} steps): ${promise}: ${message}`,
    ...history,
  ];
  return lines.join("\n  ");
}
