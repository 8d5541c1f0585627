import { expect, test } from "vitest";
import { simulate } from "./simulate.ts";

const SEEDS = Number(process.env["SIMULATE_SEEDS"] ?? 2_000);
const FROM = Number(process.env["SIMULATE_FROM"] ?? 1);

test(`D2 D3 D4 D5 X1 R3: ${SEEDS} random lives keep order, bounds, claims and once, end, and explain every wait`, () => {
  let starts = 0;
  for (let seed = FROM; seed < FROM + SEEDS; seed += 1) {
    try {
      starts += simulate(seed).starts;
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  // A world in which nothing starts would keep every promise.
  expect(starts).toBeGreaterThan(SEEDS);
});
