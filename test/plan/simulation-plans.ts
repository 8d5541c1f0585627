/** Random plans, and how plans grow and change while they are under way. */
import { longestPaths } from "../../src/plan/graph.ts";
import { freeId } from "../../src/plan/plan-id.ts";
import {
  newTask,
  taskKey,
  type PlanRecord,
  type Step,
  type TaskRecord,
  type TaskSpec,
  type Workflow,
} from "../../src/plan/records.ts";
import { normalizeTask } from "../../src/plan/schema.ts";
import { FILES_OF } from "./claim-book.ts";
import type { Life, LifePlan, Trait } from "./life.ts";
import { learn } from "./provider-lists.ts";
import { SeededRandom } from "./seeded-random.ts";
import { budgetOf } from "./simulated-budgets.ts";
import type { SimulatedPlan, World } from "./simulated-world.ts";

const GLOBS = Object.keys(FILES_OF);
/** Where a step may run, in the order of preference. */
const PROVIDERS: readonly [string[], ...string[][]] = [
  ["alpha"],
  ["alpha"],
  ["beta"],
  ["beta"],
  ["alpha", "beta"],
  ["beta", "alpha", "gamma"],
];
/** A plan that has grown to this many tasks grows no more. */
const MOST_TASKS = 50;

interface NewTask {
  readonly spec: TaskSpec;
  readonly workflow: Workflow;
}

export function makePlan(world: World, { id, seed, tasks: parts }: LifePlan): SimulatedPlan {
  const random = new SeededRandom(seed);
  const record: PlanRecord = {
    id,
    name: null,
    goal: null,
    target: random.chance(0.7) ? "main" : "other",
    maxConcurrent: 1 + random.below(4),
    budget: budgetOf(world, random),
    createdAtMs: world.nowMs,
    paused: false,
  };
  const plan: SimulatedPlan = { record, tasks: [] };
  for (const part of parts) {
    const task = randomTask(world.life, new SeededRandom(part.seed), part.id, plan.tasks);
    plan.tasks.push(makeTask(world, record.id, task));
  }
  return plan;
}

function makeTask(world: World, planId: string, { spec, workflow }: NewTask, proposedBy: string | null = null) {
  const task = newTask(planId, world.nextOrdinal, spec, workflow, proposedBy);
  world.nextOrdinal += 1;
  learn(world.account.book, task);
  return task;
}

/** A task that depends on some of `earlier`. */
function randomTask(life: Life, random: SeededRandom, id: string, earlier: readonly TaskRecord[]): NewTask {
  const has = (trait: Trait): boolean => !life.without.includes(trait);
  const number = Number(/^t(\d+)$/.exec(id)?.[1] ?? earlier.length);
  // By name and number, so that the other edges stay when a task is left out.
  const isBehind = (task: TaskRecord): boolean => random.chanceOf(`after ${task.id}`, 2 / (number + 1));
  const dependsOn = has("edges") ? earlier.filter(isBehind) : [];
  const glob = random.choose(GLOBS, (name) => name) ?? "";
  const alsoOne = random.chance(0.2) ? ["src/a.ts"] : [];
  const claims = random.chance(0.55) && has("claims") ? { writes: [glob, ...alsoOne] } : {};
  const onFailure = random.pick(["hard", "soft", "skip"]);
  const merge = random.pick(["auto", "auto", "auto", "auto", "auto", "auto", "auto", "auto", "manual", "none"]);
  const priority = random.below(3);
  const retries = random.chance(0.3) ? { retries: random.below(2) } : {};
  const modes = has("modes") ? { onFailure, merge, priority, ...retries } : {};
  const spec = normalizeTask({ id, prompt: "x", dependsOn: dependsOn.map((task) => task.id), ...claims, ...modes });
  return { spec, workflow: randomWorkflow(random, has("workflows"), has("lists")) };
}

/** One step for most; else later ones that judge, on providers of their own. */
function randomWorkflow(random: SeededRandom, hasSteps: boolean, hasLists: boolean): Workflow {
  const isSingle = random.chance(0.6);
  const count = isSingle || !hasSteps ? 1 : 2 + random.below(2);
  const steps = Array.from({ length: count }, (_, index): Step => {
    const [provider = "", ...others] = random.pick(PROVIDERS);
    const list = hasLists && others.length > 0 ? { otherProviders: others } : {};
    return { agent: `role${index}`, provider, ...list, prompt: null };
  });
  return { steps, maxRounds: random.below(3) };
}

// --- growing -----------------------------------------------------------------------------------------------------------

/** Adds tasks behind what is there, as `applyEdit` does. Call within a commit or before one. */
export function growPlan(
  world: World,
  plan: SimulatedPlan,
  wanted: readonly NewTask[],
  proposedBy: string | null = null,
): TaskRecord[] {
  const added = wanted.map((task) => makeTask(world, plan.record.id, task, proposedBy));
  for (const task of added) world.store.insertTask(task);
  const ids = new Set(added.map((task) => task.id));
  const own = added.map(({ spec }) => ({ id: spec.id, dependsOn: spec.dependsOn.filter((id) => ids.has(id)) }));
  plan.tasks.push(...added);
  world.note(() => `  ${plan.record.id} grows: ${added.map(describeTask).join("; ")}`);
  world.board.addTasks(
    plan.record.id,
    added,
    longestPaths(own, [...ids], () => 1),
  );
  for (const task of added) world.board.raisePaths(world.board.node(taskKey(task)), () => 1);
  return added;
}

/** An agent proposes tasks when it ends; by the plan's policy they join it, or wait until somebody says so. */
export function addProposals(world: World, proposer: TaskRecord): void {
  const plan = world.planOf(proposer);
  const { random } = world;
  if (proposer.proposedBy !== null || plan.tasks.length >= MOST_TASKS) return;
  world.commit({ type: "people" }, () => {
    const { spec, workflow } = randomTask(world.life, random, nameIn(world, plan.record.id), []);
    const mustAsk = random.chance(0.6);
    const wanted = { ...spec, dependsOn: random.chance(0.8) ? [proposer.id] : [] };
    for (const task of growPlan(world, plan, [{ spec: wanted, workflow }], proposer.id)) {
      const key = taskKey(task);
      const command = `orchestrator approve ${key}`;
      const wait = { code: "approval", message: "proposed", command, untilMs: null } as const;
      if (mustAsk) world.board.move(world.board.node(key), "waiting", { wait });
    }
  });
}

/** A person changes a plan while it runs: adds tasks behind what is there, or changes and drops what has not begun. */
export function planIsEdited(world: World): void {
  const { random } = world;
  const plan = random.choose(world.plans, ({ record }) => record.id);
  if (plan === undefined || plan.tasks.length >= MOST_TASKS) return;
  world.open(plan.record.id);
  world.commit({ type: "people" }, () => {
    if (random.chance(0.5)) {
      const wanted = [randomTask(world.life, random, nameIn(world, plan.record.id), plan.tasks)];
      growPlan(world, plan, wanted);
    } else rewire(world, plan);
  });
}

function rewire(world: World, plan: SimulatedPlan): void {
  const { random, life } = world;
  const canChange = (task: TaskRecord): boolean =>
    task.ledger.attempts === 0 && ["pending", "ready", "blocked", "waiting"].includes(task.state);
  const isNeeded = (id: string): boolean =>
    plan.tasks.some((other) => !canChange(other) && other.spec.dependsOn.includes(id));
  const dropped = new Set(
    plan.tasks.filter((task) => canChange(task) && !isNeeded(task.id) && random.chance(0.15)).map((task) => task.id),
  );
  if (dropped.size === plan.tasks.length) return;
  const added: TaskRecord[] = [];
  const kept: TaskRecord[] = [];
  const changed = new Map<string, NewTask>();
  for (const task of plan.tasks) {
    if (random.chance(0.08)) {
      const between = makeTask(world, plan.record.id, randomTask(life, random, nameIn(world, plan.record.id), kept));
      // At once, so that no other gets its name.
      world.store.insertTask(between);
      added.push(between);
      kept.push(between);
    }
    if (dropped.has(task.id)) continue;
    const lost = task.spec.dependsOn.some((id) => dropped.has(id));
    // One that continues another stays behind it.
    const isFree = task.spec.continues === null;
    if (canChange(task) && (lost || (isFree && random.chance(0.2)))) {
      changed.set(task.id, randomTask(life, random, task.id, kept));
    }
    kept.push(task);
  }
  const { id: planId } = plan.record;
  world.note(
    () =>
      `  ${planId} changes: -${[...dropped].join()} ~${[...changed.keys()].join()} +${added.map(describeTask).join("; ")}`,
  );
  for (const id of dropped) {
    world.store.removeTask(taskKey({ planId, id }));
    world.account.forget(taskKey({ planId, id }));
  }
  for (const id of changed.keys()) world.account.release(taskKey({ planId, id }));
  plan.tasks = kept;
  world.board.rewire(planId, {
    dropped,
    changed: (task) => {
      const wanted = changed.get(task.id);
      if (wanted === undefined) return false;
      const provider = wanted.workflow.steps[0]?.provider ?? "";
      Object.assign(task, { spec: wanted.spec, workflow: wanted.workflow, step: 0, provider });
      world.account.startOver(taskKey(task));
      learn(world.account.book, task);
      return true;
    },
    added,
    weightOf: () => 1,
  });
}

/** By chance and not by number, for the same reason as in `SeededRandom.choose`. */
function nameIn({ random, store }: World, planId: string): string {
  return freeId(`n${random.below(10_000)}`, (id) => store.rows.tasks.has(`${planId}/${id}`));
}

/** "t1 after t0, writes src/**, hard, role0 alpha": for the history. */
export function describeTask({ spec, workflow }: TaskRecord): string {
  const { id, dependsOn, writes, onFailure, merge, priority, retries, continues } = spec;
  const parts = [
    dependsOn.length === 0 ? null : `after ${dependsOn.join(" ")}`,
    writes === null ? null : `writes ${writes.join(" ")}`,
    onFailure === "hard" ? null : onFailure,
    merge === "auto" ? null : `merge ${merge}`,
    priority === 0 ? null : `priority ${priority}`,
    retries === null ? null : `${retries} retries`,
    continues === null ? null : `continues ${continues}`,
    `on ${workflow.steps.map(({ provider, otherProviders = [] }) => [provider, ...otherProviders].join("|")).join(" → ")}`,
    workflow.steps.length === 1 ? null : `${workflow.maxRounds} rounds`,
  ];
  return `${id} (${parts.filter((part) => part !== null).join(", ")})`;
}
