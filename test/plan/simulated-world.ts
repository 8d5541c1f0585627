/**
 * The world of a simulated life: the board with its store, its clock and its account. One thing is done here: what the
 * scheduler does around the board (commit, decide, die, recover). What happens in it is in `simulated-events.ts` and
 * `simulated-people.ts`, what must be true in `simulation-checks.ts`.
 */
import { Board, type BoardSettings, type Decision } from "../../src/plan/board.ts";
import { DEFAULT_RETRY_SETTINGS } from "../../src/plan/consequence.ts";
import { standingOf } from "../../src/plan/explain.ts";
import { checkGraph, longestPaths } from "../../src/plan/graph.ts";
import type { TaskChange } from "../../src/plan/journal.ts";
import { endAttempt, endMerge, type AttemptEnd } from "../../src/plan/outcomes.ts";
import { taskKey, type PlanRecord, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { Account } from "./account.ts";
import { BrokenPromise } from "./broken-promise.ts";
import type { Book } from "./book.ts";
import type { Life } from "./life.ts";
import { bookEnd } from "./provider-book.ts";
import { SeededRandom, seedOf } from "./seeded-random.ts";
import { openRow } from "./simulated-budgets.ts";
import { SimulatedStore, type Rows } from "./simulated-store.ts";
import { checkChange, checkRestored, checkStart } from "./simulation-checks.ts";

export interface SimulatedPlan {
  readonly record: PlanRecord;
  /** In an order that respects the edges: a task depends on earlier ones alone. */
  tasks: TaskRecord[];
}

/** What is going on, which says what may change: one task's own affair, an operator's, or nobody's (the board looks). */
export type Cause =
  { readonly type: "look" } | { readonly type: "people" } | { readonly type: "end"; readonly key: TaskKey };

const MOODS = ["even", "even", "steered", "talkative", "deadly", "failing"] as const;
export type Mood = (typeof MOODS)[number];

const PEOPLE: Cause = { type: "people" };

export class World {
  readonly life: Life;
  /** What happens oftener in this life than in others: what needs several such things close together is rare else. */
  readonly mood: Mood;
  readonly settings: BoardSettings;
  readonly account: Account;
  readonly store = new SimulatedStore();
  readonly history: string[] = [];
  /** Agents that were told to stop and have not ended yet. */
  readonly stopping = new Set<TaskKey>();
  board: Board;
  plans: SimulatedPlan[] = [];
  nowMs = 1_000_000_000;
  nextOrdinal = 0;
  starts = 0;
  /** Rows that were written so far. */
  written = 0;
  /** Of the step that is being lived. */
  random: SeededRandom;
  /** From here on nothing bad happens any more. */
  isKind = false;
  #isTold: boolean;
  #cause: Cause = PEOPLE;

  constructor(life: Life, isTold: boolean) {
    this.life = life;
    this.#isTold = isTold;
    const random = new SeededRandom(seedOf(life.seed, "settings"));
    this.random = random;
    this.settings = {
      ...randomLimits(random),
      retry: { ...DEFAULT_RETRY_SETTINGS, retries: 2, maxContinuations: 3 },
      gate: { failuresToOpen: 3, openMs: 60_000, usageProbesMs: [300_000, 900_000] },
      maxRepairs: 2,
    };
    const { limitAgents, providerLimits, retry, maxRepairs } = this.settings;
    this.account = new Account({
      agents: limitAgents,
      providers: providerLimits,
      retries: retry.retries,
      continuations: retry.maxContinuations,
      repairs: maxRepairs,
      lack: null,
    });
    this.board = new Board(this.settings);
    this.mood = random.pick(MOODS);
  }

  /** A line of the history. A function, because most lives are never told. */
  note(line: () => string): void {
    if (this.#isTold) this.history.push(line());
  }

  plan(id: string): SimulatedPlan {
    const plan = this.plans.find((candidate) => candidate.record.id === id);
    if (plan === undefined) throw new Error(`no plan ${id}`);
    return plan;
  }

  planOf(task: TaskRecord): SimulatedPlan {
    return this.plan(task.planId);
  }

  /** Every task of the plans that are on the board. */
  *tasks(): Iterable<TaskRecord> {
    for (const { record, tasks } of this.plans) if (this.board.hasPlan(record.id)) yield* tasks;
  }

  // --- commits -------------------------------------------------------------------------------------------------------

  /** One transaction: a change of the board, and what the scheduler stores of it. */
  commit<Result>(cause: Cause, work: () => Result): Result {
    this.#cause = cause;
    const result = work();
    this.write();
    return result;
  }

  /** Answers how many rows changed. */
  write(): number {
    let count = 0;
    for (const change of this.board.takeChanges()) this.#tell(change);
    for (const task of this.board.takeTouched()) {
      this.store.saveTask(task);
      count += 1;
    }
    for (const health of this.board.takeChangedProviders()) {
      this.store.saveHealth(health);
      count += 1;
    }
    this.written += count;
    return count;
  }

  #tell(change: TaskChange): void {
    const { task, from, to, wait } = change;
    const key = taskKey(task);
    const { told } = this.store.rows;
    const before = told.get(key);
    if (before !== from)
      throw new BrokenPromise("events", `${key} goes from ${from} to ${to}, but was told as ${before}`);
    told.set(key, to);
    this.note(() => `    ${key}: ${from} → ${to}${wait === null ? "" : ` (${wait.code})`}`);
    checkChange(this, change, this.#cause);
    const { record } = this.planOf(task);
    if (to === "running") {
      checkStart(this, task);
      this.account.start(task, record, this.nowMs);
    }
    this.account.change(change, record.target, this.#cause.type === "look", this.nowMs);
    if (to === "succeeded" || to === "skipped" || to === "failed" || to === "cancelled") this.#withdraw(key);
  }

  /** A task that ended waits for no answer any more. */
  #withdraw(key: TaskKey): void {
    for (const question of this.store.questionsOf(key)) {
      if (question.state === "open") question.state = "withdrawn";
      question.isDelivered = true;
    }
  }

  /** Plans and tasks that are new: rows first, then the board. */
  insertPlan(plan: SimulatedPlan): void {
    this.store.savePlan(plan.record);
    for (const task of plan.tasks) this.store.insertTask(task);
    this.plans.push(plan);
    this.putOnBoard(plan);
  }

  putOnBoard({ record, tasks }: SimulatedPlan): void {
    const specs = tasks.map((task) => task.spec);
    // In the order of the store, which knows nothing of edges.
    const stored = tasks.toSorted((left, right) => left.ordinal - right.ordinal);
    this.board.addPlan(
      record,
      stored,
      longestPaths(specs, checkGraph(specs), () => 1),
      { spent: this.store.bookedOf(record.id) },
    );
  }

  /** A plan that had ended before the engine was started is read when somebody asks for it. */
  open(planId: string): void {
    if (this.board.hasPlan(planId)) return;
    this.note(() => `  (plan ${planId} is read back)`);
    this.putOnBoard(this.plan(planId));
    this.write();
  }

  // --- decisions -----------------------------------------------------------------------------------------------------

  /** Decides, writes and carries out; `most`: so many are carried out before the engine dies. */
  decide(most = Infinity): void {
    this.note(() => "  the board looks");
    const decisions = this.commit({ type: "look" }, () => this.board.decide(this.nowMs));
    const started = decisions.filter(({ type }) => type === "start").map(({ task }) => taskKey(task));
    this.starts += started.length;
    const running = started.filter((key) => this.account.book.running.has(key));
    if (new Set(running).size !== started.length) {
      throw new BrokenPromise("once", `decided to start ${started.join(", ")}, but ${running.join(", ")} began`);
    }
    for (const decision of decisions.slice(0, most)) this.#carryOut(decision);
    if (most < decisions.length) return;
    const without = [...this.account.book.running.keys()].find((key) => !this.account.book.launched.has(key));
    if (without !== undefined) throw new BrokenPromise("once", `${without} is told as running, but nobody starts it`);
  }

  #carryOut({ type, task }: Decision): void {
    const key = taskKey(task);
    const { running } = this.account.book;
    switch (type) {
      case "start":
        return this.#launch(task);
      case "stop":
        if (!running.has(key)) throw new BrokenPromise("stop", `${key} is to stop, but does not run`);
        if (task.wish === null) throw new BrokenPromise("stop", `${key} is to stop, but nobody wishes it`);
        this.note(() => `    stops ${key} (${task.wish})`);
        this.stopping.add(key);
        return;
      case "merge":
        if (task.wish !== null) throw new BrokenPromise("wishes", `${key} is merged, though it was to ${task.wish}`);
        this.note(() => `    merges ${key}`);
        this.account.startMerge(task, this.planOf(task).record);
        return;
    }
  }

  /** The agent's first prompt or next turn has all that was said to it meanwhile. */
  #launch(task: TaskRecord): void {
    const key = taskKey(task);
    this.note(() => `    starts ${key} (attempt ${task.ledger.attempts}, step ${task.step}, ${task.provider})`);
    this.account.launch(key);
    openRow(this, task);
    if (this.store.openParked(key).length > 0) return;
    const { attempts } = task.ledger;
    if (task.step === 0) for (const message of this.store.undelivered(key)) message.carriedBy = attempts;
    for (const question of this.store.unheardAnswers(key))
      if (question.step === task.step) question.carriedBy = attempts;
  }

  // --- death ---------------------------------------------------------------------------------------------------------

  /** Dies before the transaction of `work` is through: nothing of it was ever written. */
  dieIn(work: () => void): void {
    const { rows } = this.store;
    const { book } = this.account;
    const saved: { rows: Rows; book: Book } = structuredClone({ rows, book });
    work();
    this.note(() => "  … which was never written: the engine died");
    this.store.rows = saved.rows;
    this.account.restore(saved.book);
    this.#recover(null);
  }

  /** Dies between two transactions. */
  die(): void {
    this.note(() => "  the engine dies");
    // After a look that was not carried out to its end the live board is ahead of what the next one can know.
    this.#recover(this.board);
  }

  /** What `recover.ts` does: plans, then what was under way. It may die itself, between its transactions. */
  #recover(before: Board | null): void {
    this.#restart(before);
    while (this.random.chance(0.1)) {
      this.note(() => "  and dies again while it recovers");
      this.#restart(null);
    }
    const { book } = this.account;
    const arrived = [...book.arrived].filter((key) => !book.done.has(key));
    // One transaction, told in pieces so that each end answers for its own changes.
    for (const { key, wasLaunched } of this.account.crash()) {
      this.commit({ type: "end", key }, () => this.#endCut(key, wasLaunched));
    }
    for (const key of arrived) this.commit({ type: "end", key }, () => this.#endArrived(key));
  }

  #restart(before: Board | null): void {
    if (this.random.chance(0.2)) this.changeLimits();
    const ended = new Set(before === null ? [] : this.plans.filter((plan) => hasEnded(before, plan)).map(idOf));
    this.board = new Board(this.settings);
    this.board.hold = this.account.limits.lack;
    this.stopping.clear();
    this.plans = this.store.planRecords().map((record) => {
      const tasks = inOrder(this.store.tasksOf(record.id));
      return { record, tasks };
    });
    this.nextOrdinal = 1 + Math.max(-1, ...this.plans.flatMap(({ tasks }) => tasks.map(({ ordinal }) => ordinal)));
    for (const { role, told } of this.store.rows.attempts) if (told !== null) this.board.uses.note(role, told);
    for (const health of this.store.healths()) this.board.restoreProvider(health);
    this.#cause = PEOPLE;
    this.account.book.line.clear();
    for (const plan of this.plans) if (!ended.has(plan.record.id)) this.putOnBoard(plan);
    if (before !== null) checkRestored(before, this.board, this.nowMs);
    this.write();
    for (const question of this.store.rows.questions) if (question.state === "open") question.isParked = true;
  }

  /** An attempt that the engine's death cut off: with its process, or before it had one. */
  #endCut(key: TaskKey, wasLaunched: boolean): void {
    const { record } = this.board.node(key);
    const { wish, provider } = record;
    const told = { message: "the engine stopped", remedy: null, retryAfterMs: null, resetsAtMs: null };
    const end: AttemptEnd = wasLaunched ? { type: "failed", cause: "engine-crash", ...told } : { type: "interrupted" };
    bookEnd(this.account.book.health, this.rules, provider, end, this.nowMs);
    endAttempt(this.board, key, end, this.nowMs, 0.5);
    if (wish !== null) return;
    if (wasLaunched) this.account.fail(record, "engine-crash");
    else if (record.state !== "ready") throw new BrokenPromise("consequence", `${key} never began, is ${record.state}`);
  }

  #endArrived(key: TaskKey): void {
    if (!this.board.hasPlan(key.split("/")[0] ?? "")) return;
    const { record } = this.board.node(key);
    if (record.state !== "merging") throw new BrokenPromise("once", `${key} is in its target, but ${record.state}`);
    this.note(() => `  finds ${key} in its target`);
    endMerge(this.board, key, { type: "merged", sha: "abc" });
    this.account.endMerge(key, this.planOf(record).record.target, true);
  }

  /** Limits of an engine's config count from its next start on, or at once. */
  changeLimits(): void {
    const { limitAgents, providerLimits } = randomLimits(this.random);
    this.note(() => `  limits: ${limitAgents} agents, alpha ${providerLimits.get("alpha")}`);
    this.settings.limitAgents = limitAgents;
    this.settings.providerLimits = providerLimits;
    this.account.limits.agents = limitAgents;
    this.account.limits.providers = providerLimits;
  }

  /** A disk gets full or has room again: an engine that starts looks at once. */
  setLack(lack: string | null): void {
    this.note(() => `  the machine lacks ${lack ?? "nothing"}`);
    this.account.limits.lack = lack;
    this.board.hold = lack;
  }

  get rules() {
    const { failuresToOpen, openMs, usageProbesMs } = this.settings.gate;
    return { failuresToOpen, openMs, probesMs: usageProbesMs };
  }
}

function randomLimits(random: SeededRandom): Pick<BoardSettings, "limitAgents" | "providerLimits"> {
  return { limitAgents: 1 + random.below(4), providerLimits: new Map([["alpha", 1 + random.below(3)]]) };
}

/** The real store marks a plan whose tasks all ended, and the next engine does not read it. */
function hasEnded(board: Board, { record }: SimulatedPlan): boolean {
  if (!board.hasPlan(record.id)) return true;
  const { state } = standingOf(board.plan(record.id));
  return state === "succeeded" || state === "failed";
}

function idOf({ record }: SimulatedPlan): string {
  return record.id;
}

function inOrder(tasks: readonly TaskRecord[]): TaskRecord[] {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  return checkGraph(tasks.map((task) => task.spec)).flatMap((id) => byId.get(id) ?? []);
}
