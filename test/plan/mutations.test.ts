/**
 * A simulation that catches nothing proves nothing. Here one promise of the board is broken on purpose at a time, in a
 * copy of the sources, and the simulation must say which.
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MUTANTS, type Mutant } from "./mutants.ts";
import type * as Shrink from "./shrink.ts";
import type * as Simulate from "./simulate.ts";

/** Every mutant must be caught within so many lives: chance needs some. */
const MOST_SEEDS = 2_500;

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "orchestrator-mutants-"));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test("unbroken, the copy keeps every promise", async () => {
  expect(firstBroken(await load("unbroken", null), 200)).toBeNull();
});

describe("the simulation catches", () => {
  // Not `test.each`, which cuts long names short.
  for (const [index, mutant] of MUTANTS.entries()) {
    test(mutant.name, async () => {
      const broken = firstBroken(await load(`mutant-${index}`, mutant));
      expect(mutant.promises).toContain(broken ?? "nothing");
    });
  }
});

test("what is caught is told small: the few tasks and steps that it needs, and it repeats", async () => {
  for (const name of ["bounds: one agent more than the plan's limit", "mail: what was said during a turn"]) {
    const mutant = MUTANTS.find((one) => one.name.startsWith(name)) ?? null;
    expect(mutant).not.toBeNull();
    const place = `small ${name.slice(0, 4)}`;
    const { simulate, isBroken } = await load(place, mutant);
    const { shrink } = (await import(pathToFileURL(join(folder, place, "test/plan/shrink.ts")).href)) as typeof Shrink;
    let found = simulate(1);
    for (let seed = 2; !isBroken(found) && seed <= MOST_SEEDS; seed += 1) found = simulate(seed);
    if (!isBroken(found)) throw new Error("nothing was caught");
    const small = shrink(found);
    expect(small.promise).toBe(found.promise);
    expect(small.life.plans.flatMap((plan) => plan.tasks).length).toBeLessThanOrEqual(3);
    expect(small.life.steps.length).toBeLessThanOrEqual(8);
    expect(small.history.length).toBeLessThanOrEqual(60);
    expect(shrink(found).history).toEqual(small.history);
  }
});

/** The promise that is broken first; null when all are kept. */
function firstBroken({ simulate, isBroken }: typeof Simulate, most = MOST_SEEDS): string | null {
  for (let seed = 1; seed <= most; seed += 1) {
    const result = simulate(seed);
    if (isBroken(result)) return result.promise;
  }
  return null;
}

/** Copies what the simulation needs, breaks it, and loads the copy. */
async function load(place: string, mutant: Mutant | null): Promise<typeof Simulate> {
  const copy = join(folder, place);
  const files = ["errors.ts", "nearest-name.ts", "invalid-input.ts", "plan"];
  await Promise.all([
    ...files.map((file) => cp(join(root, "src", file), join(copy, "src", file), { recursive: true })),
    cp(join(root, "test/plan"), join(copy, "test/plan"), {
      recursive: true,
      filter: (file) => !file.endsWith(".test.ts"),
    }),
  ]);
  if (mutant !== null) {
    const path = join(copy, "src/plan", mutant.file);
    const text = await readFile(path, "utf8");
    // A mutant whose place is gone would pass for one that is caught, or the other way round.
    expect(text.split(mutant.from).length - 1).toBe(1);
    await writeFile(
      path,
      text.replace(mutant.from, () => mutant.to),
    );
  }
  return (await import(pathToFileURL(join(copy, "test/plan/simulate.ts")).href)) as typeof Simulate;
}
