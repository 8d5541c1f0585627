/**
 * The simulation's own book of what really happened: which agents run, who holds what, who asked first, what was spent.
 * It is written from decisions and ends alone, with rules of its own, so that the board is never its own witness.
 */
import type { FailureCause } from "../../src/plan/failure-cause.ts";
import type { TaskChange } from "../../src/plan/journal.ts";
import {
  EMPTY_LEDGER,
  taskKey,
  type Ledger,
  type PlanRecord,
  type TaskKey,
  type TaskRecord,
} from "../../src/plan/records.ts";
import { isEnded, type WaitCode } from "../../src/plan/task-state.ts";
import { bookUse, roomFor, setAside } from "./budget-book.ts";
import { emptyBook, type Book } from "./book.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { blockerOf, shareAFile, type Overlap } from "./claim-book.ts";
import { whatForbidsMerge } from "./merge-book.ts";
import { admits, moveHealth } from "./provider-book.ts";
import { goTo, listOf, providerFor, ruleOut } from "./provider-lists.ts";

/** What may change under a life, as the config of an engine may. */
export interface Limits {
  agents: number;
  providers: ReadonlyMap<string, number>;
  readonly retries: number;
  readonly continuations: number;
  readonly repairs: number;
  /** What the machine lacks; null: nothing. */
  lack: string | null;
}

const SPENDS_A_RETRY: ReadonlySet<FailureCause> = new Set(["transient", "rate-limit", "stalled", "crashed"]);
const SPENDS_A_FRESH_SESSION: ReadonlySet<FailureCause> = new Set(["context-overflow", "no-result"]);
const SPENDS_A_CONTINUATION: ReadonlySet<FailureCause> = new Set(["turn-limit", "engine-crash"]);
/** What each step, and each visit to one, has for itself. */
const NOTHING_OF_A_STEP = { retries: 0, continuations: 0, freshSessions: 0 };
const WAITS_FREELY: ReadonlySet<FailureCause> = new Set([
  "usage-limit",
  "auth",
  "billing",
  "permission-denied",
  "spawn-failed",
  "invalid-request",
]);

export class Account {
  readonly limits: Limits;
  #book: Book = emptyBook();

  constructor(limits: Limits) {
    this.limits = limits;
  }

  get book(): Book {
    return this.#book;
  }

  /** Puts back what stood in the book before something that was never committed. */
  restore(book: Book): void {
    this.#book = book;
  }

  // --- attempts ------------------------------------------------------------------------------------------------------

  /** Order is checked by `checkStart`, all else here. */
  start(task: TaskRecord, plan: PlanRecord, nowMs: number): void {
    const { running, done, probes, line, holders } = this.#book;
    const key = taskKey(task);
    const { provider, planId } = task;
    if (running.has(key)) throw new BrokenPromise("once", `${key} was started while it runs`);
    if (plan.paused) throw new BrokenPromise("paused", `${key} was started while its plan is paused`);
    if (this.limits.lack !== null) throw new BrokenPromise("machine", `${key} was started without ${this.limits.lack}`);
    if (done.has(key)) throw new BrokenPromise("once", `${key} was started again after it was finished`);
    if (this.#book.arrived.has(key)) throw new BrokenPromise("once", `${key} was started after it was merged`);
    this.#checkStep(task);
    const chosen = providerFor(this.#book, task, nowMs);
    if (chosen === undefined)
      throw new BrokenPromise("gate", `${key} was started on ${provider}, which lets nobody through`);
    if (provider !== chosen) throw new BrokenPromise("lists", `${key} runs on ${provider}, not ${chosen}`);
    if (this.admits(provider, nowMs) === "one") probes.set(provider, key);
    goTo(this.#book, task, provider);
    const room = roomFor(this.#book, task, plan.budget);
    if (room !== "fits")
      throw new BrokenPromise("budget", `${key} was started, and its plan's budget has ${room} room`);
    setAside(this.#book, task, plan.budget);
    this.#checkOvertaking(task, plan.target);
    running.set(key, { planId, provider });
    this.#checkBounds(key, plan.maxConcurrent);
    line.delete(key);
    // Whatever somebody let through was another state of the work.
    this.#book.letThrough.delete(key);
    holders.set(key, { target: plan.target, writes: task.spec.writes ?? [] });
    this.#spend(key, { attempts: this.spentBy(key).attempts + 1 });
  }

  /** Its agent is there: whoever dies now leaves a process behind. */
  launch(key: TaskKey): void {
    this.#book.launched.add(key);
  }

  /** The agent is gone; what that means for the task is told by `fail`, `notStarted` or the record. */
  endAgent(key: TaskKey): void {
    const { running, launched, probes } = this.#book;
    running.delete(key);
    launched.delete(key);
    this.#book.aside.delete(key);
    // By name: the task may be at a step of another provider by now.
    for (const [provider, probe] of probes) if (probe === key) probes.delete(provider);
  }

  /** `code`: what it waits for, null for nothing; an operator's pause comes before it. */
  notStarted(task: TaskRecord, code: WaitCode | null): void {
    const key = taskKey(task);
    const { attempts } = this.spentBy(key);
    this.#spend(key, { attempts: attempts - 1 });
    const goesElsewhere = code !== null && ruleOut(this.#book, task, code);
    if (attempts === 1 && (task.state === "waiting" || goesElsewhere)) this.#book.holders.delete(key);
    const isAsWanted = goesElsewhere ? task.state !== "waiting" : code === null || task.wait?.code === code;
    this.#mustBe(task, isAsWanted, "what never began");
  }

  /** An agent that asks waits without a slot, keeps its claims and has spent nothing; its answer goes on in its session. */
  ask(task: TaskRecord, isOpen: boolean): void {
    const isAsWanted = isOpen ? task.wait?.code === "question" : task.state === "ready";
    this.#mustBe(task, isAsWanted && task.nextTurn.kind === "message", "a question");
  }

  /** Something was said that its agent has not heard: it goes on at the first step, and is judged again. */
  hear(task: TaskRecord, isPaused: boolean): void {
    const key = taskKey(task);
    if (this.passedBy(key) > 0) this.#backToFirst(key, {});
    const goesOn = task.state === "ready" || (isPaused && task.wait?.code === "paused");
    this.#mustBe(task, goesOn && task.nextTurn.kind === "message", "mail");
  }

  /** Books a bad end as DESIGN section 5 tells it, and checks that the task's ledger and state say the same. */
  fail(task: TaskRecord, cause: FailureCause): void {
    const key = taskKey(task);
    const spent = this.spentBy(key);
    const retries = task.spec.retries ?? this.limits.retries;
    const isEnd = task.state === (task.spec.onFailure === "skip" ? "skipped" : "failed");
    if (SPENDS_A_RETRY.has(cause) || (cause === "command-failed" && task.spec.retries !== null)) {
      if (spent.retries >= retries) return this.#mustBe(task, isEnd, `${cause} after ${spent.retries} retries`);
      this.#spend(key, { retries: spent.retries + 1 });
      return this.#mustBe(task, task.wait?.code === "backoff", cause);
    }
    if (SPENDS_A_FRESH_SESSION.has(cause)) {
      if (spent.freshSessions >= 1) return this.#mustBe(task, isEnd, `${cause} in a fresh session`);
      this.#spend(key, { freshSessions: 1 });
      return this.#mustBe(task, task.state === "ready" && task.nextTurn.kind === "hand-over", cause);
    }
    if (SPENDS_A_CONTINUATION.has(cause)) {
      if (spent.continuations >= this.limits.continuations) return this.#mustBe(task, isEnd, `${cause} too often`);
      this.#spend(key, { continuations: spent.continuations + 1 });
      return this.#mustBe(task, task.state === "ready" && task.nextTurn.kind === "again", cause);
    }
    // Whether there is room for another attempt is asked before its start.
    if (cause === "budget") return this.#mustBe(task, task.state === "ready" && task.nextTurn.kind === "again", cause);
    if (cause === "usage-limit") this.#spend(key, { waits: spent.waits + 1 });
    const goesElsewhere =
      cause === "usage-limit" ? listOf(this.#book, task).length > 1 : ruleOut(this.#book, task, cause);
    if (goesElsewhere) return this.#mustBe(task, task.state === "ready", `${cause} of one of its providers`);
    if (WAITS_FREELY.has(cause)) return this.#mustBe(task, task.wait?.code === cause, cause);
    if (cause === "cancelled") return this.#mustBe(task, task.state === "cancelled", cause);
    this.#mustBe(task, isEnd, cause);
  }

  /** The engine died: agents and merges with it, and the line of those who asked, which is not stored. */
  crash(): { readonly key: TaskKey; readonly wasLaunched: boolean }[] {
    const { running, launched, merging, probes, line } = this.#book;
    const ended = [...running.keys()].map((key) => ({ key, wasLaunched: launched.has(key) }));
    // What was killed told nothing; what never began used nothing.
    for (const key of launched) bookUse(this.#book, key, { usd: null, tokens: null, minutes: null });
    this.#book.aside.clear();
    for (const book of [running, launched, merging, probes, line]) book.clear();
    return ended;
  }

  runningOf(provider: string): number {
    return [...this.#book.running.values()].filter((one) => one.provider === provider).length;
  }

  runningIn(planId: string): number {
    return [...this.#book.running.values()].filter((one) => one.planId === planId).length;
  }

  admits(provider: string, nowMs: number): "nobody" | "one" | "all" {
    return admits(this.#book.health, provider, nowMs);
  }

  /** What keeps a ready task from starting now, in one word; null: nothing. */
  obstacleTo(task: TaskRecord, plan: Pick<PlanRecord, "paused" | "maxConcurrent" | "budget">, nowMs: number) {
    if (plan.paused) return "paused";
    if (this.limits.lack !== null) return "machine";
    const provider = providerFor(this.#book, task, nowMs);
    if (provider === undefined) return "gate";
    if (this.runningIn(task.planId) >= plan.maxConcurrent) return "plan";
    if (this.runningOf(provider) >= (this.limits.providers.get(provider) ?? Infinity)) return "provider";
    if (roomFor(this.#book, task, plan.budget) === "not-yet") return "budget";
    return this.#book.running.size >= this.limits.agents ? "engine" : null;
  }

  #checkBounds(key: TaskKey, maxConcurrent: number): void {
    const { running } = this.#book;
    const { planId, provider } = running.get(key) ?? { planId: "", provider: "" };
    const counts = [
      ["engine", running.size, this.limits.agents],
      [`plan ${planId}`, this.runningIn(planId), maxConcurrent],
      [`provider ${provider}`, this.runningOf(provider), this.limits.providers.get(provider) ?? Infinity],
    ] as const;
    for (const [what, count, most] of counts) {
      if (count > most) throw new BrokenPromise("bounds", `${key} is number ${count} of ${what}, ${most} may run`);
    }
  }

  // --- steps ---------------------------------------------------------------------------------------------------------

  /** A step ended well. `verdict`: what a later step said; null for the first. */
  finishStep(task: TaskRecord, verdict: "approve" | "reject" | null, isPaused: boolean, hasMail: boolean): void {
    const key = taskKey(task);
    const passed = this.passedBy(key);
    const { rounds } = this.spentBy(key);
    const goesOn = task.state === "ready" || (isPaused && task.wait?.code === "paused");
    if (passed > 0 && verdict === "reject") {
      const isLeft = rounds < task.workflow.maxRounds;
      // What somebody said meanwhile is another round that they asked for.
      if (!isLeft && !hasMail) {
        this.#book.rejected.add(key);
        return this.#mustBe(task, task.wait?.code === "review", "too many rejects");
      }
      this.#backToFirst(key, isLeft ? { rounds: rounds + 1 } : {});
      return this.#mustBe(task, goesOn && task.nextTurn.kind === "rejected", "a reject");
    }
    this.pass(task);
    if (passed + 1 === task.workflow.steps.length) {
      return this.#mustBe(task, task.state === "merging" || task.state === "succeeded" || !goesOn, "the last step");
    }
    this.#mustBe(task, goesOn && task.nextTurn.kind === "review", `step ${passed + 1}`);
  }

  /** A step is done: it approved, or a person went on in spite of it. */
  pass(task: TaskRecord): void {
    const key = taskKey(task);
    const passed = this.passedBy(key) + 1;
    this.#book.passed.set(key, passed);
    this.#book.rejected.delete(key);
    if (passed < task.workflow.steps.length) this.#spend(key, NOTHING_OF_A_STEP);
  }

  passedBy(key: TaskKey): number {
    return this.#book.passed.get(key) ?? 0;
  }

  /** Somebody called it back, took it by hand or changed it: whatever it passed, it is judged again. */
  startOver(key: TaskKey): void {
    this.#book.passed.set(key, 0);
    this.#book.rejected.delete(key);
  }

  repair(task: TaskRecord): void {
    const key = taskKey(task);
    const { repairs } = this.spentBy(key);
    if (repairs >= this.limits.repairs) return this.#mustBe(task, task.wait?.code === "verify", "too many repairs");
    this.#backToFirst(key, { repairs: repairs + 1 });
    // What somebody let through was another state of the work.
    const isAsWanted = task.state === "ready" && task.nextTurn.kind === "repair" && task.consent === null;
    this.#mustBe(task, isAsWanted, "a repair");
  }

  /** An operator's retry opens all ledgers anew; attempts only count up. What was rejected is for the first step. */
  retry(key: TaskKey, isVerifyRed: boolean): void {
    if (isVerifyRed || this.#book.rejected.delete(key)) this.#book.passed.set(key, 0);
    this.#book.spent.set(key, { ...EMPTY_LEDGER, attempts: this.spentBy(key).attempts });
  }

  #backToFirst(key: TaskKey, spent: Partial<Ledger>): void {
    this.startOver(key);
    this.#spend(key, { ...NOTHING_OF_A_STEP, ...spent });
  }

  #checkStep(task: TaskRecord): void {
    const key = taskKey(task);
    const passed = this.passedBy(key);
    if (task.step !== passed)
      throw new BrokenPromise("steps", `${key} starts step ${task.step} after ${passed} were passed`);
  }

  /** Nothing merges or counts as done before each of its steps has passed it as it is. */
  #checkAllPassed(task: TaskRecord, what: string): void {
    const passed = this.passedBy(taskKey(task));
    if (passed === task.workflow.steps.length) return;
    throw new BrokenPromise("steps", `${taskKey(task)} ${what} after ${passed} of ${task.workflow.steps.length} steps`);
  }

  // --- merges --------------------------------------------------------------------------------------------------------

  startMerge(task: TaskRecord, { target, paused }: PlanRecord): void {
    const key = taskKey(task);
    if (paused) throw new BrokenPromise("paused", `${key} is merged while its plan is paused`);
    if (this.limits.lack !== null) throw new BrokenPromise("machine", `${key} is merged without ${this.limits.lack}`);
    const { done, arrived, merging } = this.#book;
    if (done.has(key) || arrived.has(key)) throw new BrokenPromise("once", `${key} is merged again`);
    this.#checkAllPassed(task, "is merged");
    const forbidden = whatForbidsMerge(this.#book, task);
    if (forbidden !== null) throw new BrokenPromise("let through", `${key} is merged, ${forbidden}`);
    const other = merging.get(target);
    if (other !== undefined) throw new BrokenPromise("once", `${key} is merged into ${target} beside ${other}`);
    merging.set(target, key);
  }

  /** The target has it, though nobody may have written that down. */
  arrive(key: TaskKey): void {
    this.#book.arrived.add(key);
  }

  endMerge(key: TaskKey, target: string, isDone: boolean): void {
    if (isDone) this.#book.done.add(key);
    if (this.#book.merging.get(target) === key) this.#book.merging.delete(target);
  }

  // --- states and claims ---------------------------------------------------------------------------------------------

  /** A step of the state machine, as the store is told it. `isByItself`: nobody did anything, the board just looked. */
  change({ task, from, to, wait }: TaskChange, target: string, isByItself: boolean, nowMs: number): void {
    const key = taskKey(task);
    const { waits, line, holders, done } = this.#book;
    const before = waits.get(key);
    if (isByItself && from === "waiting" && before !== undefined && before.code !== "lock") {
      const isDue = before.untilMs !== null && before.untilMs <= nowMs;
      if (!isDue) throw new BrokenPromise("timers", `${key} went on, though it waits for ${before.code}`);
    }
    if (wait === null) waits.delete(key);
    else waits.set(key, wait);
    if (wait?.code === "lock") {
      if (!line.has(key)) line.set(key, { target, writes: task.spec.writes ?? [] });
    } else if (to !== "ready" && to !== "running") line.delete(key);
    if (isEnded(to) || to === "blocked" || to === "pending") holders.delete(key);
    if (to === "succeeded") {
      this.#checkAllPassed(task, "counts as done");
      done.add(key);
    }
  }

  /** The clock was set back: whatever ends by time ends as much earlier by it. */
  moveWaits(byMs: number): void {
    const { waits, health } = this.#book;
    for (const [key, wait] of waits) {
      if (wait.untilMs !== null) waits.set(key, { ...wait, untilMs: wait.untilMs + byMs });
    }
    moveHealth(health, byMs);
  }

  release(key: TaskKey): void {
    this.#book.holders.delete(key);
    this.#book.line.delete(key);
  }

  forget(key: TaskKey): void {
    this.release(key);
    for (const book of [this.#book.spent, this.#book.passed, this.#book.waits]) book.delete(key);
  }

  spentBy(key: TaskKey): Ledger {
    return this.#book.spent.get(key) ?? EMPTY_LEDGER;
  }

  /** Whom `task` has to wait for: a holder, or one who asked before; undefined when nobody. */
  blockerOf(task: TaskRecord, target: string, overlaps: Overlap): TaskKey | undefined {
    return blockerOf(this.#book, task, target, overlaps);
  }

  #checkOvertaking(task: TaskRecord, target: string): void {
    const key = taskKey(task);
    const { holders } = this.#book;
    if (holders.has(key)) return;
    const blocker = this.blockerOf(task, target, shareAFile);
    if (blocker === undefined) return;
    if (holders.has(blocker)) throw new BrokenPromise("claims", `${key} started while ${blocker} holds its claim`);
    throw new BrokenPromise("claims", `${key} overtook ${blocker}, which asked earlier`);
  }

  #spend(key: TaskKey, spent: Partial<Ledger>): void {
    this.#book.spent.set(key, { ...this.spentBy(key), ...spent });
  }

  #mustBe(task: TaskRecord, isAsExpected: boolean, because: string): void {
    const key = taskKey(task);
    const found = `${task.state}${task.wait === null ? "" : ` (${task.wait.code})`}, next turn ${task.nextTurn.kind}`;
    if (!isAsExpected) throw new BrokenPromise("consequence", `${key} is ${found} after ${because}`);
    const spent = this.spentBy(key);
    for (const name of [
      "attempts",
      "retries",
      "continuations",
      "freshSessions",
      "repairs",
      "rounds",
      "waits",
    ] as const) {
      if (task.ledger[name] === spent[name]) continue;
      throw new BrokenPromise(
        "ledgers",
        `${key} has ${task.ledger[name]} ${name} in its ledger, ${spent[name]} were spent`,
      );
    }
  }
}
