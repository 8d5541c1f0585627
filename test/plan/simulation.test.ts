import { expect, test } from "vitest";
import { brokenBy, findSmallest } from "./shrink.ts";
import { simulate, WHOLE_LIFE } from "./simulate.ts";

const SEEDS = Number(process.env["SIMULATE_SEEDS"] ?? 10_000);
const FROM = Number(process.env["SIMULATE_FROM"] ?? 1);
/** A thousandth of a second a step would be slow; this only keeps a life that never ends from hanging the run. */
const TIMEOUT_MS = 60_000 + SEEDS * 60;

test(
  `D2 D3 D4 D5 X1 R1 R2 R3: ${SEEDS} random lives keep order, bounds, claims and once, end, and explain every wait`,
  { timeout: TIMEOUT_MS },
  () => {
    let starts = 0;
    for (let seed = FROM; seed < FROM + SEEDS; seed += 1) {
      try {
        starts += simulate(seed).starts;
      } catch {
        throw new Error(toldSmall(seed));
      }
    }
    // A world in which nothing starts would keep every promise.
    expect(starts).toBeGreaterThan(SEEDS * 5);
  },
);

test("the same seed lives the same life", () => {
  for (const seed of [1, 7, 1978]) expect(simulate(seed)).toEqual(simulate(seed));
});

function toldSmall(seed: number): string {
  const broken = brokenBy(seed);
  if (broken === null) return `seed ${seed} failed once, but not again: the simulation does not repeat`;
  const smallest = findSmallest({ seed, options: WHOLE_LIFE, broken });
  const again = `again: SIMULATE_FROM=${seed} SIMULATE_SEEDS=1`;
  if (smallest.seed === seed && smallest.options === WHOLE_LIFE) return `seed ${seed} (${again}): ${broken.message}`;
  const size = `smallest: seed ${smallest.seed} with ${JSON.stringify(smallest.options)}`;
  return `seed ${seed} (${again}): ${broken.message.split("\n")[0]}\n${size}: ${smallest.broken.message}`;
}
