/** What people and parents do in a simulated life: they steer, say something to agents, take over, and obey `why`. */
import { AppError } from "../../src/errors.ts";
import {
  controlPlan,
  controlTask,
  isUnderWay,
  TASK_ACTIONS,
  tryNewKey,
  type TaskAction,
} from "../../src/plan/controls.ts";
import { explainTask } from "../../src/plan/explain.ts";
import { handToPerson } from "../../src/plan/hand-over-to-person.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import { isEnded, type WaitCode } from "../../src/plan/task-state.ts";
import { tellTask } from "../../src/plan/tell.ts";
import type { Account } from "./account.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { bookMended } from "./provider-book.ts";
import { letIn, providersOf } from "./provider-lists.ts";
import { raiseBudget } from "./simulated-budgets.ts";
import { questionSettles } from "./simulated-events.ts";
import { growPlan } from "./simulation-plans.ts";
import { checkIdle } from "./simulation-reasons.ts";
import type { World } from "./simulated-world.ts";

/** Something random, sensible or not; what is refused changes nothing. */
export function operatorActs(world: World): void {
  const { random } = world;
  const plan = random.choose(world.plans, ({ record }) => record.id);
  // What is under way is where wishes can be lost.
  const isUnderWayWanted = random.chance(0.5);
  const tasks = plan?.tasks.filter(({ state }) => !isUnderWayWanted || state === "running" || state === "merging");
  const task = random.choose(tasks ?? [], taskKey);
  if (plan === undefined || task === undefined) return;
  const isPausing = task.wish === "pause" && random.chance(0.5);
  const action = isPausing ? "resume" : random.pick(TASK_ACTIONS as readonly [TaskAction, ...TaskAction[]]);
  const onPlan = random.chance(0.2) && action !== "cancel";
  const name = onPlan ? plan.record.id : taskKey(task);
  world.note(() => `  operator: ${action} ${name}`);
  refusedOrDone(world, () => control(world, action, name));
}

function refusedOrDone(world: World, act: () => void): void {
  try {
    act();
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== "TASK_STATE") throw thrown;
    if (world.write() > 0) throw new BrokenPromise("refusals", `refused, but something changed: ${thrown.message}`);
    world.note(() => "    refused");
  }
}

/** Carries out an action on a plan or a task, and books what it means. */
export function control(world: World, action: TaskAction, name: string): void {
  const planId = name.split("/")[0] ?? "";
  world.open(planId);
  const leaving = [...world.tasks()].filter(({ wish }) => wish === "cancel" || wish === "skip");
  const before = new Map([...world.tasks()].map((task) => [taskKey(task), task.wait?.code]));
  const isTask = name.includes("/");
  const goesOn = isTask && isUnderWay(world.board.node(name as TaskKey));
  world.commit({ type: "people" }, () => {
    let keys = [name as TaskKey];
    if (isTask) controlTask(world.board, name as TaskKey, action, world.nowMs);
    else {
      keys = controlPlan(world.board, name, action, world.nowMs);
      world.store.savePlan(world.plan(planId).record);
    }
    for (const key of keys) bookAction(world, action, key, before.get(key), goesOn);
  });
  if (action !== "pause" && action !== "resume") return;
  for (const task of leaving) {
    if (task.wish !== null && task.wish !== "pause") continue;
    throw new BrokenPromise("wishes", `${taskKey(task)} was to end, and a ${action} made it stay`);
  }
}

function bookAction(
  { account, board, nowMs }: World,
  action: TaskAction,
  key: TaskKey,
  waitBefore: WaitCode | undefined,
  goesOn: boolean,
): void {
  const { record } = board.node(key);
  const isDeclined = action === "cancel" && waitBefore === "approval" && record.ledger.attempts === 0;
  if (isDeclined && record.proposedBy !== null && record.state !== "skipped") {
    throw new BrokenPromise("consequence", `${key} is ${record.state}, though it was only proposed and declined`);
  }
  // Somebody who approves vouches for the step that rejected.
  if (action === "approve" && waitBefore === "review") account.pass(record);
  if (action === "release") account.release(key);
  if (action === "approve" && waitBefore === "approval") account.book.letThrough.set(key, "approve");
  if (action === "merge" && !account.book.letThrough.has(key)) account.book.letThrough.set(key, "merge");
  if (action !== "retry" || record.state === "running") return;
  // A retry of one that goes already is done: it spends nothing and gives nothing back.
  if (!goesOn) account.retry(key, waitBefore === "verify");
  letAllIn(account, record, nowMs);
}

/** A retry says that whatever could serve the task is well again. */
function letAllIn(account: Account, record: TaskRecord, nowMs: number): void {
  letIn(account.book, taskKey(record), null);
  for (const provider of providersOf(account.book, record)) bookMended(account.book.health, provider, nowMs, false);
}

// --- what is said ------------------------------------------------------------------------------------------------------

/** Somebody says something to an agent, whatever its task does just now. */
export function operatorTells(world: World): void {
  const { random, board, store, account } = world;
  const plan = random.choose(world.plans, ({ record }) => record.id);
  // The one that is done already, once more; the one that stands still; any.
  const chance = random.next();
  const tasks = plan?.tasks.filter(({ id, state }) => {
    if (chance < 0.2) return plan.tasks.some(({ spec }) => spec.continues === id);
    return chance > 0.5 || state === "waiting";
  });
  const named = random.choose(tasks ?? [], taskKey);
  if (plan === undefined || named === undefined) return;
  const key = taskKey(named);
  world.open(plan.record.id);
  refusedOrDone(world, () =>
    world.commit({ type: "people" }, () => {
      const number = store.rows.messages.length + 1;
      const told = tellTask(board, key, `message ${number}`, world.nowMs);
      const { record } = told.node;
      world.note(() => `  operator tells ${key} something (${number}): ${told.type}`);
      if (told.type === "follow-up") {
        if (plan.tasks.length < 60) growPlan(world, plan, [{ spec: told.spec, workflow: record.workflow }]);
        return;
      }
      store.rows.messages.push({ task: taskKey(record), number, carriedBy: null, isDelivered: false });
      if (told.type === "opened") {
        account.startOver(taskKey(record));
        account.retry(taskKey(record), false);
        letAllIn(account, record, world.nowMs);
      }
      if (told.type === "called-back" || record.step === 0) account.startOver(taskKey(record));
    }),
  );
}

/** A person takes a task over by hand: its agent is stopped for it first. */
export function personOpens(world: World): void {
  const task = world.random.choose(world.tasks(), taskKey);
  if (task === undefined) return;
  const key = taskKey(task);
  world.note(() => `  a person opens ${key}`);
  refusedOrDone(world, () =>
    world.commit({ type: "people" }, () => {
      if (handToPerson(world.board, key)) world.account.startOver(key);
    }),
  );
}

/** A client brings another key for a provider. */
export function keyComes(world: World): void {
  const { random, account, board, nowMs } = world;
  const provider = random.pick(["alpha", "beta"]);
  world.note(() => `  another key for ${provider} comes`);
  world.commit({ type: "people" }, () => {
    const woken = tryNewKey(board, (_, name) => name === provider, nowMs);
    for (const key of woken) letIn(account.book, key, provider);
    if (woken.length > 0) bookMended(account.book.health, provider, nowMs, true);
  });
}

// --- obeying -----------------------------------------------------------------------------------------------------------

/** Somebody looks at a task that stands still and types in what its `why` names. */
export function somebodyObeys(world: World): void {
  const still = [...world.tasks()].filter(({ state }) => state !== "running" && state !== "succeeded");
  const chosen = world.random.choose(waysOut(world, still), ({ task }) => taskKey(task));
  if (chosen !== undefined) obey(world, chosen.command);
}

/** Somebody opens a task again beside whose failure another one went on, which is on its way by now. */
export function somebodyReopens(world: World): void {
  const isGoingOnWithout = ({ id, planId, state }: TaskRecord): boolean =>
    (state === "failed" || state === "cancelled") &&
    world.plan(planId).tasks.some((other) => other.state === "running" && other.spec.dependsOn.includes(id));
  const task = world.random.choose([...world.tasks()].filter(isGoingOnWithout), taskKey);
  if (task === undefined) return;
  world.note(() => `  operator: retry ${taskKey(task)}`);
  control(world, "retry", taskKey(task));
}

/** Nothing moves and nothing will: each open task leads to a command, and one of them is typed in. */
export function somebodyHelps(world: World): void {
  if (world.account.limits.lack !== null) return world.setLack(null);
  checkIdle(world);
  const open = [...world.tasks()].filter((task) => !isEnded(task.state) && task.state !== "blocked");
  const chosen = world.random.choose(waysOut(world, open), ({ task }) => taskKey(task));
  if (chosen === undefined) throw new BrokenPromise("no deadlock", "nothing runs, no timer, and nobody to ask");
  if (world.isKind || world.random.chance(0.7)) return obey(world, chosen.command);
  world.note(() => `  operator: cancel ${taskKey(chosen.task)}`);
  control(world, "cancel", taskKey(chosen.task));
}

/** The commands that are named for tasks; none for one that others hold up. */
function waysOut(world: World, tasks: readonly TaskRecord[]): { task: TaskRecord; command: string }[] {
  return tasks.flatMap((task) => {
    const key = taskKey(task);
    const { command } = explainTask(world.board, key, world.nowMs);
    if (command === null) return [];
    // The other way out, which its message names.
    const isApproved = task.wait?.code === "review" && world.random.chance(0.5);
    return [{ task, command: isApproved ? `orchestrator approve ${key}` : command }];
  });
}

/** Types in the command just as it was told. It must be possible, and it must change something. */
function obey(world: World, command: string): void {
  world.note(() => `  as told: ${command}`);
  const [, action = "", name = ""] = /orchestrator (\S+) (\S+)[^;]*$/.exec(command) ?? [];
  if (action === "answer") return questionSettles(world, name);
  if (action === "edit") return raiseBudget(world, name, command);
  if (!TASK_ACTIONS.some((known) => known === action)) throw new BrokenPromise("why", `"${command}" is no command`);
  const before = world.written;
  const paused = pausedPlans(world);
  try {
    control(world, action as TaskAction, name);
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== "TASK_STATE") throw thrown;
    throw new BrokenPromise("why", `"${command}" is refused: ${thrown.message}`);
  }
  if (world.written === before && pausedPlans(world) === paused) {
    throw new BrokenPromise("why", `"${command}" changed nothing`);
  }
}

function pausedPlans({ plans }: World): string {
  return plans.flatMap(({ record }) => (record.paused ? [record.id] : [])).join();
}

/** Whether all that is left is done, lost or blocked. */
export function isOver(world: World): boolean {
  return world.plans.every(({ tasks }) =>
    tasks.every((task: TaskRecord) => isEnded(task.state) || task.state === "blocked"),
  );
}
