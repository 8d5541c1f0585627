/** Looks for a smaller life that breaks the same promise: fewer tasks, one plan, no crashes, no operators, no edits. */
import { BrokenPromise } from "./account.ts";
import { simulate, WHOLE_LIFE, type SimulationOptions } from "./simulate.ts";

/** Seeds tried for each size: a bug that needs more luck than that is told with its own history. */
const SEEDS_PER_SIZE = 150;

export interface SmallestLife {
  readonly seed: number;
  readonly options: SimulationOptions;
  readonly broken: BrokenPromise;
}

/** The first failing life in order of size; what was found by chance where nothing smaller fails. */
export function findSmallest(found: SmallestLife): SmallestLife {
  for (const maxTasks of [1, 2, 3, 4, 6, 9, 14]) {
    for (const kind of kindsOfLife()) {
      const options = { ...kind, maxTasks, maxPlans: 1 };
      for (const seed of [found.seed, ...Array.from({ length: SEEDS_PER_SIZE }, (_, index) => index + 1)]) {
        const broken = brokenBy(seed, options);
        if (broken?.promise === found.broken.promise) return { seed, options, broken };
      }
    }
  }
  return found;
}

/** Null when the life of `seed` keeps every promise. */
export function brokenBy(seed: number, options: SimulationOptions = WHOLE_LIFE): BrokenPromise | null {
  try {
    simulate(seed, options);
    return null;
  } catch (thrown) {
    if (thrown instanceof BrokenPromise) return thrown;
    throw thrown;
  }
}

function* kindsOfLife(): Iterable<SimulationOptions> {
  const quiet = { ...WHOLE_LIFE, hasCrashes: false, hasOperators: false, hasEdits: false };
  yield quiet;
  yield { ...quiet, hasOperators: true };
  yield { ...quiet, hasCrashes: true };
  yield { ...quiet, hasEdits: true };
  yield { ...quiet, hasOperators: true, hasCrashes: true };
  yield WHOLE_LIFE;
}
