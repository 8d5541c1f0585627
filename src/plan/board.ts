/**
 * The board: every open task of a repository, and the decision what to do next. It runs nothing, reads no clock and
 * rolls no dice: values in, decisions out.
 *
 * Always true: a task starts only when its dependencies allow it, its claims are its own, a slot of the engine, of its
 * plan and of its provider are free, and its plan's budget has room for it, all taken together. The work done for one
 * event grows with the edges it touches (plus a logarithm for the queues), never with the number of tasks.
 *
 * Its parts: how a plan comes, changes and leaves (`plan-on-board.ts`), how tasks hang together (`edges.ts`), where each
 * of them is and how it moves (`places.ts`, over the queues, lines, claims and timers), and what keeps the ready ones
 * from starting (`admission.ts`).
 *
 * Never: it does not decide what an end of an attempt means (`outcomes.ts`) or what an operator may do (`controls.ts`);
 * those are functions over this class, and `explain.ts` tells people what it knows. So a new kind of wait is a code in
 * `task-state.ts` and an end in `outcomes.ts`, and a new limit is an obstacle in `admission.ts`; neither changes this
 * file.
 */
import { AppError } from "../errors.ts";
import { obstacleFor, type Choice, type Obstacle } from "./admission.ts";
import { isFinal, type Amounts, type BudgetVerdict, type PlanFunds } from "./budget.ts";
import { budgetWait } from "./budget-words.ts";
import type { ClaimTable } from "./claim-table.ts";
import type { RetrySettings } from "./consequence.ts";
import { raisePaths, stateByDependencies } from "./edges.ts";
import type { TaskChange } from "./journal.ts";
import { newPlanNode, type PlanNode, type TaskNode } from "./node.ts";
import type { Gate, GateSettings } from "./provider-gate.ts";
import { Places, type MoveDetails } from "./places.ts";
import { putOnBoard, rewire, takeOffBoard, type Rewiring } from "./plan-on-board.ts";
import { candidatesOf, chooseProvider } from "./provider-choice.ts";
import type { PlanRecord, ProviderHealth, TaskKey, TaskRecord, Wish } from "./records.ts";
import type { TaskState } from "./task-state.ts";
import { UseTable } from "./use-table.ts";
import { lockWait, pausedWait } from "./waits.ts";
import { stepOf } from "./workflow.ts";

export interface BoardSettings {
  limitAgents: number;
  /** Missing: no limit of its own. */
  providerLimits: ReadonlyMap<string, number>;
  retry: RetrySettings;
  gate: GateSettings;
  maxRepairs: number;
}

/** What the scheduler has to carry out. The board has already taken slot and claims. */
export type Decision =
  | { readonly type: "start"; readonly task: TaskRecord }
  | { readonly type: "stop"; readonly task: TaskRecord; readonly wish: Wish }
  | { readonly type: "merge"; readonly task: TaskRecord };

export class Board {
  readonly settings: BoardSettings;
  /** What attempts used so far, over all plans. */
  readonly uses = new UseTable();
  /** What the machine lacks, in words: nothing new is started and nothing merged meanwhile. Null: nothing is lacking. */
  hold: string | null = null;
  readonly #plans = new Map<string, PlanNode>();
  readonly #places = new Places();
  #stops: Extract<Decision, { type: "stop" }>[] = [];

  constructor(settings: BoardSettings) {
    this.settings = settings;
  }

  // --- what is on it -------------------------------------------------------------------------------------------------

  /**
   * Puts a plan on the board, new or read back from the store. `pathLengths` is what `longestPaths` answered. The
   * dependencies must form a graph without a cycle (`checkGraph`). `funds`: what its budget is held against.
   */
  addPlan(
    record: PlanRecord,
    tasks: readonly TaskRecord[],
    pathLengths: ReadonlyMap<string, number>,
    funds?: Partial<PlanFunds>,
  ): void {
    if (this.#plans.has(record.id)) throw new AppError("INTERNAL", `plan ${record.id} is on the board already`);
    this.#plans.set(record.id, newPlanNode(record, funds));
    this.addTasks(record.id, tasks, pathLengths);
  }

  /** Adds tasks that nothing depends on yet (new leaves and their own subgraph) to a plan. */
  addTasks(planId: string, tasks: readonly TaskRecord[], pathLengths: ReadonlyMap<string, number>): void {
    putOnBoard(this.#places, this.plan(planId), tasks, pathLengths);
  }

  /** Takes a whole plan off, for instance to put a changed one in its place. Nothing of it may run or merge. */
  removePlan(planId: string): void {
    takeOffBoard(this.#places, this.plan(planId));
    this.#plans.delete(planId);
  }

  /**
   * Changes a plan's shape while it runs: drops and changes tasks that have not started, adds new ones. The result must
   * be a graph without a cycle. Costs the size of this one plan: people do this now and then.
   */
  rewire(planId: string, edit: Rewiring): void {
    rewire(this.#places, this.plan(planId), edit);
  }

  hasPlan(planId: string): boolean {
    return this.#plans.has(planId);
  }

  plan(planId: string): PlanNode {
    const plan = this.#plans.get(planId);
    if (plan === undefined) throw new AppError("PLAN_NOT_FOUND", `there is no plan "${planId}"`);
    return plan;
  }

  plans(): IterableIterator<PlanNode> {
    return this.#plans.values();
  }

  /** Throws TASK_NOT_FOUND. */
  node(key: TaskKey): TaskNode {
    const [planId = "", ...rest] = key.split("/");
    const node = this.#plans.get(planId)?.nodes.get(rest.join("/"));
    if (node === undefined) throw new AppError("TASK_NOT_FOUND", `there is no task "${key}"`);
    return node;
  }

  provider(name: string): ProviderHealth {
    return this.#places.providers.health(name);
  }

  restoreProvider(health: ProviderHealth): void {
    this.#places.providers.restore(health);
  }

  providers(): IterableIterator<ProviderHealth> {
    return this.#places.providers.all();
  }

  get claims(): ClaimTable {
    return this.#places.claims;
  }

  get runningCount(): number {
    return this.#places.running;
  }

  runningOf(provider: string): number {
    return this.#places.providers.runningOf(provider);
  }

  /** The task whose merge into `target` is under way. */
  activeMerge(target: string): TaskNode | null {
    return this.#places.merges.active(target);
  }

  // --- decisions -----------------------------------------------------------------------------------------------------

  /** Fires due timers, then takes slots and claims for all that may start. Call after every event and at `nextWakeMs`. */
  decide(nowMs: number): Decision[] {
    const { timers, ready, merges } = this.#places;
    for (let node = timers.takeDue(nowMs); node !== null; node = timers.takeDue(nowMs)) this.goOn(node);
    this.#carryOutOldWishes();
    // An attempt that ended meanwhile, or whose operator thought better of it, has nothing to stop.
    const decisions: Decision[] = this.#stops.filter(
      ({ task, wish }) => task.state === "running" && task.wish === wish,
    );
    this.#stops = [];
    while (this.#places.running < this.settings.limitAgents) {
      const node = ready.take((head) => this.obstacle(head, nowMs) === null);
      if (node === undefined) break;
      const { budget, provider } = this.#choose(node, nowMs);
      if (budget.type !== "fits") {
        this.move(node, "waiting", { wait: budgetWait(node, budget, this.uses) });
        continue;
      }
      const blocker = this.claims.tryTake(node);
      if (blocker === null) decisions.push(this.#start(node, provider, budget.need, nowMs));
      else this.move(node, "waiting", { wait: lockWait(node, blocker) });
    }
    for (const target of merges.targets()) {
      const node = this.hold === null ? merges.next(target) : null;
      if (node === null) continue;
      merges.begin(node);
      decisions.push({ type: "merge", task: node.record });
    }
    return decisions;
  }

  /** The next moment at which time alone may change a decision; null when none. */
  nextWakeMs(nowMs: number): number | null {
    let next = this.#places.timers.nextMs();
    for (const name of this.#places.ready.providers()) {
      const gate = this.gate(name, nowMs);
      if (gate.state === "shut" && (next === null || gate.untilMs < next)) next = gate.untilMs;
    }
    return next;
  }

  /** Whatever ends by time ends so much later: the clock by which it was set jumped. */
  moveWaits(byMs: number): void {
    for (const plan of this.#plans.values()) {
      for (const node of plan.nodes.values()) this.#places.moveWait(node, byMs);
    }
    for (const health of this.providers()) {
      if (health.openUntilMs === null && health.parkedUntilMs === null) continue;
      if (health.openUntilMs !== null) health.openUntilMs += byMs;
      if (health.parkedUntilMs !== null) health.parkedUntilMs += byMs;
      this.touchProvider(health);
    }
  }

  /** What keeps a ready task from starting, beside the engine's slots; null: nothing. */
  obstacle(node: TaskNode, nowMs: number): Obstacle | null {
    // A plan that a person paused is told as that: it would not start with all the room of the world.
    if (this.hold !== null && !node.plan.record.paused) return { type: "machine", message: this.hold };
    const { providerLimits } = this.settings;
    return obstacleFor(node, this.#choose(node, nowMs), this.#places.providers, providerLimits);
  }

  /** Whether the plan's budget has room for the task's next attempt, with the provider that it would have now. */
  budgetVerdict(node: TaskNode, nowMs: number): BudgetVerdict {
    return this.#choose(node, nowMs).budget;
  }

  /** The same with a provider that is given. */
  budgetVerdictWith({ plan, record }: TaskNode, provider: string): BudgetVerdict {
    const { agent: role } = stepOf(record);
    const spender = { role, provider, timeoutMinutes: record.spec.timeoutMinutes };
    return plan.budget.verdict(spender, this.uses);
  }

  gate(provider: string, nowMs: number): Gate {
    return this.#places.providers.gate(provider, nowMs);
  }

  /** The task that probes a provider whose gate lets one through. */
  probeOf(provider: string): TaskNode | null {
    return this.#places.providers.probeOf(provider);
  }

  endProbe(node: TaskNode): void {
    this.#places.providers.endProbe(node);
  }

  // --- what happened since the last look -----------------------------------------------------------------------------

  takeChanges(): TaskChange[] {
    return this.#places.journal.takeChanges();
  }

  /** Records that differ from what was last taken, also where no state changed. */
  takeTouched(): TaskRecord[] {
    return this.#places.journal.takeTouched();
  }

  takeChangedProviders(): ProviderHealth[] {
    return this.#places.journal.takeProviders();
  }

  /** What a ready task may start with has changed. */
  requeue(node: TaskNode): void {
    this.#places.requeue(node);
  }

  touch(record: TaskRecord): void {
    this.#places.journal.touch(record);
  }

  touchProvider(health: ProviderHealth): void {
    this.#places.journal.touchProvider(health);
  }

  // --- steps (for outcomes.ts and controls.ts) -----------------------------------------------------------------------

  /** Moves a task to another state with all that hangs on it: queues, counts, claims, timers, dependents. */
  move(node: TaskNode, to: TaskState, details: MoveDetails = {}): void {
    this.#places.move(node, to, details);
  }

  /** Where a task belongs that has not started or is opened again: by its dependencies alone. */
  stateByDependencies(node: TaskNode): "pending" | "ready" | "blocked" {
    return stateByDependencies(node);
  }

  /**
   * Lets a waiting task go on where it stopped. One that never began asks its dependencies again: somebody may have
   * opened one meanwhile.
   */
  goOn(node: TaskNode): void {
    if (node.record.stage === "merge") return this.move(node, "merging");
    this.move(node, node.record.ledger.attempts === 0 ? this.stateByDependencies(node) : "ready");
  }

  requestStop(node: TaskNode, wish: Wish): void {
    if (node.record.wish === wish) return;
    node.record.wish = wish;
    this.touch(node.record);
    this.#stops.push({ type: "stop", task: node.record, wish });
  }

  releaseClaims(node: TaskNode): void {
    this.#places.wake(this.claims.release(node));
    this.touch(node.record);
  }

  endMerge(node: TaskNode): void {
    this.#places.merges.end(node);
  }

  /** What an operator wished while the task was under way, now that it is not. */
  carryOutWish(node: TaskNode, wish: Wish): void {
    switch (wish) {
      case "cancel":
        return this.move(node, "cancelled", { cause: "cancelled", message: "cancelled by the operator" });
      case "skip":
        return this.move(node, "skipped", { cause: "cancelled", message: "skipped by the operator" });
      case "pause":
        return this.move(node, "waiting", { wait: pausedWait(node) });
    }
  }

  /** Raises the path lengths in front of a task after something longer was put behind it. */
  raisePaths(node: TaskNode, weightOf: (record: TaskRecord) => number): void {
    raisePaths(node, weightOf, (raised) => this.#places.requeue(raised));
  }

  // --- inside --------------------------------------------------------------------------------------------------------

  /** The provider that it would start with now; where none lets it through, the budget of one that it waits for. */
  #choose(node: TaskNode, nowMs: number): Choice {
    const candidates = candidatesOf(node.record);
    const hasRoom = (name: string): boolean => !isFinal(this.budgetVerdictWith(node, name));
    const provider = chooseProvider(candidates, this.#places.providers, nowMs, hasRoom);
    const asked = provider ?? candidates.find(hasRoom) ?? node.record.provider;
    return { provider, budget: this.budgetVerdictWith(node, asked) };
  }

  #start(node: TaskNode, provider: string | null, need: Amounts, nowMs: number): Decision {
    const { record, plan } = node;
    const message = this.#places.providers.startWith(node, provider ?? record.provider, nowMs);
    plan.budget.reserve(record.id, need);
    record.ledger = { ...record.ledger, attempts: record.ledger.attempts + 1 };
    this.move(node, "running", { cause: null, message });
    return { type: "start", task: record };
  }

  /** The engine's death may keep a wish from being carried out: it comes before the merge that is next in line. */
  #carryOutOldWishes(): void {
    const { merges } = this.#places;
    for (const target of merges.targets()) {
      for (let node = merges.next(target); node !== null; node = merges.next(target)) {
        const { wish } = node.record;
        if (wish === null) break;
        node.record.wish = null;
        this.carryOutWish(node, wish);
      }
    }
  }
}
