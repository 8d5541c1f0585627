/**
 * Carries out what the board decides: starts attempts, merges finished work, writes everything down.
 *
 * Always true: a change of the board and the rows and events that tell it are one transaction (`commit`); intent is
 * written before an effect and the outcome after it; an effect's outcome goes to the board only through `commit`, and
 * every commit is followed by a look at what may happen next. Many changes of one turn of the event loop share a look.
 *
 * Never: it does not decide who may start or what an end means (`plan/`), does not read config, and knows no transport.
 * When the store refuses a commit the board is ahead of it: the scheduler says so through `onFatal` and does no more,
 * and the next start goes on from what is stored.
 */
import { setImmediate as immediate, setTimeout as delay } from "node:timers/promises";
import { crashPoint } from "../crash-point.ts";
import type { BackendKind } from "../agents/backend.ts";
import type { Board, Decision } from "../plan/board.ts";
import { reconsiderBudgets } from "../plan/change-budget.ts";
import type { AttemptEnd, MergeEnd } from "../plan/outcomes.ts";
import { endAttempt, endMerge } from "../plan/outcomes.ts";
import { isEnded } from "../plan/task-state.ts";
import { QuestionDesk } from "../questions/question-desk.ts";
import type { QuestionRow } from "../store/questions.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../plan/records.ts";
import { standingOf } from "../plan/explain.ts";
import { isReview } from "../plan/workflow.ts";
import { AppError, messageOf } from "../errors.ts";
import type { NewEvent } from "../events/event.ts";
import { AttemptRunner } from "./attempt-runner.ts";
import { Consultant } from "./consultant.ts";
import { CheckoutWatch } from "./checkout-watch.ts";
import { ClockWatch } from "./clock-watch.ts";
import { endHooksOfDoneMerges } from "./end-hooks.ts";
import { mergeTask } from "./merge-task.ts";
import { undeliveredMail } from "./mail.ts";
import { NextLook } from "./next-look.ts";
import type { Parts } from "./parts.ts";
import { addProposals } from "./proposals.ts";
import { withWaitOfNow } from "./question-wait.ts";
import { recover } from "./recover.ts";
import { RoomWatch } from "./room-watch.ts";
import { Tidying } from "./tidying.ts";

const STOP_LOOK_MS = 200;

export class Scheduler {
  readonly parts: Parts;
  readonly questions: QuestionDesk;
  readonly #consultant: Consultant;
  readonly #board: Board;
  readonly #runner: AttemptRunner;
  readonly #watch: CheckoutWatch;
  readonly #clockWatch: ClockWatch;
  readonly #roomWatch: RoomWatch;
  readonly #underWay = new Set<Promise<void>>();
  readonly #nextLook: NextLook;
  readonly #tidying: Tidying;
  readonly #endedPlans = new Map<string, boolean>();
  #isStopping = false;
  #isFatal = false;
  /** The board gave what changed to a transaction that is not committed yet. */
  #isWriting = false;

  constructor(parts: Parts) {
    this.parts = parts;
    this.#board = parts.board;
    this.#nextLook = new NextLook(parts.clock, () => this.#decide());
    this.#tidying = new Tidying(parts);
    this.questions = new QuestionDesk({
      store: parts.store,
      clock: parts.clock,
      commit: (work) => this.commit(work),
      settingsOf: (planId) => parts.settingsOf(planId).questions,
      hasOrchestrator: (question) => this.#consultant.canBeAsked(question),
      onSettled: (question) => this.#goOnWithAnswer(question),
      onError: (thrown) => this.#fail(thrown),
      beforeDeadlines: () => this.#clockWatch.look(),
    });
    this.#clockWatch = new ClockWatch(parts.clock, (byMs) => this.#clockJumped(byMs));
    this.#consultant = new Consultant(parts, this.questions, (work) => this.commit(work));
    this.#runner = new AttemptRunner(parts, (work) => this.commit(work), this.questions);
    this.#watch = new CheckoutWatch(parts, (key) => this.#goOn(key));
    this.#roomWatch = new RoomWatch(
      parts,
      (work) => this.commit(work),
      () => this.#stopForLater(),
    );
  }

  /**
   * Looks up what was under way when the engine last ended, then begins to decide: at once, or with the first `letGo`,
   * or after `firstClientWithinMs`. Call once, before anything else.
   */
  async start({ firstClientWithinMs = 0 } = {}): Promise<{ recovered: number }> {
    const { parts } = this;
    this.questions.parkOrphans((kind) => parts.backend(kind as BackendKind).hasSessions);
    const recovered = await recover(this.parts, (work) => this.commit(work));
    this.#watch.start();
    this.#clockWatch.start();
    this.#roomWatch.start();
    this.questions.start();
    if (firstClientWithinMs === 0) this.letGo();
    else this.letGoWithin(firstClientWithinMs);
    return { recovered };
  }

  /** Begins to decide after `ms`, unless `letGo` or an earlier time comes first. */
  letGoWithin(ms: number): void {
    this.#nextLook.holdFor(ms, () => this.letGo());
  }

  /**
   * Begins to decide. Keys are held in memory only: an agent that goes on before the first client has brought its own
   * would be refused by its provider, and wait for a person.
   */
  letGo(): void {
    if (!this.#nextLook.letGo()) return;
    this.#consultant.begin();
    this.look();
  }

  /**
   * Ends every agent in order (TERM, grace, KILL), keeps their work, and leaves each task so that the next start goes
   * on with it. Starts nothing meanwhile. Answers when nothing of ours runs.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#nextLook.end();
    this.#watch.stop();
    this.#clockWatch.stop();
    this.#roomWatch.stop();
    this.questions.stop();
    const consulted = this.#consultant.stop();
    this.#runner.stopAll("shutdown");
    // Checks of merges too, also those that begin between two looks: a merge that is cut off is in line again.
    const beganMs = this.parts.clock.monotonicMs();
    while (this.#underWay.size > 0) {
      for (const child of this.parts.processes.list()) void child.stop("shutdown");
      await Promise.race([Promise.allSettled(this.#underWay), delay(STOP_LOOK_MS)]);
      await endHooksOfDoneMerges(this.parts, this.#underWay.size, this.parts.clock.monotonicMs() - beganMs);
    }
    await consulted;
    await this.parts.processes.stopAll("shutdown");
  }

  /** Ends what runs while its end can still be written down; each task goes on once there is room. */
  #stopForLater(): void {
    this.#runner.stopAtWork("shutdown");
    for (const child of this.parts.processes.list()) if (child.id.startsWith("verify-")) void child.stop("shutdown");
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /**
   * Changes the board and stores the change, the events that tell it and whatever `work` writes itself in one
   * transaction. What `work` throws undoes the transaction: check before you change.
   */
  commit<Result>(work: () => Result): Result {
    const { store } = this.parts;
    if (this.#isFatal) {
      throw new AppError("STATE_UNUSABLE", "the engine ends, because something could not be stored; see engine.log");
    }
    let result: Result;
    try {
      result = store.transaction(() => {
        const answer = work();
        this.#write();
        return answer;
      });
    } catch (thrown) {
      // What was refused before the board changed left nothing to write; anything else means memory and file differ.
      const isAhead = this.#isWriting || this.#board.takeChanges().length > 0 || this.#board.takeTouched().length > 0;
      if (isAhead) this.#fail(thrown);
      throw thrown;
    }
    this.#isWriting = false;
    this.look();
    return result;
  }

  /** Decides soon: once for all that happens until then. */
  look(): void {
    this.#nextLook.soon();
  }

  /** The plan's agents that were asked to end, also by what was decided a moment ago, have no more of their grace. */
  endNow(planId: string): void {
    this.look();
    // After that look.
    setImmediate(() => this.#runner.endNow(planId));
  }

  /** True while something moves or will by itself; a plan that waits for a person does not keep the engine. */
  canMove(): boolean {
    if (this.#underWay.size > 0) return true;
    return [...this.#board.plans()].some((plan) => standingOf(plan).state === "running");
  }

  attemptOf(key: TaskKey): string | null {
    return this.#runner.attemptOf(key);
  }

  /** Whether the task's agent can be told something before its turn ends. */
  hearsWhileWorking(key: TaskKey): boolean {
    const { record } = this.#board.node(key);
    const kind = this.parts.settingsOf(record.planId).providers[record.provider]?.kind;
    // Who judges the work is not who is told.
    return !isReview(record) && kind !== undefined && this.parts.backend(kind).lineFor !== null;
  }

  /** Something new is there for the task's agent: it hears it now where it can. */
  tellWorking(key: TaskKey): void {
    const { record } = this.#board.node(key);
    if (record.state === "running") this.#runner.tell(record);
  }

  #decide(): void {
    const { store, clock } = this.parts;
    this.#clockWatch.look();
    let decisions: Decision[];
    try {
      decisions = store.transaction(() => {
        const decided = this.#board.decide(clock.nowMs());
        this.#write();
        return decided;
      });
    } catch (thrown) {
      this.#fail(thrown);
      return;
    }
    this.#isWriting = false;
    crashPoint("decisions-written");
    for (const decision of decisions) this.#carryOut(decision);
    this.#nextLook.at(this.#board.nextWakeMs(clock.nowMs()));
  }

  #carryOut(decision: Decision): void {
    switch (decision.type) {
      case "start":
        return this.#track(this.#attempt(decision.task));
      case "stop":
        return this.#runner.stop(taskKey(decision.task), decision.wish === "pause" ? "paused" : "cancelled");
      case "merge":
        return this.#track(this.#merge(decision.task));
    }
  }

  async #attempt(task: TaskRecord): Promise<void> {
    const { clock, ids } = this.parts;
    const { end, write } = await this.#runner.run(task);
    this.commit(() => {
      write();
      const ended = withWaitOfNow(this.questions, this.parts.store, task, this.#withMail(task, end));
      endAttempt(this.#board, taskKey(task), ended, clock.nowMs(), ids.random());
      reconsiderBudgets(this.#board, clock.nowMs());
      if (end.type === "succeeded") addProposals(this.parts, task);
      this.#closeWork(task, end);
    });
    crashPoint("attempt-end-written");
    await this.#tidying.tidy(task);
  }

  /** Asked in the transaction of the end: what was said a moment before it is not passed over. */
  #withMail(task: TaskRecord, end: AttemptEnd): AttemptEnd {
    if (end.type !== "succeeded") return end;
    // A later step's own end needs nothing more; what was said meanwhile is for who does the task.
    return undeliveredMail(this.parts, { ...task, step: 0 }).length > 0 ? { ...end, hasMail: true } : end;
  }

  async #merge(task: TaskRecord): Promise<void> {
    const { end, write, signature, inTheWay } = await mergeTask(
      this.parts,
      task,
      (work) => this.commit(work),
      () => this.#isStopping,
    );
    this.commit(() => {
      write();
      endMerge(this.#board, taskKey(task), end);
      this.#closeWork(task, end);
    });
    crashPoint("merge-outcome-written");
    if (task.state === "waiting" && signature !== null) this.#watch.note(task, signature, inTheWay);
    await this.#tidying.tidy(task);
  }

  #closeWork(task: TaskRecord, end: AttemptEnd | MergeEnd): void {
    if (end.type === "merged" || end.type === "nothing" || task.state === "succeeded") {
      this.parts.store.tasks.setWork(task.planId, task.id, { endedAtMs: this.parts.clock.nowMs() });
    }
  }

  /** Resolves when the worktrees and branches that the plan's finished tasks no longer need are gone. */
  async tidied(planId: string): Promise<void> {
    await this.#tidying.tidied(planId);
  }

  /** The task goes on once all that it waits for is answered, expired or withdrawn. */
  #goOnWithAnswer({ planId, taskId }: QuestionRow): void {
    if (!this.#board.hasPlan(planId)) return;
    const node = this.#board.plan(planId).nodes.get(taskId);
    if (node?.record.state !== "waiting" || node.record.wait?.code !== "question") return;
    if (this.questions.openParked(planId, taskId).length === 0) this.#board.goOn(node);
  }

  #goOn(key: TaskKey): void {
    this.commit(() => {
      const node = this.#board.node(key);
      // While its checkout was looked at, somebody may have paused it or opened it by hand.
      if (node.record.state === "waiting" && node.record.wait?.code !== "paused") this.#board.goOn(node);
    });
  }

  /** Effects run beside each other; one that throws is a bug, and must not take the engine with it. */
  #track(effect: Promise<void>): void {
    const tracked = effect
      .catch((thrown: unknown) => this.#fail(thrown))
      .finally(() => {
        this.#underWay.delete(tracked);
        this.look();
      });
    this.#underWay.add(tracked);
  }

  #write(): void {
    const { store } = this.parts;
    const planIds = new Set<string>();
    const changes = this.#board.takeChanges();
    if (changes.length > 0) this.#isWriting = true;
    for (const change of changes) {
      const { task, from, to, wait, cause, message } = change;
      planIds.add(task.planId);
      // A person gave it up: no end of an attempt or a merge comes after this. Not now, within the transaction.
      if (to === "skipped") {
        const tidying = immediate().then(() => this.#tidying.tidy(task));
        this.#track(this.#tidying.note(task.planId, tidying));
      }
      if (isEnded(to)) this.questions.withdraw(task.planId, task.id, `the task is ${to}`);
      store.events.append({
        planId: task.planId,
        taskId: task.id,
        attemptId: null,
        body: { type: "task-state", from, to, wait, cause, message },
      });
    }
    const touched = this.#board.takeTouched();
    if (touched.length > 0) this.#isWriting = true;
    store.tasks.saveMany(touched);
    for (const health of this.#board.takeChangedProviders()) {
      store.providers.save(health);
      store.events.append(providerEvent(health));
    }
    for (const planId of planIds) if (this.#board.hasPlan(planId)) this.#notePlanEnd(planId);
  }

  /** A plan whose tasks all ended is not read at the next start; one that is opened again is. */
  #notePlanEnd(planId: string): void {
    const { store, clock } = this.parts;
    const { state } = standingOf(this.#board.plan(planId));
    const hasEnded = state === "succeeded" || state === "failed";
    if ((this.#endedPlans.get(planId) ?? false) === hasEnded && this.#endedPlans.has(planId)) return;
    this.#endedPlans.set(planId, hasEnded);
    store.plans.update(planId, { endedAtMs: hasEnded ? clock.nowMs() : null });
    if (state !== "succeeded" && state !== "failed") return;
    if (store.consultations.hasAny(planId)) {
      const leaving = immediate().then(() => this.#consultant.leave(planId));
      this.#track(this.#tidying.note(planId, leaving));
    }
    store.events.append({ planId, taskId: null, attemptId: null, body: { type: "plan-ended", state } });
  }

  /**
   * Nobody could answer a question while the machine slept, so its deadline moves with the clock, whichever way. Back-off
   * and parking end early when the clock leaps ahead, which costs a probe at most; when it is set back they would last
   * that much longer than was promised.
   */
  #clockJumped(byMs: number): void {
    if (this.#isStopping || this.#isFatal) return;
    this.parts.log("info", `the clock went ${Math.round(Math.abs(byMs) / 1000)} s ${byMs > 0 ? "ahead" : "back"}`, {});
    this.commit(() => {
      this.questions.moveDeadlines(byMs);
      if (byMs < 0) this.#board.moveWaits(byMs);
    });
  }

  #fail(thrown: unknown): void {
    if (this.#isFatal) return;
    this.#isFatal = true;
    this.#nextLook.end();
    this.parts.log("error", `the scheduler stops: ${messageOf(thrown)}`, {
      stack: thrown instanceof Error ? thrown.stack : null,
    });
    this.parts.onFatal(thrown);
  }
}

function providerEvent(health: {
  name: string;
  openUntilMs: number | null;
  parkedUntilMs: number | null;
  reason: string | null;
}): NewEvent {
  const state = health.parkedUntilMs !== null ? "parked" : health.openUntilMs !== null ? "circuit-open" : "healthy";
  const body = { type: "provider-changed", provider: health.name, state, reason: health.reason } as const;
  return { planId: null, taskId: null, attemptId: null, body };
}
