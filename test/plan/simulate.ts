/**
 * A world for the board: agents that end when chance says, a merge queue, operators, edits, a clock that jumps, crashes.
 * What is always true (DESIGN section 3) is checked after every step against the world's own account (`account.ts`),
 * never against what the board believes. The store is a map of JSON that only takes what the board says has changed: a
 * crash brings back what is in it and nothing else.
 */
import { AppError } from "../../src/errors.ts";
import { Board, type BoardSettings, type Decision } from "../../src/plan/board.ts";
import { DEFAULT_RETRY_SETTINGS } from "../../src/plan/consequence.ts";
import { controlPlan, controlTask, isUnderWay, TASK_ACTIONS, type TaskAction } from "../../src/plan/controls.ts";
import { explainTask } from "../../src/plan/explain.ts";
import { FAILURE_CAUSES } from "../../src/plan/failure-cause.ts";
import { checkGraph, longestPaths } from "../../src/plan/graph.ts";
import { endAttempt, endMerge, type AttemptEnd, type MergeEnd } from "../../src/plan/outcomes.ts";
import { newTask, taskKey, type PlanRecord, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded, type TaskState } from "../../src/plan/task-state.ts";
import { Account, BrokenPromise } from "./account.ts";
import { SeededRandom } from "./seeded-random.ts";
import { checkBounds, checkIdle, checkOrderOfStarts, checkRestored, checkStart } from "./simulation-checks.ts";
import { randomEdit, randomSpec, randomWorkflow } from "./simulation-plans.ts";

export interface SimulationOptions {
  readonly maxTasks: number;
  readonly maxPlans: number;
  readonly hasCrashes: boolean;
  readonly hasOperators: boolean;
  readonly hasEdits: boolean;
}

export const WHOLE_LIFE: SimulationOptions = {
  maxTasks: 20,
  maxPlans: 2,
  hasCrashes: true,
  hasOperators: true,
  hasEdits: true,
};

export interface SimulationResult {
  readonly steps: number;
  readonly starts: number;
}

export interface SimulatedPlan {
  readonly record: PlanRecord;
  /** In an order that respects the edges: a task depends on earlier ones alone. */
  readonly tasks: TaskRecord[];
}

/** Runs one random life of a repository to its end. Throws BrokenPromise with the history when a promise is broken. */
export function simulate(seed: number, options: SimulationOptions = WHOLE_LIFE): SimulationResult {
  return new World(seed, options).run();
}

const MAX_STEPS = 6_000;
/** Lines of history that a broken promise is told with. */
const HISTORY_LINES = 60;

export class World {
  readonly random: SeededRandom;
  readonly settings: BoardSettings;
  readonly plans: SimulatedPlan[] = [];
  readonly account: Account;
  board: Board;
  nowMs = 1_000_000_000;
  nextOrdinal = 0;
  readonly #options: SimulationOptions;
  readonly #history: string[] = [];
  /** Tasks as the store has them. */
  readonly #stored = new Map<TaskKey, string>();
  /** States as the events tell them. */
  readonly #told = new Map<TaskKey, TaskState>();
  /** Agents that were told to stop and have not ended yet. */
  readonly #stopping = new Set<TaskKey>();
  #health = new Map<string, string>();
  #starts = 0;

  constructor(seed: number, options: SimulationOptions) {
    this.#options = options;
    const random = new SeededRandom(seed);
    this.random = random;
    const providers = new Map([["alpha", 1 + random.below(3)]]);
    this.settings = {
      limitAgents: 1 + random.below(4),
      providerLimits: providers,
      retry: { ...DEFAULT_RETRY_SETTINGS, retries: 2, maxContinuations: 3 },
      gate: { failuresToOpen: 3, openMs: 60_000, usageProbesMs: [300_000, 900_000] },
      maxRepairs: 2,
    };
    const agents = this.settings.limitAgents;
    this.account = new Account({ agents, providers, retries: 2, continuations: 3, repairs: 2 });
    this.board = new Board(this.settings);
    const count = 1 + random.below(options.maxPlans);
    for (let index = 0; index < count; index += 1) this.plans.push(this.#makePlan(index));
    this.#putOnBoard(this.board, this.plans);
    this.commit();
  }

  run(): SimulationResult {
    let steps = 0;
    try {
      for (; steps < MAX_STEPS && !this.#isOver(); steps += 1) {
        this.#decide();
        // Several events may share a look, as in the scheduler.
        const events = this.random.chance(0.25) ? 3 : 1;
        for (let number = 0; number < events && !this.#isOver(); number += 1) {
          this.#somethingHappens(number === 0);
          this.#write();
        }
      }
      if (!this.#isOver()) throw new BrokenPromise("end", "the run did not end");
    } catch (thrown) {
      const recent = this.#history.slice(-HISTORY_LINES);
      if (thrown instanceof BrokenPromise) throw new BrokenPromise(thrown.promise, wordsOf(thrown), recent);
      const words = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      throw new BrokenPromise("no bug", words, recent);
    }
    return { steps, starts: this.#starts };
  }

  planOf(task: TaskRecord): SimulatedPlan {
    const plan = this.plans.find((candidate) => candidate.record.id === task.planId);
    if (plan === undefined) throw new Error(`no plan of ${taskKey(task)}`);
    return plan;
  }

  note(line: string): void {
    this.#history.push(line);
  }

  makeTask(planId: string, spec: TaskRecord["spec"]): TaskRecord {
    const task = newTask(planId, this.nextOrdinal, spec, randomWorkflow(this.random));
    this.nextOrdinal += 1;
    this.#insert(task);
    return task;
  }

  /** What one transaction of the scheduler does: changed records into the store, steps into the events. */
  commit(): void {
    this.#write();
    checkBounds(this);
    for (const { tasks } of this.plans) {
      for (const task of tasks) {
        const told = this.#told.get(taskKey(task));
        if (told !== task.state)
          throw new BrokenPromise("events", `${taskKey(task)} is ${task.state}, told as ${told}`);
        if (task.state === "running" || task.state === "merging") this.#readBack(task);
      }
    }
  }

  /** Answers how many records changed. `onStart` is called for each task that begins to run, in its place. */
  #write(onStart?: (task: TaskRecord) => void): number {
    for (const { task, from, to, wait } of this.board.takeChanges()) {
      const key = taskKey(task);
      const told = this.#told.get(key);
      if (told !== from)
        throw new BrokenPromise("events", `${key} goes from ${from} to ${to}, but was told as ${told}`);
      this.#told.set(key, to);
      if (to === "running") onStart?.(task);
      this.account.change(task, this.planOf(task).record.target, to, wait?.code ?? null);
    }
    const touched = this.board.takeTouched();
    for (const task of touched) this.#stored.set(taskKey(task), JSON.stringify(task));
    for (const health of this.board.takeChangedProviders()) this.#health.set(health.name, JSON.stringify(health));
    return touched.length;
  }

  forget(task: TaskRecord): void {
    const key = taskKey(task);
    this.#stored.delete(key);
    this.#told.delete(key);
    this.account.forget(key);
  }

  // --- the beginning -------------------------------------------------------------------------------------------------

  #makePlan(index: number): SimulatedPlan {
    const { random } = this;
    const record: PlanRecord = {
      id: `p${index}`,
      name: null,
      goal: null,
      target: random.chance(0.7) ? "main" : "other",
      maxConcurrent: 1 + random.below(4),
      budget: { usd: null, tokens: null, minutes: null },
      createdAtMs: this.nowMs,
      paused: false,
    };
    const tasks: TaskRecord[] = [];
    const count = 1 + random.below(this.#options.maxTasks);
    for (let number = 0; number < count; number += 1) {
      tasks.push(this.makeTask(record.id, randomSpec(random, `t${number}`, tasks)));
    }
    return { record, tasks };
  }

  #insert(task: TaskRecord): void {
    this.#stored.set(taskKey(task), JSON.stringify(task));
    this.#told.set(taskKey(task), task.state);
  }

  #putOnBoard(board: Board, plans: readonly SimulatedPlan[]): void {
    for (const { record, tasks } of plans) {
      const specs = tasks.map((task) => task.spec);
      const lengths = longestPaths(specs, checkGraph(specs), () => 1);
      board.addPlan(record, tasks, lengths);
    }
  }

  // --- decisions -----------------------------------------------------------------------------------------------------

  #decide(): void {
    const gates = new Map(["alpha", "beta"].map((name) => [name, this.board.gate(name, this.nowMs).state]));
    const decisions = this.board.decide(this.nowMs);
    const begun: TaskRecord[] = [];
    this.#write((task) => {
      begun.push(task);
      checkStart(this, task);
      this.account.start(task, this.planOf(task).record.target, gates.get(task.provider) ?? "open-to-all");
    });
    const started = decisions.flatMap((decision) => (decision.type === "start" ? [decision.task] : []));
    if (started.some((task, index) => begun[index] !== task) || begun.length !== started.length) {
      throw new BrokenPromise("once", `decided ${namesOf(started)}, but what began is ${namesOf(begun)}`);
    }
    this.#starts += started.length;
    for (const decision of decisions) this.#carryOut(decision);
    this.commit();
    checkOrderOfStarts(this, started);
  }

  #carryOut(decision: Decision): void {
    const { task } = decision;
    const key = taskKey(task);
    this.note(`${decision.type} ${key}`);
    switch (decision.type) {
      case "start":
        return;
      case "stop":
        // The agent will end as stopped; chance may let it succeed first.
        if (!this.account.running.has(key)) throw new BrokenPromise("stop", `${key} is to stop, but does not run`);
        if (task.wish === null) throw new BrokenPromise("stop", `${key} is to stop, but nobody wishes it`);
        this.#stopping.add(key);
        return;
      case "merge":
        if (task.wish !== null) throw new BrokenPromise("wishes", `${key} is merged, though it was to ${task.wish}`);
        this.account.startMerge(task, this.planOf(task).record.target);
        return;
    }
  }

  // --- events --------------------------------------------------------------------------------------------------------

  #somethingHappens(hasDecided: boolean): void {
    const { random } = this;
    const chance = random.next();
    if (chance < 0.03 && this.#options.hasCrashes) return this.#crash();
    if (chance < 0.14 && this.#options.hasOperators) return this.#operate();
    if (chance < 0.18 && this.#options.hasEdits) return randomEdit(this);
    if (chance < 0.23) return this.#passTime();
    const running = [...this.account.running];
    const merging = [...this.account.merging.values()];
    const key = random.choose([...running, ...merging]);
    if (key === undefined) return hasDecided ? this.#idle() : undefined;
    if (this.account.running.has(key)) this.#endAgent(key);
    else this.#endMerge(key);
  }

  /** A second, a night's sleep, or a clock that is set back. */
  #passTime(): void {
    const { random } = this;
    const chance = random.next();
    this.nowMs += chance < 0.15 ? 8 * 3_600_000 : chance < 0.25 ? -3_600_000 : 1000;
  }

  /** Nothing runs: time passes to the next timer, or a person does what some task's explanation tells them to do. */
  #idle(): void {
    const nextMs = this.board.nextWakeMs(this.nowMs);
    if (nextMs !== null) {
      this.note(`time passes to ${nextMs}`);
      this.nowMs = Math.max(this.nowMs, nextMs);
      return;
    }
    checkIdle(this);
    const chosen = this.#somebodyToAsk();
    if (this.random.chance(0.3)) {
      this.note(`cancel ${taskKey(chosen.task)}`);
      this.#control("cancel", taskKey(chosen.task));
      return;
    }
    this.#obey(chosen.command);
  }

  #somebodyToAsk(): { task: TaskRecord; command: string } {
    const open = this.plans.flatMap(({ tasks }) =>
      tasks.filter((task) => !isEnded(task.state) && task.state !== "blocked"),
    );
    const first = this.random.below(open.length);
    for (const task of [...open.slice(first), ...open.slice(0, first)]) {
      const { command } = explainTask(this.board, taskKey(task), this.nowMs);
      if (command !== null) return { task, command };
    }
    throw new BrokenPromise("no deadlock", "nothing runs, no timer, and nobody to ask");
  }

  /** Types in the command just as it was told. It must be possible, and it must change something. */
  #obey(command: string): void {
    this.note(`as told: ${command}`);
    const [program, action, key = ""] = command.split(" ");
    if (program !== "orchestrator" || !TASK_ACTIONS.some((known) => known === action)) {
      throw new BrokenPromise("why", `"${command}" is no command`);
    }
    const paused = this.plans.filter(({ record }) => record.paused).length;
    this.#control(action as TaskAction, key);
    const isResumed = this.plans.filter(({ record }) => record.paused).length < paused;
    if (this.#write() === 0 && !isResumed) throw new BrokenPromise("why", `"${command}" changed nothing`);
  }

  #operate(): void {
    const { random } = this;
    const plan = random.choose(this.plans);
    // What is under way is where wishes can be lost.
    const isUnderWay = random.chance(0.5);
    const tasks = plan?.tasks.filter(({ state }) => !isUnderWay || state === "running" || state === "merging") ?? [];
    const task = random.choose(tasks);
    if (plan === undefined || task === undefined) return;
    const isPausing = task.wish === "pause" && random.chance(0.5);
    const action = isPausing ? "resume" : random.pick(TASK_ACTIONS as readonly [TaskAction, ...TaskAction[]]);
    const onPlan = random.chance(0.2) && action !== "cancel";
    const name = onPlan ? plan.record.id : taskKey(task);
    this.note(`operator: ${action} ${name}`);
    try {
      this.#control(action, name);
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== "TASK_STATE") throw thrown;
    }
  }

  #control(action: TaskAction, name: string): void {
    const isTask = name.includes("/");
    const leaving = this.plans.flatMap(({ tasks }) => tasks.filter(({ wish }) => wish === "cancel" || wish === "skip"));
    const before = new Map(this.plans.flatMap(({ tasks }) => tasks.map((task) => [taskKey(task), task.wait?.code])));
    const keys = isTask ? [name as TaskKey] : controlPlan(this.board, name, action, this.nowMs);
    for (const key of keys) {
      // A retry of one that goes already is done: it spends nothing and gives nothing back.
      const goesOn = isTask && isUnderWay(this.board.node(key));
      if (isTask) controlTask(this.board, key, action, this.nowMs);
      // Somebody who approves vouches for the step that rejected.
      if (action === "approve" && before.get(key) === "review") this.account.pass(this.board.node(key).record);
      if (action === "retry" && !goesOn) this.account.retry(key, before.get(key) === "verify");
      if (action === "release") this.account.release(key);
    }
    for (const task of action === "pause" || action === "resume" ? leaving : []) {
      if (task.wish === null || task.wish === "pause") {
        throw new BrokenPromise("wishes", `${taskKey(task)} was to end, and a ${action} made it stay`);
      }
    }
  }

  #endAgent(key: TaskKey): void {
    const { record } = this.board.node(key);
    const end = this.#randomEnd(key);
    this.note(`${key} ends: ${end.type}${end.type === "failed" ? ` ${end.cause}` : ""}`);
    const { wish } = record;
    endAttempt(this.board, key, end, this.nowMs, this.random.next());
    this.account.endAgent(record);
    if (end.type === "succeeded" && (wish === null || wish === "pause")) {
      this.account.finishStep(record, end.verdict?.type ?? null, wish === "pause");
    }
    this.#stopping.delete(key);
    if (end.type === "stopped" && wish === null && record.state !== "ready") {
      throw new BrokenPromise("wishes", `${key} was resumed before its agent ended, and is ${record.state}`);
    }
    if (end.type === "not-started") this.account.notStarted(record);
    if (end.type === "asked" && wish === null) this.account.ask(record, end.wait !== null);
    if (end.type === "failed" && wish === null) this.account.fail(record, end.cause);
  }

  #randomEnd(key: TaskKey): AttemptEnd {
    const { random } = this;
    const chance = random.next();
    if (this.#stopping.has(key) && chance < 0.8) return { type: "stopped" };
    if (chance < 0.6) {
      const isReview = this.account.passedBy(key) > 0;
      const verdict = isReview ? ({ type: random.chance(0.3) ? "reject" : "approve", words: "x" } as const) : null;
      return { type: "succeeded", hasChanges: random.chance(0.8), message: null, verdict };
    }
    if (chance < 0.62) return { type: "interrupted" };
    if (chance < 0.64) {
      const command = `orchestrator retry ${key}`;
      return { type: "not-started", wait: { code: "auth", message: "no key", command, untilMs: null } };
    }
    if (chance < 0.7) {
      const command = 'orchestrator answer q1 "…"';
      const untilMs = this.nowMs + random.below(600_000);
      const wait = { code: "question", message: "its agent asks: which?", command, untilMs } as const;
      return { type: "asked", wait: random.chance(0.7) ? wait : null };
    }
    const cause = random.pick(FAILURE_CAUSES);
    return {
      type: "failed",
      cause,
      message: `it was ${cause}`,
      remedy: null,
      retryAfterMs: random.chance(0.2) ? 120_000 : null,
      resetsAtMs: random.chance(0.5) ? this.nowMs + 3_600_000 : null,
    };
  }

  #endMerge(key: TaskKey): void {
    const { record } = this.board.node(key);
    const chance = this.random.next();
    let end: MergeEnd;
    if (chance < 0.6) end = { type: "merged", sha: "abc" };
    else if (chance < 0.65) end = { type: "nothing" };
    else if (chance < 0.8) end = { type: "verify-failed", output: "red", canRepair: this.random.chance(0.8) };
    else if (chance < 0.9) end = { type: "again" };
    else end = { type: "wait", code: "conflict", message: "conflict", command: `orchestrator merge ${key}` };
    this.note(`merge of ${key} ends: ${end.type}`);
    const { wish } = record;
    endMerge(this.board, key, end);
    const isDone = end.type === "merged" || end.type === "nothing";
    this.account.endMerge(key, this.planOf(record).record.target, isDone);
    if (end.type === "verify-failed" && end.canRepair && wish === null) this.account.repair(record);
  }

  /** The engine dies: what the store holds survives, the board is built again from it. */
  #crash(): void {
    this.commit();
    this.note("crash");
    const before = this.board;
    for (const plan of this.plans) {
      const read = plan.tasks.map((task) => this.#readBack(task));
      plan.tasks.splice(0, plan.tasks.length, ...read);
    }
    this.board = new Board(this.settings);
    for (const health of before.providers()) {
      const stored = this.#health.get(health.name);
      if (stored !== undefined) this.board.restoreProvider(JSON.parse(stored));
    }
    this.#putOnBoard(this.board, this.plans);
    checkRestored(before, this.board, this.nowMs);
    const interrupted = this.account.crash();
    this.#stopping.clear();
    this.#write();
    for (const key of interrupted) {
      const { record } = this.board.node(key);
      const { wish } = record;
      const told = { cause: "engine-crash", message: "the engine stopped", remedy: null } as const;
      endAttempt(this.board, key, { type: "failed", ...told, retryAfterMs: null, resetsAtMs: null }, this.nowMs, 0.5);
      if (wish === null) this.account.fail(record, "engine-crash");
    }
  }

  #readBack(task: TaskRecord): TaskRecord {
    const stored = this.#stored.get(taskKey(task));
    const live = JSON.stringify(task);
    if (stored !== live) throw new BrokenPromise("touched", `the store has ${stored}, the board ${live}`);
    return JSON.parse(live) as TaskRecord;
  }

  #isOver(): boolean {
    return this.plans.every(({ tasks }) => tasks.every((task) => isEnded(task.state) || task.state === "blocked"));
  }
}

function namesOf(tasks: readonly TaskRecord[]): string {
  return tasks.map(taskKey).join(", ") || "nothing";
}

function wordsOf(broken: BrokenPromise): string {
  return broken.message.slice(broken.promise.length + 2);
}
