/**
 * A world for the board: agents that end when chance says, a merge queue, operators, a clock that jumps, crashes. It
 * keeps its own account of what really runs and merges, and checks section 3 of the design against that account after
 * every step, never against what the board believes.
 */
import { Board, type BoardSettings, type Decision } from "../../src/plan/board.ts";
import { claimsOverlap } from "../../src/plan/claims.ts";
import { DEFAULT_RETRY_SETTINGS } from "../../src/plan/consequence.ts";
import { controlPlan, controlTask, TASK_ACTIONS } from "../../src/plan/controls.ts";
import { AppError } from "../../src/errors.ts";
import { explainTask, standingOf } from "../../src/plan/explain.ts";
import { FAILURE_CAUSES } from "../../src/plan/failure-cause.ts";
import { checkGraph, longestPaths } from "../../src/plan/graph.ts";
import { endAttempt, endMerge, type AttemptEnd, type MergeEnd } from "../../src/plan/outcomes.ts";
import { newTask, taskKey, type PlanRecord, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded } from "../../src/plan/task-state.ts";
import { normalizeTask } from "../../src/plan/schema.ts";

/** mulberry32: small, fast and the same everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export class BrokenPromise extends Error {}

export interface SimulationResult {
  readonly steps: number;
  readonly history: readonly string[];
  readonly starts: number;
}

/** Runs one random life of a repository to its end. Throws BrokenPromise with the history when a promise is broken. */
export function simulate(seed: number, maxTasks = 30): SimulationResult {
  return new World(seed, maxTasks).run();
}

class World {
  readonly #random: () => number;
  readonly #history: string[] = [];
  readonly #settings: BoardSettings;
  #board: Board;
  readonly #plans: { record: PlanRecord; tasks: TaskRecord[] }[] = [];
  readonly #running = new Set<TaskKey>();
  readonly #merging = new Set<TaskKey>();
  readonly #mergedOrDone = new Set<TaskKey>();
  #nowMs = 1_000_000;
  #starts = 0;
  #steps = 0;

  constructor(seed: number, maxTasks: number) {
    this.#random = seededRandom(seed);
    this.#settings = {
      limitAgents: 1 + this.#below(4),
      providerLimits: new Map([["alpha", 1 + this.#below(3)]]),
      retry: { ...DEFAULT_RETRY_SETTINGS, retries: 2 },
      gate: { failuresToOpen: 3, openMs: 60_000, usageProbesMs: [300_000, 900_000] },
      maxRepairs: 2,
    };
    this.#board = new Board(this.#settings);
    const plans = 1 + this.#below(2);
    for (let index = 0; index < plans; index += 1) this.#plans.push(this.#makePlan(index, maxTasks));
    this.#putOnBoard();
  }

  run(): SimulationResult {
    for (this.#steps = 0; this.#steps < 4000; this.#steps += 1) {
      this.#carryOut(this.#board.decide(this.#nowMs));
      this.#check();
      if (this.#isOver()) break;
      this.#somethingHappens();
      this.#check();
    }
    if (!this.#isOver()) this.#fail("the run did not end");
    return { steps: this.#steps, history: this.#history, starts: this.#starts };
  }

  #makePlan(index: number, maxTasks: number): { record: PlanRecord; tasks: TaskRecord[] } {
    const record: PlanRecord = {
      id: `p${index}`,
      name: null,
      goal: null,
      target: this.#random() < 0.7 ? "main" : "other",
      maxConcurrent: 1 + this.#below(4),
      budget: { usd: null, tokens: null, minutes: null },
      createdAtMs: this.#nowMs,
      paused: false,
    };
    const globs = ["src/**", "src/a.ts", "src/*.ts", "docs/**", "lib/{x,y}/*", "**/*.md"];
    const count = 1 + this.#below(maxTasks);
    const tasks: TaskRecord[] = [];
    for (let number = 0; number < count; number += 1) {
      const dependsOn = tasks.filter(() => this.#random() < 2 / (number + 1)).map((task) => task.id);
      const spec = normalizeTask({
        id: `t${number}`,
        prompt: "x",
        dependsOn,
        ...(this.#random() < 0.5 ? { writes: [globs[this.#below(globs.length)] ?? "x"] } : {}),
        onFailure: (["hard", "soft", "skip"] as const)[this.#below(3)] ?? "hard",
        merge: this.#random() < 0.9 ? "auto" : "none",
        priority: this.#below(3),
      });
      tasks.push(newTask(record.id, index * 1000 + number, spec, this.#random() < 0.5 ? "alpha" : "beta"));
    }
    return { record, tasks };
  }

  #putOnBoard(): void {
    for (const { record, tasks } of this.#plans) {
      const nodes = tasks.map((task) => task.spec);
      this.#board.addPlan(
        record,
        tasks,
        longestPaths(nodes, checkGraph(nodes), () => 1),
      );
    }
  }

  #carryOut(decisions: readonly Decision[]): void {
    for (const decision of decisions) {
      const key = taskKey(decision.task);
      this.#note(`${decision.type} ${key}`);
      switch (decision.type) {
        case "start":
          if (this.#running.has(key)) this.#fail(`${key} was started while it runs`);
          if (this.#mergedOrDone.has(key)) this.#fail(`once: ${key} was started again after it was finished`);
          this.#checkOrder(decision.task);
          this.#running.add(key);
          this.#starts += 1;
          break;
        case "stop":
          // The agent will end as stopped; chance may let it succeed first.
          break;
        case "merge":
          if (this.#mergedOrDone.has(key)) this.#fail(`once: ${key} is merged again`);
          this.#merging.add(key);
          break;
      }
    }
  }

  #checkOrder(task: TaskRecord): void {
    // What has begun goes on, also when somebody opened a soft dependency again meanwhile.
    if (task.ledger.attempts > 1) return;
    const plan = this.#plans.find((candidate) => candidate.record.id === task.planId);
    for (const id of task.spec.dependsOn) {
      const dependency = plan?.tasks.find((candidate) => candidate.id === id);
      if (dependency === undefined) continue;
      const mayGoOn =
        dependency.state === "succeeded" ||
        dependency.state === "skipped" ||
        ((dependency.state === "failed" || dependency.state === "cancelled") && dependency.spec.onFailure !== "hard");
      if (!mayGoOn) this.#fail(`order: ${taskKey(task)} started while ${id} is ${dependency.state}`);
    }
  }

  #somethingHappens(): void {
    const chance = this.#random();
    if (chance < 0.06) return this.#crash();
    if (chance < 0.14) return this.#operate();
    if (chance < 0.2) {
      this.#nowMs += this.#random() < 0.2 ? 8 * 3_600_000 : 1000;
      return;
    }
    const running = [...this.#running];
    const merging = [...this.#merging];
    const total = running.length + merging.length;
    if (total === 0) return this.#idle();
    const chosen = this.#below(total);
    const key = chosen < running.length ? running[chosen] : merging[chosen - running.length];
    if (key === undefined) return;
    if (chosen < running.length) this.#endAgent(key);
    else this.#endMerge(key);
  }

  /** Nothing runs: time passes to the next timer, or a person comes. */
  #idle(): void {
    const nextMs = this.#board.nextWakeMs(this.#nowMs);
    if (nextMs !== null) {
      this.#note(`time passes to ${nextMs}`);
      this.#nowMs = Math.max(this.#nowMs, nextMs);
      return;
    }
    for (const { record, tasks } of this.#plans) {
      if (record.paused) {
        this.#note(`resume ${record.id}`);
        controlPlan(this.#board, record.id, "resume", this.#nowMs);
        return;
      }
      for (const task of tasks) {
        // A lock is cleared through its holder, which waits for somebody itself: that one is asked for.
        if (task.state !== "waiting" || task.wait?.code === "lock") continue;
        const why = explainTask(this.#board, taskKey(task), this.#nowMs);
        if (why.command === null && why.code !== "target")
          this.#fail(`why: ${taskKey(task)} waits for nobody: ${why.message}`);
        const action = task.wait?.code === "paused" ? "resume" : this.#random() < 0.5 ? "retry" : "cancel";
        this.#note(`${action} ${taskKey(task)} (${why.code})`);
        controlTask(this.#board, taskKey(task), action, this.#nowMs);
        return;
      }
    }
    if (!this.#isOver()) this.#fail("deadlock: nothing runs, no timer, nobody to ask");
  }

  #endAgent(key: TaskKey): void {
    this.#running.delete(key);
    const { record } = this.#board.node(key);
    let end: AttemptEnd;
    const chance = this.#random();
    if (record.wish !== null && chance < 0.8) end = { type: "stopped" };
    else if (chance < 0.6) end = { type: "succeeded", hasChanges: this.#random() < 0.8, message: null };
    else if (chance < 0.63) {
      end = {
        type: "not-started",
        wait: { code: "auth", message: "no key", command: `orchestrator retry ${key}`, untilMs: null },
      };
    } else {
      const cause = FAILURE_CAUSES[this.#below(FAILURE_CAUSES.length)] ?? "crashed";
      end = {
        type: "failed",
        cause,
        message: cause,
        remedy: null,
        retryAfterMs: this.#random() < 0.2 ? 120_000 : null,
        resetsAtMs: this.#random() < 0.5 ? this.#nowMs + 3_600_000 : null,
      };
    }
    this.#note(`${key} ends: ${end.type}${end.type === "failed" ? ` ${end.cause}` : ""}`);
    endAttempt(this.#board, key, end, this.#nowMs, this.#random());
    if (record.state === "succeeded") this.#mergedOrDone.add(key);
  }

  #endMerge(key: TaskKey): void {
    this.#merging.delete(key);
    const chance = this.#random();
    let end: MergeEnd;
    if (chance < 0.6) end = { type: "merged", sha: "abc" };
    else if (chance < 0.65) end = { type: "nothing" };
    else if (chance < 0.8) end = { type: "verify-failed", output: "red", canRepair: this.#random() < 0.8 };
    else if (chance < 0.9) end = { type: "again" };
    else end = { type: "wait", code: "conflict", message: "conflict", command: `orchestrator merge ${key}` };
    this.#note(`merge of ${key} ends: ${end.type}`);
    endMerge(this.#board, key, end);
    if (this.#board.node(key).record.state === "succeeded") this.#mergedOrDone.add(key);
  }

  #operate(): void {
    const plan = this.#plans[this.#below(this.#plans.length)];
    const task = plan?.tasks[this.#below(plan.tasks.length)];
    if (plan === undefined || task === undefined) return;
    const action = TASK_ACTIONS[this.#below(TASK_ACTIONS.length)] ?? "pause";
    const onPlan = this.#random() < 0.2 && action !== "cancel";
    this.#note(`operator: ${action} ${onPlan ? plan.record.id : taskKey(task)}`);
    try {
      if (onPlan) controlPlan(this.#board, plan.record.id, action, this.#nowMs);
      else controlTask(this.#board, taskKey(task), action, this.#nowMs);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "TASK_STATE") throw error;
    }
    for (const { tasks } of this.#plans) {
      for (const other of tasks) {
        const key = taskKey(other);
        if (isEnded(other.state) && this.#running.has(key)) this.#fail(`${key} ended while its agent lives`);
        if (other.state === "succeeded") this.#mergedOrDone.add(key);
      }
    }
  }

  /** The engine dies: records survive (they are what the store holds), the board is built again from them. */
  #crash(): void {
    this.#note("crash");
    // What the store holds is JSON: what does not survive that is lost here too.
    for (const plan of this.#plans) {
      const copied = structuredCloneOf(plan);
      plan.tasks.splice(0, plan.tasks.length, ...copied.tasks);
      Object.assign(plan.record, copied.record);
    }
    const health = [...this.#board.providers()].map((provider) => structuredClone(provider));
    this.#board = new Board(this.#settings);
    for (const provider of health) this.#board.restoreProvider(provider);
    this.#putOnBoard();
    this.#merging.clear();
    for (const key of this.#running) {
      this.#running.delete(key);
      const end: AttemptEnd = {
        type: "failed",
        cause: "engine-crash",
        message: "the engine stopped",
        remedy: null,
        retryAfterMs: null,
        resetsAtMs: null,
      };
      endAttempt(this.#board, key, end, this.#nowMs, this.#random());
    }
  }

  #check(): void {
    if (this.#running.size > this.#settings.limitAgents) this.#fail(`bounds: ${this.#running.size} agents run`);
    const ofAlpha = [...this.#running].filter((key) => this.#board.node(key).record.provider === "alpha").length;
    if (ofAlpha > (this.#settings.providerLimits.get("alpha") ?? 0)) this.#fail(`bounds: ${ofAlpha} of alpha run`);
    for (const { record, tasks } of this.#plans) {
      const running = tasks.filter((task) => this.#running.has(taskKey(task)));
      if (running.length > record.maxConcurrent) this.#fail(`bounds: ${running.length} of ${record.id} run`);
      for (const task of tasks) {
        if ((task.state === "running") !== this.#running.has(taskKey(task))) {
          this.#fail(
            `${taskKey(task)} is ${task.state}, but its agent ${task.state === "running" ? "does not" : "does"} run`,
          );
        }
      }
      this.#checkCounts(record.id, tasks);
    }
    this.#checkClaims();
  }

  #checkCounts(planId: string, tasks: readonly TaskRecord[]): void {
    const { counts } = standingOf(this.#board.plan(planId));
    for (const [state, count] of Object.entries(counts)) {
      const real = tasks.filter((task) => task.state === state).length;
      if (real !== count) this.#fail(`${planId} counts ${count} ${state}, there are ${real}`);
    }
  }

  #checkClaims(): void {
    const running = [...this.#running].map((key) => this.#board.node(key));
    for (const [index, one] of running.entries()) {
      for (const other of running.slice(index + 1)) {
        const sameTarget = one.plan.record.target === other.plan.record.target;
        if (sameTarget && claimsOverlap(one.record.spec.writes ?? [], other.record.spec.writes ?? [])) {
          this.#fail(`claims: ${taskKey(one.record)} and ${taskKey(other.record)} run together`);
        }
      }
    }
  }

  #isOver(): boolean {
    return this.#plans.every(({ tasks }) => tasks.every((task) => isEnded(task.state) || task.state === "blocked"));
  }

  #note(line: string): void {
    this.#history.push(line);
  }

  #fail(message: string): never {
    throw new BrokenPromise(`${message}\n  ${this.#history.slice(-40).join("\n  ")}`);
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }
}

function structuredCloneOf<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value)) as Value;
}
