/**
 * Lives of a repository: agents that end when chance says, a merge queue, operators, mail, questions, edits, a clock that
 * jumps, an engine that dies anywhere. What is always true (DESIGN section 3) is checked after every step against the
 * world's own account, never against what the board believes. After the last step nothing bad happens any more, and
 * every plan must come to its end.
 */
import { BrokenPromise } from "./broken-promise.ts";
import { lifeOf, type Life } from "./life.ts";
import { SeededRandom, seedOf } from "./seeded-random.ts";
import {
  agentAsks,
  agentHears,
  checkoutChanges,
  consultationEnds,
  machineChanges,
  mergeArrives,
  questionSettles,
  somethingEnds,
  timePasses,
  timePassesToNext,
} from "./simulated-events.ts";
import { budgetIsEdited } from "./simulated-budgets.ts";
import {
  isOver,
  keyComes,
  operatorActs,
  operatorTells,
  personOpens,
  somebodyHelps,
  somebodyObeys,
  somebodyReopens,
} from "./simulated-people.ts";
import { World } from "./simulated-world.ts";
import { checkAfterLook, checkAllHeard, checkCounts, checkStates, checkStored } from "./simulation-checks.ts";
import { describeTask, makePlan, planIsEdited } from "./simulation-plans.ts";
import { checkReasons } from "./simulation-reasons.ts";
import { checkTold } from "./simulation-told.ts";

export interface SimulationResult {
  /** Steps that were lived, with those of the kind end. */
  readonly steps: number;
  readonly starts: number;
  /** Empty unless it was to be told. */
  readonly history: readonly string[];
}

/** A promise that was broken, and when. */
export interface BrokenLife {
  readonly life: Life;
  readonly promise: string;
  readonly message: string;
  /** So many of its steps are needed; all and more where it broke in the kind end. */
  readonly steps: number;
  readonly history: readonly string[];
}

/** Lives a life to its end. Answers what it broke, or how it went. */
export function live(life: Life, isTold = false): SimulationResult | BrokenLife {
  const world = new World(life, isTold);
  let steps = 0;
  try {
    begin(world);
    for (const seed of life.steps) {
      steps += 1;
      world.note(() => `${steps}.`);
      world.random = new SeededRandom(seed);
      step(world);
    }
    steps += endKindly(world);
    return { steps, starts: world.starts, history: world.history };
  } catch (thrown) {
    const { history } = world;
    if (thrown instanceof BrokenPromise) {
      const message = thrown.message.slice(thrown.promise.length + 2);
      return { life, promise: thrown.promise, message, steps, history };
    }
    const message = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    return { life, promise: "no bug", message, steps, history };
  }
}

/** The life that `seed` stands for. */
export function simulate(seed: number, isTold = false): SimulationResult | BrokenLife {
  return live(lifeOf(seed), isTold);
}

export function isBroken(result: SimulationResult | BrokenLife): result is BrokenLife {
  return "promise" in result;
}

function begin(world: World): void {
  const { limitAgents, providerLimits } = world.settings;
  world.note(() => `${limitAgents} agents at once, ${providerLimits.get("alpha")} of alpha`);
  for (const seeds of world.life.plans) {
    const plan = makePlan(world, seeds);
    const { id, target, maxConcurrent } = plan.record;
    world.note(() => `plan ${id} into ${target}, ${maxConcurrent} at once`);
    for (const task of plan.tasks) world.note(() => `  ${describeTask(task)}`);
    world.commit({ type: "people" }, () => world.insertPlan(plan));
  }
}

function step(world: World): void {
  const { random } = world;
  const chance = random.next();
  // The engine may die in the middle of anything.
  if (chance < 0.015) world.dieIn(() => something(world));
  else if (chance < 0.025) world.dieIn(() => world.decide());
  else if (chance < 0.04) {
    world.decide(random.below(3));
    world.die();
  } else if (chance < 0.045 && mergeArrives(world)) world.die();
  else something(world);
  checkStates(world);
  // Several events may share a look, as in the scheduler.
  if (random.chance(0.75)) look(world);
}

function look(world: World): void {
  const before = new Set(world.account.book.running.keys());
  world.decide();
  checkStates(world);
  checkAfterLook(world, before);
  if (world.random.chance(0.1)) checkReasons(world);
  if (world.random.chance(0.06)) checkStored(world);
  if (world.random.chance(0.04)) checkCounts(world);
  if (world.random.chance(0.04)) checkTold(world);
}

function something(world: World): void {
  if (world.random.chance(0.3) && somethingOfItsMood(world)) return;
  const chance = world.random.next();
  if (chance < 0.62) {
    if (!somethingEnds(world) && !timePassesToNext(world)) somebodyHelpsIfNeeded(world);
  } else if (chance < 0.7) operatorActs(world);
  else if (chance < 0.74) timePasses(world);
  else if (chance < 0.79) operatorTells(world);
  else if (chance < 0.84) agentAsks(world);
  else if (chance < 0.87) questionSettles(world);
  else if (chance < 0.88) agentHears(world);
  else if (chance < 0.92) planIsEdited(world);
  else if (chance < 0.94) somebodyObeys(world);
  else if (chance < 0.955) checkoutChanges(world);
  else if (chance < 0.97) personOpens(world);
  else if (chance < 0.98) consultationEnds(world);
  else if (chance < 0.985) keyComes(world);
  else if (chance < 0.988) world.changeLimits();
  else if (chance < 0.992) machineChanges(world);
  else if (chance < 0.995) budgetIsEdited(world);
  else world.die();
}

/** False where nothing is special about this life. */
function somethingOfItsMood(world: World): boolean {
  const { mood, random } = world;
  switch (mood) {
    case "steered":
      if (random.chance(0.7)) operatorActs(world);
      else somebodyObeys(world);
      return true;
    case "talkative": {
      const chance = random.next();
      if (chance < 0.35) operatorTells(world);
      else if (chance < 0.6) agentAsks(world);
      else if (chance < 0.9) questionSettles(world);
      else personOpens(world);
      return true;
    }
    case "deadly":
      world.die();
      return true;
    case "failing": {
      const chance = random.next();
      if (chance < 0.1) keyComes(world);
      else if (chance < 0.2) checkoutChanges(world);
      else if (chance < 0.4) somebodyObeys(world);
      else if (chance < 0.5) somebodyReopens(world);
      return chance < 0.5;
    }
    case "even":
      return false;
  }
}

/** Before the board looked, what is ready still waits for nothing. */
function somebodyHelpsIfNeeded(world: World): void {
  look(world);
  if (isOver(world) || isMoving(world) || world.board.nextWakeMs(world.nowMs) !== null) return;
  somebodyHelps(world);
}

function isMoving({ account }: World): boolean {
  return account.book.running.size + account.book.merging.size > 0;
}

/** From here on everybody does what they should, and whatever is told as a command is typed in. Answers the steps. */
function endKindly(world: World): number {
  world.isKind = true;
  const tasks = world.plans.reduce((sum, plan) => sum + plan.tasks.length, 0);
  const most = 100 + tasks * 40;
  for (let steps = 0; steps < most; steps += 1) {
    world.random = new SeededRandom(seedOf(world.life.seed, `kind ${steps}`));
    world.note(() => `end ${steps + 1}.`);
    look(world);
    if (isOver(world)) {
      checkStored(world);
      checkAllHeard(world);
      return steps;
    }
    if (somethingEnds(world) || timePassesToNext(world)) continue;
    somebodyHelps(world);
    checkStates(world);
  }
  throw new BrokenPromise("end", `not all is done ${most} steps after the last thing that went wrong`);
}
