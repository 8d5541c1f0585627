/** Random tasks, and random edits of plans that are under way. */
import { longestPaths } from "../../src/plan/graph.ts";
import { taskKey, type TaskRecord, type TaskSpec, type Workflow } from "../../src/plan/records.ts";
import { normalizeTask } from "../../src/plan/schema.ts";
import { FILES_OF } from "./account.ts";
import type { SeededRandom } from "./seeded-random.ts";
import type { SimulatedPlan, World } from "./simulate.ts";

const GLOBS = Object.keys(FILES_OF);

/** A task that depends on some of `earlier`. */
export function randomSpec(random: SeededRandom, id: string, earlier: readonly TaskRecord[]): TaskSpec {
  const dependsOn = earlier.filter(() => random.chance(2 / (earlier.length + 1))).map((task) => task.id);
  const writes = random.chance(0.55) ? [random.choose(GLOBS) ?? "", ...(random.chance(0.2) ? ["src/a.ts"] : [])] : null;
  return normalizeTask({
    id,
    prompt: "x",
    dependsOn,
    ...(writes === null ? {} : { writes }),
    onFailure: random.pick(["hard", "soft", "skip"]),
    merge: random.pick(["auto", "auto", "auto", "auto", "auto", "auto", "auto", "auto", "manual", "none"]),
    priority: random.below(3),
    ...(random.chance(0.3) ? { retries: random.below(2) } : {}),
  });
}

/** One step for most; else later ones that judge, on providers of their own. */
export function randomWorkflow(random: SeededRandom): Workflow {
  const count = random.chance(0.6) ? 1 : 2 + random.below(2);
  const steps = Array.from({ length: count }, (_, index) => {
    return { agent: `role${index}`, provider: random.pick(["alpha", "beta"]), prompt: null };
  });
  return { steps, maxRounds: random.below(3) };
}

/** A person changes a plan while it runs: adds tasks behind what is there, or changes and drops what has not begun. */
export function randomEdit(world: World): void {
  const plan = world.random.choose(world.plans);
  if (plan === undefined || plan.tasks.length > 40) return;
  if (world.random.chance(0.5)) addTasks(world, plan);
  else rewire(world, plan);
}

function addTasks(world: World, plan: SimulatedPlan): void {
  const added: TaskRecord[] = [];
  const count = 1 + world.random.below(3);
  for (let number = 0; number < count; number += 1) {
    const task = newTaskOf(world, plan, plan.tasks);
    plan.tasks.push(task);
    added.push(task);
  }
  const ids = new Set(added.map((task) => task.id));
  const own = added.map(({ spec }) => ({ id: spec.id, dependsOn: spec.dependsOn.filter((id) => ids.has(id)) }));
  const lengths = longestPaths(own, [...ids], () => 1);
  world.note(`added: ${[...ids].map((id) => `${plan.record.id}/${id}`).join(", ")}`);
  world.board.addTasks(plan.record.id, added, lengths);
  for (const task of added) world.board.raisePaths(world.board.node(taskKey(task)), () => 1);
}

function rewire(world: World, plan: SimulatedPlan): void {
  const { random } = world;
  const canChange = (task: TaskRecord): boolean =>
    task.ledger.attempts === 0 && ["pending", "ready", "blocked", "waiting"].includes(task.state);
  const isNeeded = (id: string): boolean =>
    plan.tasks.some((other) => !canChange(other) && other.spec.dependsOn.includes(id));
  const dropped = new Set(
    plan.tasks.filter((task) => canChange(task) && !isNeeded(task.id) && random.chance(0.15)).map((task) => task.id),
  );
  if (dropped.size === plan.tasks.length) return;
  const added = new Set<string>();
  const kept: TaskRecord[] = [];
  const changed = new Map<string, TaskSpec>();
  for (const task of plan.tasks) {
    if (random.chance(0.08)) {
      const between = newTaskOf(world, plan, kept);
      added.add(between.id);
      kept.push(between);
    }
    if (dropped.has(task.id)) continue;
    const lost = task.spec.dependsOn.some((id) => dropped.has(id));
    if (canChange(task) && (lost || random.chance(0.2))) changed.set(task.id, randomSpec(random, task.id, kept));
    kept.push(task);
  }
  world.note(`rewired ${plan.record.id}: -${[...dropped].join()} ~${[...changed.keys()].join()} +${[...added].join()}`);
  for (const task of plan.tasks) if (dropped.has(task.id)) world.forget(task);
  for (const id of changed.keys()) world.account.release(`${plan.record.id}/${id}`);
  plan.tasks.splice(0, plan.tasks.length, ...kept);
  world.board.rewire(plan.record.id, {
    dropped,
    changed: (task) => {
      const spec = changed.get(task.id);
      if (spec === undefined) return false;
      task.spec = spec;
      return true;
    },
    added: kept.filter((task) => added.has(task.id)),
    weightOf: () => 1,
  });
}

function newTaskOf(world: World, plan: SimulatedPlan, earlier: readonly TaskRecord[]): TaskRecord {
  return world.makeTask(plan.record.id, randomSpec(world.random, `n${world.nextOrdinal}`, earlier));
}
