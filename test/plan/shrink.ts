/** Makes a life that breaks a promise smaller, as long as it breaks the same one: fewer steps, tasks, plans and traits. */
import { TRAITS, type Life } from "./life.ts";
import { isBroken, live, type BrokenLife } from "./simulate.ts";

/** Lives that are tried before the smallest so far is told: a bound for what hangs in the kind end. */
const MOST_TRIES = 3_000;

/** The smallest life found, with its history. */
export function shrink(found: BrokenLife): BrokenLife {
  let smallest = found;
  let tries = 0;
  const attempt = (life: Life): boolean => {
    tries += 1;
    const result = tries > MOST_TRIES ? null : live(life);
    if (result === null || !isBroken(result) || result.promise !== found.promise) return false;
    smallest = { ...result, life: { ...life, steps: life.steps.slice(0, result.steps) } };
    return true;
  };
  attempt({ ...found.life, steps: found.life.steps.slice(0, found.steps) });
  for (let size = Infinity; sizeOf(smallest.life) < size && tries < MOST_TRIES;) {
    size = sizeOf(smallest.life);
    for (const trait of TRAITS) {
      const { life } = smallest;
      if (!life.without.includes(trait)) attempt({ ...life, without: [...life.without, trait] });
    }
    without(
      () => smallest.life.plans,
      (plans) => plans.length > 0 && attempt({ ...smallest.life, plans }),
    );
    for (let index = 0; index < smallest.life.plans.length; index += 1) {
      without(
        () => smallest.life.plans[index]?.tasks ?? [],
        (tasks) =>
          tasks.length > 0 && attempt({ ...smallest.life, plans: replaced(smallest.life.plans, index, tasks) }),
      );
    }
    without(
      () => smallest.life.steps,
      (steps) => attempt({ ...smallest.life, steps }),
    );
  }
  const told = live(smallest.life, true);
  return isBroken(told) ? told : smallest;
}

/** Leaves out ever smaller pieces, from the end: what comes late is needed by little. */
function without<Part>(partsNow: () => readonly Part[], attempt: (parts: readonly Part[]) => boolean): void {
  for (let size = Math.ceil(partsNow().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let end = partsNow().length; end > 0; end -= size) {
      const parts = partsNow();
      const upTo = Math.min(end, parts.length);
      attempt([...parts.slice(0, Math.max(0, upTo - size)), ...parts.slice(upTo)]);
    }
  }
}

function replaced(plans: Life["plans"], at: number, tasks: Life["plans"][number]["tasks"]): Life["plans"] {
  return plans.map((plan, index) => (index === at ? { ...plan, tasks } : plan));
}

function sizeOf({ plans, steps, without: traits }: Life): number {
  return plans.reduce((sum, plan) => sum + 1 + plan.tasks.length, steps.length) - traits.length;
}
