/**
 * The simulation's own book of what really happened: which agents run, who holds what, who asked first, what was spent.
 * It is written from decisions and ends alone, with rules of its own, so that the board is never its own witness.
 */
import type { FailureCause } from "../../src/plan/failure-cause.ts";
import { EMPTY_LEDGER, taskKey, type Ledger, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded } from "../../src/plan/task-state.ts";

export class BrokenPromise extends Error {
  /** The promise's name, so that a smaller life that breaks the same one can be told from another bug. */
  readonly promise: string;

  constructor(promise: string, message: string, history: readonly string[] = []) {
    super(`${promise}: ${message}${history.length === 0 ? "" : `\n  ${history.join("\n  ")}`}`);
    this.promise = promise;
  }
}

export interface Limits {
  readonly agents: number;
  readonly providers: ReadonlyMap<string, number>;
  readonly retries: number;
  readonly continuations: number;
  readonly repairs: number;
}

interface Claim {
  readonly target: string;
  readonly writes: readonly string[];
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
  readonly running = new Set<TaskKey>();
  /** The merge under way, for each target. */
  readonly merging = new Map<string, TaskKey>();
  readonly done = new Set<TaskKey>();
  readonly holders = new Map<TaskKey, Claim>();
  /** Who asked for claims and did not get them, in the order of asking. */
  readonly line = new Map<TaskKey, Claim>();
  readonly probes = new Map<string, TaskKey>();
  readonly #spent = new Map<TaskKey, Ledger>();
  /** How many steps of its workflow each task has behind it; all of them before it may merge. */
  readonly #passed = new Map<TaskKey, number>();
  /** Tasks whose last reject waits for a person. */
  readonly #rejected = new Set<TaskKey>();
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  // --- what happens --------------------------------------------------------------------------------------------------

  start(task: TaskRecord, target: string, gate: "open-to-all" | "one-probe" | "shut"): void {
    const key = taskKey(task);
    if (this.running.has(key)) throw new BrokenPromise("once", `${key} was started while it runs`);
    if (this.done.has(key)) throw new BrokenPromise("once", `${key} was started again after it was finished`);
    if (gate === "shut") throw new BrokenPromise("gate", `${key} was started while ${task.provider} is shut`);
    if (gate === "one-probe") {
      const other = this.probes.get(task.provider);
      if (other !== undefined) throw new BrokenPromise("gate", `${key} probes ${task.provider} beside ${other}`);
      this.probes.set(task.provider, key);
    }
    this.#checkStep(task);
    this.#checkOvertaking(task, target);
    this.running.add(key);
    this.line.delete(key);
    this.holders.set(key, { target, writes: task.spec.writes ?? [] });
    const spent = this.spentBy(key);
    this.#spent.set(key, { ...spent, attempts: spent.attempts + 1 });
  }

  /** The agent is gone; what that means for the task is told by `fail`, `notStarted` or the record. */
  endAgent(task: TaskRecord): void {
    const key = taskKey(task);
    this.running.delete(key);
    // By name: the task may be at a step of another provider by now.
    for (const [provider, probe] of this.probes) if (probe === key) this.probes.delete(provider);
  }

  notStarted(task: TaskRecord): void {
    const key = taskKey(task);
    const spent = this.spentBy(key);
    this.#spent.set(key, { ...spent, attempts: spent.attempts - 1 });
    if (spent.attempts === 1 && task.state === "waiting") this.holders.delete(key);
  }

  /** An agent that asks waits without a slot, keeps its claims and has spent nothing; its answer goes on in its session. */
  ask(task: TaskRecord, isOpen: boolean): void {
    const isAsWanted = isOpen ? task.wait?.code === "question" : task.state === "ready";
    this.#mustBe(task, isAsWanted && task.nextTurn.kind === "message", "a question");
  }

  /** Books a bad end as DESIGN section 5 tells it, and checks that the task's ledger and state say the same. */
  fail(task: TaskRecord, cause: FailureCause): void {
    const key = taskKey(task);
    const spent = this.spentBy(key);
    const retries = task.spec.retries ?? this.#limits.retries;
    const isEnd = task.state === "failed" || task.state === "skipped";
    if (SPENDS_A_RETRY.has(cause) || (cause === "command-failed" && task.spec.retries !== null)) {
      if (spent.retries >= retries) return this.#mustBe(task, isEnd, `${cause} after ${spent.retries} retries`);
      this.#spent.set(key, { ...spent, retries: spent.retries + 1 });
      return this.#mustBe(task, task.wait?.code === "backoff", cause);
    }
    if (SPENDS_A_FRESH_SESSION.has(cause)) {
      if (spent.freshSessions >= 1) return this.#mustBe(task, isEnd, `${cause} in a fresh session`);
      this.#spent.set(key, { ...spent, freshSessions: 1 });
      return this.#mustBe(task, task.state === "ready" && task.nextTurn.kind === "hand-over", cause);
    }
    if (SPENDS_A_CONTINUATION.has(cause)) {
      if (spent.continuations >= this.#limits.continuations) return this.#mustBe(task, isEnd, `${cause} too often`);
      this.#spent.set(key, { ...spent, continuations: spent.continuations + 1 });
      return this.#mustBe(task, task.state === "ready" && task.nextTurn.kind === "again", cause);
    }
    if (WAITS_FREELY.has(cause)) return this.#mustBe(task, task.wait?.code === cause, cause);
    if (cause === "cancelled") return this.#mustBe(task, task.state === "cancelled", cause);
    this.#mustBe(task, isEnd, cause);
  }

  /** A step ended well. `verdict`: what a later step said; null for the first. */
  finishStep(task: TaskRecord, verdict: "approve" | "reject" | null, isPaused: boolean): void {
    const key = taskKey(task);
    const passed = this.passedBy(key);
    const spent = this.spentBy(key);
    const goesOn = task.state === "ready" || (isPaused && task.wait?.code === "paused");
    if (passed > 0 && verdict === "reject") {
      if (spent.rounds >= task.workflow.maxRounds) {
        this.#rejected.add(key);
        return this.#mustBe(task, task.wait?.code === "review", "too many rejects");
      }
      this.#backToFirst(key, { rounds: spent.rounds + 1 });
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
    this.#passed.set(key, passed);
    this.#rejected.delete(key);
    if (passed < task.workflow.steps.length) this.#spent.set(key, { ...this.spentBy(key), ...NOTHING_OF_A_STEP });
  }

  passedBy(key: TaskKey): number {
    return this.#passed.get(key) ?? 0;
  }

  #backToFirst(key: TaskKey, spent: Partial<Ledger>): void {
    this.#passed.set(key, 0);
    this.#spent.set(key, { ...this.spentBy(key), ...NOTHING_OF_A_STEP, ...spent });
  }

  #checkStep(task: TaskRecord): void {
    const key = taskKey(task);
    const passed = this.passedBy(key);
    if (task.step !== passed)
      throw new BrokenPromise("steps", `${key} starts step ${task.step} after ${passed} were passed`);
    const provider = task.workflow.steps[passed]?.provider;
    if (task.provider !== provider)
      throw new BrokenPromise("steps", `${key} runs on ${task.provider}, not ${provider}`);
  }

  /** Nothing merges or counts as done before each of its steps has passed it as it is. */
  #checkAllPassed(task: TaskRecord, what: string): void {
    const passed = this.passedBy(taskKey(task));
    if (passed === task.workflow.steps.length) return;
    throw new BrokenPromise("steps", `${taskKey(task)} ${what} after ${passed} of ${task.workflow.steps.length} steps`);
  }

  repair(task: TaskRecord): void {
    const key = taskKey(task);
    const spent = this.spentBy(key);
    if (spent.repairs >= this.#limits.repairs)
      return this.#mustBe(task, task.wait?.code === "verify", "too many repairs");
    this.#backToFirst(key, { repairs: spent.repairs + 1 });
    this.#mustBe(task, task.state === "ready" && task.nextTurn.kind === "repair", "a repair");
  }

  /** An operator's retry opens all ledgers anew; attempts only count up. What was rejected is for the first step. */
  retry(key: TaskKey, isVerifyRed: boolean): void {
    if (isVerifyRed || this.#rejected.delete(key)) this.#passed.set(key, 0);
    this.#spent.set(key, { ...EMPTY_LEDGER, attempts: this.spentBy(key).attempts });
  }

  startMerge(task: TaskRecord, target: string): void {
    const key = taskKey(task);
    if (this.done.has(key)) throw new BrokenPromise("once", `${key} is merged again`);
    this.#checkAllPassed(task, "is merged");
    const other = this.merging.get(target);
    if (other !== undefined) throw new BrokenPromise("once", `${key} is merged into ${target} beside ${other}`);
    this.merging.set(target, key);
  }

  endMerge(key: TaskKey, target: string, isDone: boolean): void {
    if (isDone) this.done.add(key);
    if (this.merging.get(target) === key) this.merging.delete(target);
  }

  /** A step of the state machine, as the store is told it. */
  change(task: TaskRecord, target: string, to: TaskRecord["state"], waitCode: string | null): void {
    const key = taskKey(task);
    if (to === "waiting" && waitCode === "lock") {
      if (!this.line.has(key)) this.line.set(key, { target, writes: task.spec.writes ?? [] });
    } else if (to !== "ready" && to !== "running") this.line.delete(key);
    if (isEnded(to) || to === "blocked" || to === "pending") this.holders.delete(key);
    if (to === "succeeded") {
      this.#checkAllPassed(task, "counts as done");
      this.done.add(key);
    }
  }

  release(key: TaskKey): void {
    this.holders.delete(key);
    this.line.delete(key);
  }

  forget(key: TaskKey): void {
    this.release(key);
    this.#spent.delete(key);
    this.#passed.delete(key);
  }

  /** The engine died: agents and merges with it, and the line of those who asked, which is not stored. */
  crash(): TaskKey[] {
    const ended = [...this.running];
    this.running.clear();
    this.merging.clear();
    this.probes.clear();
    this.line.clear();
    return ended;
  }

  spentBy(key: TaskKey): Ledger {
    return this.#spent.get(key) ?? EMPTY_LEDGER;
  }

  /** Whom `task` has to wait for: a holder, or one who asked before; undefined when nobody. */
  blockerOf(
    task: TaskRecord,
    target: string,
    overlaps: (left: readonly string[], right: readonly string[]) => boolean,
  ): TaskKey | undefined {
    const key = taskKey(task);
    const wanted = task.spec.writes ?? [];
    for (const [other, claim] of this.line) {
      if (other === key) break;
      if (claim.target === target && overlaps(claim.writes, wanted)) return other;
    }
    for (const [other, claim] of this.holders) {
      if (other !== key && claim.target === target && overlaps(claim.writes, wanted)) return other;
    }
    return undefined;
  }

  #checkOvertaking(task: TaskRecord, target: string): void {
    const key = taskKey(task);
    if (this.holders.has(key)) return;
    const blocker = this.blockerOf(task, target, shareAFile);
    if (blocker === undefined) return;
    if (this.holders.has(blocker)) throw new BrokenPromise("claims", `${key} started while ${blocker} holds its claim`);
    throw new BrokenPromise("claims", `${key} overtook ${blocker}, which asked earlier`);
  }

  #mustBe(task: TaskRecord, isAsExpected: boolean, because: string): void {
    const key = taskKey(task);
    const found = `${task.state}${task.wait === null ? "" : ` (${task.wait.code})`}, next turn ${task.nextTurn.kind}`;
    if (!isAsExpected) throw new BrokenPromise("consequence", `${key} is ${found} after ${because}`);
    const spent = this.spentBy(key);
    for (const name of ["attempts", "retries", "continuations", "freshSessions", "repairs", "rounds"] as const) {
      if (task.ledger[name] === spent[name]) continue;
      throw new BrokenPromise(
        "ledgers",
        `${key} has ${task.ledger[name]} ${name} in its ledger, ${spent[name]} were spent`,
      );
    }
  }
}

/** The simulation's globs and files that each of them covers, by hand: the board's own comparison is not asked. */
export const FILES_OF: Readonly<Record<string, readonly string[]>> = {
  "src/**": ["src/a.ts", "src/b.ts", "src/c.md"],
  "src/a.ts": ["src/a.ts"],
  "src/*.ts": ["src/a.ts", "src/b.ts"],
  "docs/**": ["docs/a.md", "docs/b"],
  "lib/{x,y}/*": ["lib/x/f", "lib/y/f.md"],
  "**/*.md": ["src/c.md", "docs/a.md", "lib/y/f.md", "README.md"],
};

function shareAFile(left: readonly string[], right: readonly string[]): boolean {
  return left.some((one) => right.some((other) => FILES_OF[one]?.some((file) => FILES_OF[other]?.includes(file))));
}
