/**
 * The board: every open task of a repository with its edges, claims, slots, providers and timers, and the decision what
 * to do next. It runs nothing, reads no clock and rolls no dice: values in, decisions out.
 *
 * Always true: a task starts only when its dependencies allow it, its claims are its own, and a slot of the engine, of
 * its plan and of its provider are free, all taken together. The work done for one event grows with the edges it
 * touches (plus a logarithm for the queues), never with the number of tasks.
 *
 * Never: it does not decide what an end of an attempt means (`outcomes.ts`) or what an operator may do (`controls.ts`);
 * those are functions over this class, and `explain.ts` tells people what it knows.
 */
import { AppError } from "../errors.ts";
import { ClaimTable } from "./claim-table.ts";
import type { RetrySettings } from "./consequence.ts";
import { checkGraph, longestPaths } from "./graph.ts";
import { Heap } from "./heap.ts";
import { isFailing, isSatisfied, newPlanNode, newTaskNode, type PlanNode, type TaskNode } from "./node.ts";
import { gateOf, type Gate, type GateSettings } from "./provider-gate.ts";
import { ReadyQueue } from "./ready-queue.ts";
import {
  healthyProvider,
  taskKey,
  type PlanRecord,
  type ProviderHealth,
  type TaskKey,
  type TaskRecord,
  type Wish,
} from "./records.ts";
import { isEnded, mayFollow, needsPerson, type TaskState, type Wait } from "./task-state.ts";
import type { FailureCause } from "./failure-cause.ts";

export interface BoardSettings {
  limitAgents: number;
  /** Missing: no limit of its own. */
  providerLimits: ReadonlyMap<string, number>;
  readonly retry: RetrySettings;
  readonly gate: GateSettings;
  readonly maxRepairs: number;
}

/** What the scheduler has to carry out. The board has already taken slot and claims. */
export type Decision =
  | { readonly type: "start"; readonly task: TaskRecord }
  | { readonly type: "stop"; readonly task: TaskRecord; readonly wish: Wish }
  | { readonly type: "merge"; readonly task: TaskRecord };

/** One step of a task's state, in order; the store writes the record and an event for each. */
export interface TaskChange {
  readonly task: TaskRecord;
  readonly from: TaskState;
  readonly to: TaskState;
  readonly wait: Wait | null;
  readonly cause: FailureCause | null;
  readonly message: string | null;
}

export interface MoveDetails {
  readonly wait?: Wait;
  readonly cause?: FailureCause | null;
  readonly message?: string | null;
}

export interface Rewiring {
  readonly dropped: ReadonlySet<string>;
  /** Changes the record where it is to change, and says whether it did. */
  readonly changed: (task: TaskRecord) => boolean;
  readonly added: readonly TaskRecord[];
  readonly weightOf: (task: TaskRecord) => number;
}

interface Timer {
  readonly atMs: number;
  readonly node: TaskNode;
  readonly ticket: number;
}

export class Board {
  readonly settings: BoardSettings;
  readonly claims = new ClaimTable();
  readonly #plans = new Map<string, PlanNode>();
  readonly #ready = new ReadyQueue();
  readonly #providers = new Map<string, ProviderHealth>();
  readonly #runningOf = new Map<string, number>();
  readonly #probes = new Map<string, TaskNode>();
  readonly #timers = new Heap<Timer>((left, right) => left.atMs < right.atMs);
  /** Tasks that wait for their merge, a line for each target; the first may be under way. */
  readonly #mergeLines = new Map<string, TaskNode[]>();
  readonly #activeMerges = new Map<string, TaskNode>();
  #running = 0;
  #changes: TaskChange[] = [];
  #stops: Extract<Decision, { type: "stop" }>[] = [];
  #touched = new Set<TaskRecord>();
  #changedProviders = new Set<ProviderHealth>();

  constructor(settings: BoardSettings) {
    this.settings = settings;
  }

  // --- what is on it -------------------------------------------------------------------------------------------------

  /**
   * Puts a plan on the board, new or read back from the store. `pathLengths` is what `longestPaths` answered. The
   * dependencies must form a graph without a cycle (`checkGraph`).
   */
  addPlan(record: PlanRecord, tasks: readonly TaskRecord[], pathLengths: ReadonlyMap<string, number>): void {
    if (this.#plans.has(record.id)) throw new AppError("INTERNAL", `plan ${record.id} is on the board already`);
    const plan = newPlanNode(record);
    this.#plans.set(record.id, plan);
    this.#addNodes(plan, tasks, pathLengths);
  }

  /** Adds tasks that nothing depends on yet (new leaves and their own subgraph) to a plan. */
  addTasks(planId: string, tasks: readonly TaskRecord[], pathLengths: ReadonlyMap<string, number>): void {
    this.#addNodes(this.plan(planId), tasks, pathLengths);
  }

  /** Takes a whole plan off, for instance to put a changed one in its place. Nothing of it may run or merge. */
  removePlan(planId: string): void {
    const plan = this.plan(planId);
    for (const node of plan.nodes.values()) {
      if (node.record.state === "running" || node.isMergeActive) {
        throw new AppError("INTERNAL", `plan ${planId} can't leave the board while ${node.record.id} moves`);
      }
    }
    for (const node of plan.nodes.values()) {
      node.ticket += 1;
      this.#leaveMergeLine(node);
      this.#wake(this.claims.release(node));
    }
    this.#plans.delete(planId);
  }

  /**
   * Changes a plan's shape while it runs: drops and changes tasks that have not started, adds new ones. The result must
   * be a graph without a cycle. Costs the size of this one plan: people do this now and then.
   */
  rewire(planId: string, edit: Rewiring): void {
    const plan = this.plan(planId);
    const woken: TaskNode[] = [];
    for (const [id, node] of plan.nodes) {
      const isDropped = edit.dropped.has(id);
      if (!isDropped && !edit.changed(node.record)) continue;
      this.#leave(node);
      woken.push(...this.claims.release(node));
      const { record } = node;
      if (isDropped) {
        plan.nodes.delete(id);
        this.#touched.delete(record);
        continue;
      }
      // A new text answers what the old one waited for, but never an operator who paused the task.
      if (record.state === "waiting" && record.wait?.code !== "paused") {
        record.state = "pending";
        record.wait = null;
        this.#changes.push({ task: record, from: "waiting", to: "pending", wait: null, cause: null, message: null });
      }
      this.#enter(node);
      this.touch(record);
    }
    // Only now, or one that is dropped later in the loop would be told of once more.
    this.#wake(woken.filter((node) => node.plan.nodes.get(node.record.id) === node));
    const added = edit.added.map((record) => newTaskNode(record, plan));
    for (const node of added) plan.nodes.set(node.record.id, node);
    for (const node of plan.nodes.values()) {
      node.dependencies.length = 0;
      node.dependents.length = 0;
      node.openCount = 0;
      node.failedCount = 0;
    }
    const nodes = [...plan.nodes.values()];
    for (const node of nodes) this.#link(plan, node);
    const specs = nodes.map((node) => node.record.spec);
    const lengths = longestPaths(specs, checkGraph(specs), (id) => {
      const node = plan.nodes.get(id);
      return node === undefined ? 1 : edit.weightOf(node.record);
    });
    for (const node of added) this.#enter(node);
    for (const node of nodes) {
      node.pathLength = lengths.get(node.record.id) ?? 1;
      if (node.record.state === "ready") this.#requeue(node);
    }
    this.#settle(nodes);
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
    let health = this.#providers.get(name);
    if (health === undefined) {
      health = healthyProvider(name);
      this.#providers.set(name, health);
    }
    return health;
  }

  restoreProvider(health: ProviderHealth): void {
    this.#providers.set(health.name, health);
  }

  providers(): IterableIterator<ProviderHealth> {
    return this.#providers.values();
  }

  get runningCount(): number {
    return this.#running;
  }

  runningOf(provider: string): number {
    return this.#runningOf.get(provider) ?? 0;
  }

  /** The task whose merge into `target` is under way. */
  activeMerge(target: string): TaskNode | null {
    return this.#activeMerges.get(target) ?? null;
  }

  // --- decisions -----------------------------------------------------------------------------------------------------

  /** Fires due timers, then takes slots and claims for all that may start. Call after every event and at `nextWakeMs`. */
  decide(nowMs: number): Decision[] {
    this.#fireTimers(nowMs);
    this.#carryOutOldWishes();
    // An attempt that ended meanwhile, or whose operator thought better of it, has nothing to stop.
    const decisions: Decision[] = this.#stops.filter(
      ({ task, wish }) => task.state === "running" && task.wish === wish,
    );
    this.#stops = [];
    while (this.#running < this.settings.limitAgents) {
      const node = this.#ready.take((planId, provider) => this.#isOpen(planId, provider, nowMs));
      if (node === undefined) break;
      const blocker = this.claims.tryTake(node);
      if (blocker === null) decisions.push(this.#start(node, nowMs));
      else this.move(node, "waiting", { wait: lockWait(node, blocker) });
    }
    this.#startMerges(decisions);
    return decisions;
  }

  /** The next moment at which time alone may change a decision; null when none. */
  nextWakeMs(nowMs: number): number | null {
    let next: number | null = null;
    for (let timer = this.#timers.peek(); timer !== undefined; timer = this.#timers.peek()) {
      if (timer.ticket === timer.node.ticket) {
        next = timer.atMs;
        break;
      }
      this.#timers.pop();
    }
    for (const name of this.#ready.providers()) {
      const gate = this.gate(name, nowMs);
      if (gate.state === "shut" && (next === null || gate.untilMs < next)) next = gate.untilMs;
    }
    return next;
  }

  gate(provider: string, nowMs: number): Gate {
    const health = this.#providers.get(provider);
    return health === undefined ? { state: "open-to-all" } : gateOf(health, nowMs);
  }

  /** The task that probes a provider whose gate lets one through. */
  probeOf(provider: string): TaskNode | null {
    return this.#probes.get(provider) ?? null;
  }

  endProbe(node: TaskNode): void {
    if (this.#probes.get(node.record.provider) === node) this.#probes.delete(node.record.provider);
  }

  // --- what happened since the last look -----------------------------------------------------------------------------

  takeChanges(): TaskChange[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  /** Records that differ from what was last taken, also where no state changed. */
  takeTouched(): TaskRecord[] {
    const touched = [...this.#touched];
    this.#touched.clear();
    return touched;
  }

  takeChangedProviders(): ProviderHealth[] {
    const changed = [...this.#changedProviders];
    this.#changedProviders.clear();
    return changed;
  }

  touch(record: TaskRecord): void {
    this.#touched.add(record);
  }

  touchProvider(health: ProviderHealth): void {
    this.#changedProviders.add(health);
  }

  // --- steps (for outcomes.ts and controls.ts) -----------------------------------------------------------------------

  /** Moves a task to another state with all that hangs on it: queues, counts, claims, timers, dependents. */
  move(node: TaskNode, to: TaskState, details: MoveDetails = {}): void {
    const { record } = node;
    const from = record.state;
    if (!mayFollow(from, to)) {
      throw new AppError("INTERNAL", `task ${taskKey(record)} can't go from ${from} to ${to}`);
    }
    const wasSatisfied = isSatisfied(record);
    const wasFailing = isFailing(record);
    this.#leave(node);
    record.state = to;
    record.wait = details.wait ?? null;
    if (details.cause !== undefined) record.cause = details.cause;
    if (details.message !== undefined) record.message = details.message;
    this.#enter(node);
    this.touch(record);
    this.#changes.push({ task: record, from, to, wait: record.wait, cause: record.cause, message: record.message });
    if (isEnded(to) || to === "blocked" || to === "pending") this.#wake(this.claims.release(node));
    // Who stops for another reason leaves the line of waiting claims, or those behind would wait for that reason too.
    else if (to === "waiting" && !record.holdsClaims && record.wait?.code !== "lock")
      this.#wake(this.claims.release(node));
    if (wasSatisfied !== isSatisfied(record) || wasFailing !== isFailing(record)) {
      this.#tellDependents(node, wasSatisfied, wasFailing);
    }
  }

  /** Where a task belongs that has not started or is opened again: by its dependencies alone. */
  stateByDependencies(node: TaskNode): "pending" | "ready" | "blocked" {
    if (node.failedCount > 0) return "blocked";
    return node.openCount > 0 ? "pending" : "ready";
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
    this.#wake(this.claims.release(node));
    this.touch(node.record);
  }

  endMerge(node: TaskNode): void {
    node.isMergeActive = false;
    const { target } = node.plan.record;
    if (this.#activeMerges.get(target) === node) this.#activeMerges.delete(target);
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

  /**
   * Raises the path lengths in front of a task after something longer was put behind it. Taken in the order of the old
   * lengths, which is an order of dependents before dependencies: each task is raised once, to its last length. Any
   * other order raises a ladder of diamonds once for each way through it.
   */
  raisePaths(node: TaskNode, weightOf: (record: TaskRecord) => number): void {
    const raised = new Heap<{ node: TaskNode; oldLength: number }>((left, right) => left.oldLength < right.oldLength);
    raised.push({ node, oldLength: -1 });
    const waiting = new Set<TaskNode>();
    for (let next = raised.pop(); next !== undefined; next = raised.pop()) {
      const current = next.node;
      waiting.delete(current);
      for (const dependency of current.dependencies) {
        const length = current.pathLength + weightOf(dependency.record);
        if (length <= dependency.pathLength) continue;
        if (!waiting.has(dependency)) {
          waiting.add(dependency);
          raised.push({ node: dependency, oldLength: dependency.pathLength });
        }
        dependency.pathLength = length;
        if (dependency.record.state === "ready") this.#requeue(dependency);
      }
    }
  }

  // --- inside --------------------------------------------------------------------------------------------------------

  #addNodes(plan: PlanNode, tasks: readonly TaskRecord[], pathLengths: ReadonlyMap<string, number>): void {
    const added: TaskNode[] = [];
    for (const record of tasks) {
      const node = newTaskNode(record, plan);
      node.pathLength = pathLengths.get(record.id) ?? 1;
      plan.nodes.set(record.id, node);
      added.push(node);
    }
    for (const node of added) {
      for (const id of node.record.spec.dependsOn) {
        const dependency = plan.nodes.get(id);
        if (dependency === undefined)
          throw new AppError("INTERNAL", `${taskKey(node.record)} depends on unknown ${id}`);
        node.dependencies.push(dependency);
        dependency.dependents.push(node);
        if (!isSatisfied(dependency.record)) node.openCount += 1;
        if (isFailing(dependency.record)) node.failedCount += 1;
      }
    }
    for (const node of added) {
      this.claims.restore(node);
      // A waiting claim's place in line is not stored: it asks again.
      const { record } = node;
      if (record.wait?.code === "lock") {
        record.state = "ready";
        record.wait = null;
        this.#changes.push({ task: record, from: "waiting", to: "ready", wait: null, cause: null, message: null });
        this.touch(record);
      }
      this.#enter(node);
    }
    this.#settle(added);
  }

  #link(plan: PlanNode, node: TaskNode): void {
    for (const id of node.record.spec.dependsOn) {
      const dependency = plan.nodes.get(id);
      if (dependency === undefined) throw new AppError("INTERNAL", `${taskKey(node.record)} depends on unknown ${id}`);
      node.dependencies.push(dependency);
      dependency.dependents.push(node);
      if (!isSatisfied(dependency.record)) node.openCount += 1;
      if (isFailing(dependency.record)) node.failedCount += 1;
    }
  }

  /** Gives tasks that have not begun the state that their dependencies say. */
  #settle(nodes: readonly TaskNode[]): void {
    for (const node of nodes) {
      const { state, ledger } = node.record;
      const isOpen = state === "pending" || state === "blocked" || (state === "ready" && ledger.attempts === 0);
      const next = this.stateByDependencies(node);
      if (isOpen && next !== state) this.move(node, next);
    }
  }

  /** Takes a task out of whatever its state put it in. */
  #leave(node: TaskNode): void {
    const { record, plan } = node;
    node.ticket += 1;
    plan.counts[record.state] -= 1;
    if (record.state === "waiting") countWait(plan, record.wait, -1);
    if (record.state === "running") {
      plan.running -= 1;
      this.#running -= 1;
      this.#runningOf.set(record.provider, this.runningOf(record.provider) - 1);
    }
    if (record.state === "merging") this.#leaveMergeLine(node);
  }

  /** Puts a task into whatever its state wants. */
  #enter(node: TaskNode): void {
    const { record, plan } = node;
    plan.counts[record.state] += 1;
    switch (record.state) {
      case "ready":
        this.#ready.push(node);
        return;
      case "waiting":
        countWait(plan, record.wait, 1);
        if (record.wait?.untilMs != null) {
          this.#timers.push({ atMs: record.wait.untilMs, node, ticket: node.ticket });
        }
        return;
      case "running":
        plan.running += 1;
        this.#running += 1;
        this.#runningOf.set(record.provider, this.runningOf(record.provider) + 1);
        return;
      case "merging": {
        const { target } = plan.record;
        const line = this.#mergeLines.get(target);
        if (line === undefined) this.#mergeLines.set(target, [node]);
        else line.push(node);
        return;
      }
      case "pending":
      case "blocked":
      case "succeeded":
      case "skipped":
      case "failed":
      case "cancelled":
        return;
    }
  }

  #requeue(node: TaskNode): void {
    node.ticket += 1;
    this.#ready.push(node);
  }

  #leaveMergeLine(node: TaskNode): void {
    const line = this.#mergeLines.get(node.plan.record.target);
    const place = line?.indexOf(node) ?? -1;
    if (line !== undefined && place >= 0) line.splice(place, 1);
  }

  #isOpen(planId: string, provider: string, nowMs: number): boolean {
    const plan = this.plan(planId);
    if (plan.record.paused || plan.running >= plan.record.maxConcurrent) return false;
    if (this.runningOf(provider) >= (this.settings.providerLimits.get(provider) ?? Infinity)) return false;
    const gate = this.gate(provider, nowMs);
    if (gate.state === "shut") return false;
    return gate.state === "open-to-all" || !this.#probes.has(provider);
  }

  #start(node: TaskNode, nowMs: number): Decision {
    const { record } = node;
    if (this.gate(record.provider, nowMs).state === "one-probe") this.#probes.set(record.provider, node);
    record.ledger = { ...record.ledger, attempts: record.ledger.attempts + 1 };
    record.cause = null;
    record.message = null;
    this.move(node, "running");
    return { type: "start", task: record };
  }

  #startMerges(decisions: Decision[]): void {
    for (const [target, line] of this.#mergeLines) {
      if (line.length === 0) {
        this.#mergeLines.delete(target);
        continue;
      }
      if (this.#activeMerges.has(target)) continue;
      const node = line.find((candidate) => !candidate.plan.record.paused);
      if (node === undefined) continue;
      node.isMergeActive = true;
      this.#activeMerges.set(target, node);
      decisions.push({ type: "merge", task: node.record });
    }
  }

  #fireTimers(nowMs: number): void {
    for (let timer = this.#timers.peek(); timer !== undefined && timer.atMs <= nowMs; timer = this.#timers.peek()) {
      this.#timers.pop();
      if (timer.ticket !== timer.node.ticket) continue;
      this.goOn(timer.node);
    }
  }

  /** The engine's death may keep a wish from being carried out: it comes before the merge that is next in line. */
  #carryOutOldWishes(): void {
    for (const [target, line] of this.#mergeLines) {
      while (!this.#activeMerges.has(target)) {
        const node = line.find((candidate) => !candidate.plan.record.paused);
        if (node === undefined || node.record.wish === null) break;
        const { wish } = node.record;
        node.record.wish = null;
        this.carryOutWish(node, wish);
      }
    }
  }

  #wake(waiters: readonly TaskNode[]): void {
    for (const waiter of waiters) {
      if (waiter.record.state === "waiting" && waiter.record.wait?.code === "lock") this.move(waiter, "ready");
    }
  }

  /** Counts what a task's new state means for those behind it. A stack, not recursion: chains may be very long. */
  #tellDependents(first: TaskNode, wasSatisfied: boolean, wasFailing: boolean): void {
    const told: { node: TaskNode; satisfied: number; failing: number }[] = [
      { node: first, ...difference(first, wasSatisfied, wasFailing) },
    ];
    for (let step = told.pop(); step !== undefined; step = told.pop()) {
      for (const dependent of step.node.dependents) {
        dependent.openCount -= step.satisfied;
        dependent.failedCount += step.failing;
        const { state, ledger, wait } = dependent.record;
        const isInLine = state === "ready" || wait?.code === "lock";
        const hasNotBegun = state === "pending" || state === "blocked" || (isInLine && ledger.attempts === 0);
        if (!hasNotBegun) continue;
        const next = this.stateByDependencies(dependent);
        if (next === state) continue;
        const before = isFailing(dependent.record);
        this.#step(dependent, next);
        const after = isFailing(dependent.record);
        if (before !== after) told.push({ node: dependent, satisfied: 0, failing: after ? 1 : -1 });
      }
    }
  }

  /** A move that leaves telling the dependents to the caller. */
  #step(node: TaskNode, to: "pending" | "ready" | "blocked"): void {
    const from = node.record.state;
    if (!mayFollow(from, to)) throw new AppError("INTERNAL", `${taskKey(node.record)} can't go from ${from} to ${to}`);
    this.#leave(node);
    node.record.state = to;
    node.record.wait = null;
    this.#enter(node);
    this.touch(node.record);
    if (to !== "ready") this.#wake(this.claims.release(node));
    this.#changes.push({ task: node.record, from, to, wait: null, cause: null, message: null });
  }
}

function difference(
  node: TaskNode,
  wasSatisfied: boolean,
  wasFailing: boolean,
): { satisfied: number; failing: number } {
  return {
    satisfied: Number(isSatisfied(node.record)) - Number(wasSatisfied),
    failing: Number(isFailing(node.record)) - Number(wasFailing),
  };
}

export function pausedWait(node: TaskNode): Wait {
  const command = `orchestrator resume ${taskKey(node.record)}`;
  return { code: "paused", message: "paused by the operator", command, untilMs: null };
}

function countWait(plan: PlanNode, wait: Wait | null, difference: 1 | -1): void {
  if (wait === null || needsPerson(wait.code)) return;
  plan.movingWaits += difference;
  if (wait.code === "lock") plan.lockWaits += difference;
}

function lockWait(node: TaskNode, blocker: TaskNode): Wait {
  const holder = taskKey(blocker.record);
  const held = blocker.record.holdsClaims ? "holds" : "waited earlier for";
  return {
    code: "lock",
    message: `${holder} ${held} a write claim that overlaps ${node.record.spec.writes?.join(", ") ?? ""}`,
    command: null,
    untilMs: null,
  };
}
