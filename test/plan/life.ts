/**
 * What a simulated life is made of: plans, tasks and steps, each with a seed of its own. So any of them can be left out
 * and the rest stays what it was, which is how a failing life is made small enough to read (`shrink.ts`).
 */
import { SeededRandom, seedOf } from "./seeded-random.ts";

export interface LifePart {
  /** The same however much around it is left out. */
  readonly id: string;
  readonly seed: number;
}

export interface LifePlan extends LifePart {
  readonly tasks: readonly LifePart[];
}

export interface Life {
  /** Of the settings. */
  readonly seed: number;
  readonly plans: readonly LifePlan[];
  /** What happens, one after the other; then nothing bad happens any more, and everything must come to its end. */
  readonly steps: readonly number[];
  readonly without: readonly Trait[];
}

/** What tasks may have that can be left out to see whether a promise is broken all the same. */
export const TRAITS = ["workflows", "lists", "claims", "edges", "modes", "budgets"] as const;
export type Trait = (typeof TRAITS)[number];

/** One in so many lives is a large one. */
const LARGE_EVERY = 500;

/** The life that a seed stands for: mostly some tasks, now and then one or thirty, seldom very many. */
export function lifeOf(seed: number): Life {
  const random = new SeededRandom(seedOf(seed, "life"));
  const most = seed % LARGE_EVERY === 0 ? 160 : random.pick([3, 8, 8, 16, 30]);
  const plans = Array.from({ length: 1 + random.below(3) }, (_, plan) => {
    const count = 1 + random.below(plan === 0 ? most : Math.min(most, 8));
    const tasks = Array.from({ length: count }, (__, task) => {
      return { id: `t${task}`, seed: seedOf(seed, `task ${plan} ${task}`) };
    });
    return { id: `p${plan}`, seed: seedOf(seed, `plan ${plan}`), tasks };
  });
  const tasks = plans.reduce((sum, plan) => sum + plan.tasks.length, 0);
  const count = 5 + random.below(20 + tasks * 8);
  const steps = Array.from({ length: count }, (_, step) => seedOf(seed, `step ${step}`));
  return { seed, plans, steps, without: [] };
}
