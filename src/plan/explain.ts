/** Why a task is not running, and how a plan stands: what people and parents read. Pure over the board. */
import type { Obstacle } from "./admission.ts";
import type { Board } from "./board.ts";
import { isFinal } from "./budget.ts";
import { budgetWait } from "./budget-words.ts";
import { candidatesOf, describeGate } from "./provider-choice.ts";
import { isFailing, isSatisfied, rootFailure, type PlanNode, type TaskNode } from "./node.ts";
import { taskKey, type TaskKey } from "./records.ts";
import { needsPerson, type TaskState, type Wait, type WaitCode } from "./task-state.ts";
import { endsByTime } from "./waits.ts";
import { describeStep } from "./workflow.ts";

export interface Explanation {
  /**
   * The state people see. A ready task whose plan is paused or whose provider is shut is told as waiting: marking each
   * of them in the store would make one provider's trouble cost work for every task.
   */
  readonly state: TaskState;
  readonly code: WaitCode | "dependencies" | "slot" | "blocked" | "merge-queue" | null;
  readonly message: string;
  /**
   * The command that clears it; null when there is none or nothing to clear. A provider that is shut opens again by
   * itself (`untilMs`), and the command has it asked at once.
   */
  readonly command: string | null;
  readonly untilMs: number | null;
  /** Tasks it waits for. */
  readonly waitsFor: readonly TaskKey[];
}

export function explainTask(board: Board, key: TaskKey, nowMs: number): Explanation {
  const node = board.node(key);
  const own = explainItself(board, node, nowMs);
  return node.plan.record.paused && isKeptByPause(own) ? alsoPaused(node, own) : own;
}

/** Whatever else it waits for: it would not go on then, for its plan is paused. */
function isKeptByPause({ state }: Explanation): boolean {
  return state === "pending" || state === "ready" || state === "waiting";
}

/** What a person has to do about the task itself stays first; what ends by itself, or by the same command, does not. */
function alsoPaused({ plan }: TaskNode, own: Explanation): Explanation {
  const command = `orchestrator resume ${plan.record.id}`;
  const paused = `plan ${plan.record.id} is paused`;
  if (own.command === command) return own;
  if (own.command === null || own.code === "paused" || endsByTime(own.code))
    return { ...own, message: `${own.message}; ${paused}`, command };
  return { ...own, message: `${own.message}; ${paused} (${command})` };
}

function explainItself(board: Board, node: TaskNode, nowMs: number): Explanation {
  const { record, plan } = node;
  const plain = { state: record.state, command: null, untilMs: null, waitsFor: [] } as const;
  switch (record.state) {
    case "pending": {
      const open = node.dependencies.filter((dependency) => !isSatisfied(dependency.record, record));
      const names = open.map((dependency) => taskKey(dependency.record));
      return { ...plain, code: "dependencies", message: `waits for ${listed(names)}`, waitsFor: names };
    }
    case "blocked": {
      const culprits = node.dependencies.filter((dependency) => isFailing(dependency.record, record));
      const names = culprits.map((dependency) => taskKey(dependency.record));
      const root = rootFailure(node);
      return {
        ...plain,
        code: "blocked",
        message: `${listed(names)} failed or is blocked`,
        command: root === null ? null : `orchestrator retry ${taskKey(root.record)}`,
        waitsFor: names,
      };
    }
    case "ready":
      return explainReady(board, node, nowMs);
    case "waiting": {
      const { wait } = record;
      if (wait === null) return { ...plain, code: null, message: "waiting" };
      if (wait.code === "lock" && node.blockedBy !== null) return explainLock(node, node.blockedBy);
      // What is used and set aside changes while it waits.
      if (wait.code === "budget") return explainBudget(board, node, nowMs) ?? { ...plain, ...waitFacts(wait) };
      if (!endsByTime(wait.code)) return { ...plain, ...waitFacts(wait) };
      // It goes on by itself, and somebody who knows better may have it tried at once.
      return { ...plain, ...waitFacts(wait), command: `orchestrator retry ${taskKey(record)}` };
    }
    case "merging": {
      if (plan.record.paused && !node.isMergeActive) return pausedPlan(plan);
      if (board.hold !== null && !node.isMergeActive) return held(board.hold);
      const active = board.activeMerge(plan.record.target);
      if (active === null || active === node) {
        return { ...plain, code: null, message: `is being merged into ${plan.record.target}` };
      }
      const other = taskKey(active.record);
      return { ...plain, code: "merge-queue", message: `in the merge queue behind ${other}`, waitsFor: [other] };
    }
    case "running": {
      const step = describeStep(record);
      // A message of a running task says why it is not with the provider that it prefers.
      const words = [step, record.message].filter((one) => one !== null);
      const message = words.length === 0 ? "running" : `running: ${words.join("; ")}`;
      return { ...plain, code: null, message: record.wish === null ? message : `${message}; will ${record.wish}` };
    }
    case "succeeded":
    case "skipped":
    case "failed":
    case "cancelled":
      return {
        ...plain,
        code: null,
        message: record.message ?? record.state,
        command: record.state === "failed" ? `orchestrator retry ${taskKey(record)}` : null,
      };
  }
}

function waitFacts({ code, message, command, untilMs }: Wait): Pick<Explanation, "code" | keyof Wait> {
  return { code, message, command, untilMs };
}

/** Null: there is room now, and it starts as soon as the engine looks. */
function explainBudget(board: Board, node: TaskNode, nowMs: number): Explanation | null {
  const verdict = board.budgetVerdict(node, nowMs);
  if (verdict.type === "fits") return null;
  const wait = budgetWait(node, verdict, board.uses);
  return { state: "waiting", ...waitFacts(wait), waitsFor: [] };
}

function explainReady(board: Board, node: TaskNode, nowMs: number): Explanation {
  const { record, plan } = node;
  const plain = { state: record.state, command: null, untilMs: null, waitsFor: [] } as const;
  const obstacle = board.obstacle(node, nowMs);
  if (obstacle?.type === "machine") return held(obstacle.message);
  if (obstacle?.type === "plan-paused") return pausedPlan(plan);
  // A probe that nobody is yet, this task may be: what it waits for then is a slot.
  if (obstacle?.type === "provider-gate") {
    return explainGates(board, node, nowMs);
  }
  if (board.runningCount >= board.settings.limitAgents) {
    return { ...plain, code: "slot", message: `all ${board.settings.limitAgents} slots are taken (limits.agents)` };
  }
  if (obstacle?.type === "budget") return explainBudget(board, node, nowMs) ?? { ...plain, code: null, message: SOON };
  return { ...plain, code: "slot", message: slotMessage(obstacle) };
}

/** Each of its providers is shut, lets one probe through, or is more than the plan's budget has room for. */
function explainGates(board: Board, node: TaskNode, nowMs: number): Explanation {
  const { record } = node;
  let untilMs: number | null = null;
  let code: WaitCode | null = null;
  const parts: string[] = [];
  const candidates = candidatesOf(record);
  const isPayable = (name: string): boolean => !isFinal(board.budgetVerdictWith(node, name));
  const isAnyPayable = candidates.some(isPayable);
  for (const name of candidates) {
    const gate = board.gate(name, nowMs);
    if (gate.state !== "open-to-all") {
      const { reason } = board.provider(name);
      const probe = gate.state === "shut" ? null : board.probeOf(name);
      const how = probe === null ? "" : ` (${taskKey(probe.record)} is its probe)`;
      parts.push(`provider ${name} ${describeGate(gate)}${how}${reason === null ? "" : `: ${reason}`}`);
      code ??= gate.code;
    }
    if (isAnyPayable && !isPayable(name))
      parts.push(`the budget has no room for ${name}: ${noRoomWords(board, node, name)}`);
    else if (gate.state === "shut") untilMs = Math.min(untilMs ?? Infinity, gate.untilMs);
  }
  const ruledOut = record.ruledOut.length === 0 ? "" : `; without ${record.ruledOut.join(", ")}, which needs a person`;
  return {
    state: "waiting",
    code,
    message: `${parts.join("; ")}${ruledOut}`,
    // A probe that is under way tells soon enough.
    command: untilMs === null ? null : `orchestrator retry ${taskKey(record)}`,
    untilMs,
    waitsFor: [],
  };
}

function noRoomWords(board: Board, node: TaskNode, provider: string): string {
  const verdict = board.budgetVerdictWith(node, provider);
  if (verdict.type === "fits") return "";
  const { message, command } = budgetWait(node, verdict, board.uses);
  return command === null ? message : `${message} (${command})`;
}

function slotMessage(obstacle: Obstacle | null): string {
  switch (obstacle?.type) {
    case "plan-slots":
      return `the plan's ${obstacle.limit} slots are taken (maxConcurrent)`;
    case "provider-slots":
      return `all ${obstacle.limit} slots of provider ${obstacle.provider} are taken (providers.${obstacle.provider}.limit)`;
    case "machine":
    case "plan-paused":
    case "provider-gate":
    case "budget":
    case undefined:
      return SOON;
  }
}

const SOON = "starts as soon as the engine looks";

function explainLock(node: TaskNode, blocker: TaskNode): Explanation {
  const { record } = blocker;
  const name = taskKey(record);
  const held = record.holdsClaims ? "holds" : "waited earlier for";
  const holder = holderBehind(blocker);
  const needsRelease = holder.record.holdsClaims && holder.record.state === "waiting";
  const state = record.wait === null ? record.state : `waiting: ${record.wait.code}`;
  return {
    state: node.record.state,
    code: "lock",
    message: `${name} (${state}) ${held} a write claim that overlaps ${node.record.spec.writes?.join(", ") ?? ""}`,
    command: needsRelease ? `orchestrator release ${taskKey(holder.record)}` : null,
    untilMs: null,
    waitsFor: [name],
  };
}

/** The task at the head of a line of waiting claims. */
function holderBehind(blocker: TaskNode): TaskNode {
  let current = blocker;
  while (current.blockedBy !== null && current.record.wait?.code === "lock") current = current.blockedBy;
  return current;
}

/** Goes on by itself as soon as the machine has what it lacks. */
function held(message: string): Explanation {
  return { state: "waiting", code: "machine", message, command: null, untilMs: null, waitsFor: [] };
}

function pausedPlan(plan: PlanNode): Explanation {
  return {
    state: "waiting",
    code: "paused",
    message: `plan ${plan.record.id} is paused`,
    command: `orchestrator resume ${plan.record.id}`,
    untilMs: null,
    waitsFor: [],
  };
}

function listed(names: readonly string[]): string {
  return names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`;
}

export interface PlanStanding {
  readonly counts: Readonly<Record<TaskState, number>>;
  readonly total: number;
  /**
   * `running`: something moves or will by itself · `needs-person`: nothing moves until somebody acts · `succeeded`: all
   * succeeded or were skipped · `failed`: all ended, and one failed, was cancelled or is blocked.
   */
  readonly state: "running" | "needs-person" | "succeeded" | "failed";
}

/**
 * How a plan stands: from its counters alone, save where nothing but waits for claims is left. Then each holder is asked
 * whether it moves, for a plan that waits for one that waits for a person would be told as running for ever.
 */
export function standingOf(plan: PlanNode): PlanStanding {
  const { counts } = plan;
  const total = plan.nodes.size;
  const done = counts.succeeded + counts.skipped;
  const ended = done + counts.failed + counts.cancelled + counts.blocked;
  let state: PlanStanding["state"];
  if (done === total) state = "succeeded";
  else if (counts.running > 0) state = "running";
  else if (plan.record.paused && ended < total) state = "needs-person";
  else if (counts.ready + counts.merging + plan.movingWaits - plan.lockWaits > 0) state = "running";
  else if (plan.lockWaits > 0 && someHolderMoves(plan)) state = "running";
  else if (counts.waiting > 0) state = "needs-person";
  else state = "failed";
  return { counts: { ...counts }, total, state };
}

function someHolderMoves(plan: PlanNode): boolean {
  const still = new Set<TaskNode>();
  for (const node of plan.nodes.values()) {
    if (node.record.wait?.code !== "lock") continue;
    let current = node;
    while (current.record.wait?.code === "lock" && current.blockedBy !== null && !still.has(current)) {
      still.add(current);
      current = current.blockedBy;
    }
    if (!still.has(current) && moves(current)) return true;
    still.add(current);
  }
  return false;
}

/** Whether a task that others wait for does something or will by itself. */
function moves({ record, plan }: TaskNode): boolean {
  switch (record.state) {
    case "running":
      return true;
    case "ready":
    case "merging":
      return !plan.record.paused;
    case "waiting":
      return record.wait !== null && !needsPerson(record.wait.code);
    case "pending":
    case "blocked":
    case "succeeded":
    case "skipped":
    case "failed":
    case "cancelled":
      return false;
  }
}
