/** What happens to agents, merges, questions and the clock of a simulated life, and what it must mean. */
import { FAILURE_CAUSES, type FailureCause } from "../../src/plan/failure-cause.ts";
import { endAttempt, endMerge, noteHealth, type AttemptEnd, type MergeEnd } from "../../src/plan/outcomes.ts";
import { isWaitingForAnswer, type QuestionFacts } from "../../src/plan/question.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../../src/plan/records.ts";
import type { Wait, WaitCode } from "../../src/plan/task-state.ts";
import { BrokenPromise } from "./broken-promise.ts";
import { bookEnd } from "./provider-book.ts";
import { bookTurn, reconsider } from "./simulated-budgets.ts";
import { addProposals } from "./simulation-plans.ts";
import { checkWaitAfter } from "./simulation-told.ts";
import type { QuestionRow } from "./simulated-store.ts";
import type { World } from "./simulated-world.ts";

/** An agent or a merge comes to its end; false when nothing runs. */
export function somethingEnds(world: World): boolean {
  const { running, merging } = world.account.book;
  const key = world.random.choose([...running.keys(), ...merging.values()], (name) => name);
  if (key === undefined) return false;
  if (running.has(key)) endAgent(world, key);
  else endMergeOf(world, key);
  return true;
}

// --- agents ------------------------------------------------------------------------------------------------------------

function endAgent(world: World, key: TaskKey): void {
  const { account, random } = world;
  const { record } = world.board.node(key);
  const { wish, provider } = record;
  const end = endAsTold(world, record, randomEnd(world, record));
  world.note(() => `  ${key} ends: ${describeEnd(end)}`);
  world.commit({ type: "end", key }, () => {
    if (end.type === "succeeded" || end.type === "asked") deliver(world, record);
    const hasMail = end.type === "succeeded" && hasUnheard(world, key);
    bookEnd(account.book.health, world.rules, provider, end, world.nowMs);
    bookTurn(world, record, end);
    endAttempt(world.board, key, hasMail ? { ...end, hasMail } : end, world.nowMs, random.next());
    reconsider(world);
    account.endAgent(key);
    world.stopping.delete(key);
    bookMeaning(world, record, end, wish, hasMail);
    checkWaitAfter(world, record, end);
  });
  // In the transaction of the end; a death in between is one before it.
  if (end.type === "succeeded" && !world.isKind && random.chance(0.08)) addProposals(world, record);
}

function bookMeaning(
  { account }: World,
  record: TaskRecord,
  end: AttemptEnd,
  wish: TaskRecord["wish"],
  hasMail: boolean,
): void {
  const key = taskKey(record);
  if (end.type === "not-started") {
    account.notStarted(record, wish === "pause" ? "paused" : wish === null ? (end.wait?.code ?? null) : null);
  }
  if (wish === "cancel" || wish === "skip") {
    const expected = wish === "cancel" ? "cancelled" : "skipped";
    if (record.state === expected) return;
    throw new BrokenPromise("wishes", `${key} was to be ${expected} and is ${record.state}`);
  }
  if (end.type === "succeeded") {
    const isPaused = wish === "pause";
    const verdict = account.passedBy(key) > 0 ? (end.verdict?.type ?? null) : null;
    if (hasMail && verdict !== "reject") account.hear(record, isPaused);
    else account.finishStep(record, verdict, isPaused, hasMail);
    return;
  }
  if (wish === "pause" && record.wait?.code !== "paused") {
    throw new BrokenPromise("wishes", `${key} was to be paused and is ${record.state}`);
  }
  if (wish !== null) return;
  if (end.type === "stopped" && record.state !== "ready") {
    throw new BrokenPromise("wishes", `${key} was resumed before its agent ended, and is ${record.state}`);
  }
  if (end.type === "asked") account.ask(record, end.wait !== null);
  if (end.type === "failed") account.fail(record, end.cause);
}

function randomEnd(world: World, record: TaskRecord): AttemptEnd {
  const { random } = world;
  const key = taskKey(record);
  const isReview = world.account.passedBy(key) > 0;
  // Whoever is to wait for an answer was continued by mistake or by a timer: it does not begin.
  const isEarly = world.store.openParked(key).some(({ attempt }) => attempt !== record.ledger.attempts);
  if (isEarly) return { type: "not-started", wait: questionWait(world, key) };
  const chance = world.isKind ? 0 : random.next();
  if (world.stopping.has(key) && chance < 0.8) return { type: "stopped" };
  if (chance < (world.mood === "failing" ? 0.3 : 0.6)) {
    const isReject = !world.isKind && random.chance(0.3);
    const verdict = isReview ? ({ type: isReject ? "reject" : "approve", words: "x" } as const) : null;
    return { type: "succeeded", hasChanges: random.chance(0.8), message: null, verdict };
  }
  if (chance > 0.98) return { type: "interrupted" };
  // Who asked something had begun.
  const hasAsked = world.store.questionsOf(key).some(({ attempt }) => attempt === record.ledger.attempts);
  if (chance > 0.91 && !hasAsked)
    return { type: "not-started", wait: random.chance(0.5) ? randomEarlyWait(world, key) : null };
  const cause = random.pick(FAILURE_CAUSES);
  return {
    type: "failed",
    cause,
    message: `it was ${cause}`,
    remedy: null,
    retryAfterMs: random.chance(0.2) ? 120_000 : null,
    resetsAtMs: random.chance(0.5) ? world.nowMs + (random.chance(0.9) ? 3_600_000 : -1) : null,
  };
}

function randomEarlyWait({ random }: World, key: TaskKey): Wait {
  const command = `orchestrator retry ${key}`;
  const code = random.pick<WaitCode>(["auth", "spawn-failed", "target"]);
  return { code, message: "something is missing", command, untilMs: null };
}

/** As `question-wait.ts` has it: who asked and ended its turn waits, and who ended before it heard the answer goes on. */
function endAsTold(world: World, record: TaskRecord, end: AttemptEnd): AttemptEnd {
  const key = taskKey(record);
  const questions = world.store.questionsOf(key);
  // In the end nobody does, so that an agent that is taken for one that waits would do so for ever.
  const isReported = end.type === "succeeded" && !world.isKind && world.random.chance(0.2);
  // Who reports decided by itself what it asked.
  if (isReported) for (const question of questions) if (question.step === record.step) withdraw(question);
  const couldBe = end.type === "succeeded" || (end.type === "failed" && end.cause === "no-result");
  const waits = isWaitingForAnswer(questions.map(factsOf), attemptOf(record), end.type === "succeeded");
  if (!couldBe || !waits) return end;
  for (const question of questions) if (question.state === "open") question.isParked = true;
  return { type: "asked", wait: questionWait(world, key) };
}

function factsOf({ step, state, isParked, isDelivered, carriedBy }: QuestionRow): QuestionFacts {
  const carrier = carriedBy === null ? null : String(carriedBy);
  return { step, isOpen: state === "open", isParked, isDelivered, carriedBy: carrier };
}

function attemptOf({ ledger, step }: TaskRecord): { readonly id: string; readonly step: number } {
  return { id: String(ledger.attempts), step };
}

/** Never in the past: a desk that is late would have its task begin again and again. */
function questionWait({ store, nowMs }: World, key: TaskKey): Wait | null {
  const open = store.openParked(key);
  const [first] = open;
  if (first === undefined) return null;
  const untilMs = Math.max(nowMs, ...open.map((question) => question.untilMs)) + 1_000;
  return { code: "question", message: "its agent asks", command: `orchestrator answer ${first.id} "…"`, untilMs };
}

function deliver({ store }: World, record: TaskRecord): void {
  const key = taskKey(record);
  const { attempts } = record.ledger;
  for (const row of [...store.undelivered(key), ...store.questionsOf(key)]) {
    if (row.carriedBy === attempts) row.isDelivered = true;
  }
}

/** Mail for whoever does the task: what was said to it, and answers to what its first step asked. */
function hasUnheard({ store }: World, key: TaskKey): boolean {
  return store.undelivered(key).length > 0 || store.unheardAnswers(key).some(({ step }) => step === 0);
}

function withdraw(question: QuestionRow): void {
  if (question.state === "open") question.state = "withdrawn";
  question.isDelivered = true;
}

function describeEnd(end: AttemptEnd): string {
  if (end.type === "failed") return `failed (${end.cause})`;
  const verdict = end.type === "succeeded" ? end.verdict : null;
  return verdict == null ? end.type : `${end.type} (${verdict.type})`;
}

// --- merges ------------------------------------------------------------------------------------------------------------

function endMergeOf(world: World, key: TaskKey): void {
  const { record } = world.board.node(key);
  const { wish } = record;
  const { target } = world.planOf(record).record;
  world.commit({ type: "end", key }, () => {
    const end = randomMergeEnd(world, record);
    world.note(() => `  the merge of ${key} ends: ${end.type}${end.type === "wait" ? ` (${end.code})` : ""}`);
    const isDone = end.type === "merged" || end.type === "nothing";
    endMerge(world.board, key, end);
    world.account.endMerge(key, target, isDone);
    if (isDone && record.state !== "succeeded")
      throw new BrokenPromise("once", `${key} is merged, and ${record.state}`);
    if (isDone || wish !== null) return;
    if (end.type === "verify-failed" && end.canRepair) return world.account.repair(record);
    const code = end.type === "wait" ? end.code : end.type === "verify-failed" ? "verify" : null;
    if ((code === null ? record.state : record.wait?.code) === (code ?? "merging")) return;
    throw new BrokenPromise("consequence", `${key} is ${record.state} after ${end.type} ${code ?? ""}`);
  });
}

function randomMergeEnd(world: World, record: TaskRecord): MergeEnd {
  const { random } = world;
  const key = taskKey(record);
  const chance = world.isKind ? 0 : random.next();
  if (chance < (world.mood === "failing" ? 0.2 : 0.55)) return { type: "merged", sha: "abc" };
  if (chance < 0.6) return { type: "nothing" };
  if (chance < 0.73) return { type: "verify-failed", output: "red", canRepair: random.chance(0.8) };
  if (chance < 0.82) return { type: "again" };
  const command = `orchestrator merge ${key}`;
  const code = random.pick<WaitCode>(["conflict", "target", "manual-merge", "approval"]);
  if (code !== "approval") return { type: "wait", code, message: code, command };
  if (record.consent === "approve") return { type: "again" };
  return { type: "wait", code, message: "it changes hooks", command: `orchestrator approve ${key}` };
}

/** The target was moved, and the engine died before it could say so. */
export function mergeArrives(world: World): boolean {
  const key = world.random.choose(world.account.book.merging.values(), (name) => name);
  if (key === undefined) return false;
  world.note(() => `  the merge of ${key} arrives in its target`);
  world.account.arrive(key);
  return true;
}

/** The user's checkout or the target changed: tasks that wait for that try again by themselves. */
export function checkoutChanges(world: World): void {
  const { random, board } = world;
  const waiting = [...world.tasks()].filter(
    ({ wait, spec, consent }) =>
      wait?.code === "target" || (wait?.code === "manual-merge" && (spec.merge !== "manual" || consent !== null)),
  );
  const task = random.choose(waiting, taskKey);
  if (task === undefined) return;
  world.note(() => `  the checkout changes: ${taskKey(task)} tries again`);
  world.commit({ type: "people" }, () => board.goOn(board.node(taskKey(task))));
}

// --- questions and mail ------------------------------------------------------------------------------------------------

/** An agent that runs asks. Its call is answered at once or soon, or it is told to end its turn. */
export function agentAsks(world: World): void {
  const { random, store, account } = world;
  const key = random.choose(account.book.launched, (name) => name);
  if (key === undefined || store.openParked(key).length > 0) return;
  const { record } = world.board.node(key);
  const { attempts } = record.ledger;
  const chance = random.next();
  const id = `q${store.rows.questions.length + 1}`;
  const isAnswered = chance < 0.4;
  world.note(() => `  ${key} asks ${id}${isAnswered ? ", which is answered while it waits" : ""}`);
  store.rows.questions.push({
    id,
    task: key,
    step: record.step,
    attempt: attempts,
    untilMs: world.nowMs + 1_000 + random.below(900_000),
    state: isAnswered ? "answered" : "open",
    isParked: chance > 0.6,
    carriedBy: isAnswered ? attempts : null,
    isDelivered: false,
  });
}

/** Somebody answers, or every deadline passes. */
export function questionSettles(world: World, id: string | null = null): void {
  const open = world.store.rows.questions.filter((row) => row.state === "open" && (id === null || row.id === id));
  const question = world.random.choose(open, (row) => row.id);
  if (question !== undefined) settle(world, question, world.random.chance(0.7) ? "answered" : "expired");
}

function settle(world: World, question: QuestionRow, state: "answered" | "expired"): void {
  const { task: key } = question;
  const [planId = "", id = ""] = key.split("/");
  world.note(() => `  ${question.id} of ${key} is ${state}`);
  world.open(planId);
  world.commit({ type: "people" }, () => {
    question.state = state;
    const node = world.board.plan(planId).nodes.get(id);
    // A task that spent no attempt may have been dropped meanwhile.
    if (node === undefined) return;
    const { record } = node;
    // A held call takes it in within the turn.
    if (!question.isParked && record.state === "running") question.carriedBy = record.ledger.attempts;
    if (record.wait?.code === "question" && world.store.openParked(key).length === 0) world.board.goOn(node);
  });
}

/** The desk's own timers: whoever has waited long enough goes on without an answer. */
function settleDue(world: World): void {
  for (const question of world.store.rows.questions) {
    if (question.state === "open" && question.untilMs <= world.nowMs) settle(world, question, "expired");
  }
}

/** Some CLIs take in what is said in the middle of a turn. */
export function agentHears(world: World): void {
  const { launched } = world.account.book;
  const key = world.random.choose(launched, (name) => name);
  if (key === undefined) return;
  const { record } = world.board.node(key);
  if (record.step !== 0 || world.store.openParked(key).length > 0) return;
  for (const message of world.store.undelivered(key)) message.carriedBy = record.ledger.attempts;
}

/** A turn of the orchestrator role: it has no task and no slot, but tells how its provider does. */
export function consultationEnds(world: World): void {
  const { random, account } = world;
  const provider = random.pick(["alpha", "beta"]);
  const cause = random.pick<FailureCause>(["transient", "usage-limit", "auth", "crashed"]);
  const told = { message: "no answer", remedy: null, retryAfterMs: null, resetsAtMs: null };
  const isWell = random.chance(0.6);
  const end: AttemptEnd = isWell
    ? { type: "succeeded", hasChanges: false, message: null }
    : { type: "failed", cause, ...told };
  world.note(() => `  a consultation on ${provider} ends: ${describeEnd(end)}`);
  world.commit({ type: "people" }, () => {
    bookEnd(account.book.health, world.rules, provider, end, world.nowMs);
    noteHealth(world.board, provider, end, world.nowMs);
  });
}

// --- time --------------------------------------------------------------------------------------------------------------

/** Seconds, a night's sleep, or a clock that is set back. */
export function timePasses(world: World): void {
  const { random } = world;
  const chance = random.next();
  const byMs = chance < 0.15 ? 8 * 3_600_000 : chance < 0.25 ? -8 * 3_600_000 : chance < 0.5 ? 60_000 : 1_000;
  world.nowMs += byMs;
  world.note(() => `  the clock goes ${byMs / 1_000} s`);
  // Nobody was there to see it, or the engine notices.
  if (byMs < 0 && random.chance(0.7)) moveWaits(world, byMs);
  // The desk may be a moment behind the board's own timers.
  if (random.chance(0.8)) settleDue(world);
}

/** As the scheduler does when the clock was set back: nothing may last longer than was promised. */
function moveWaits(world: World, byMs: number): void {
  const { board, account, store } = world;
  const left = (): Map<TaskKey, number | null> =>
    new Map([...world.tasks()].map((task) => [taskKey(task), task.wait?.untilMs ?? null]));
  const before = left();
  world.note(() => "  and the waits with it");
  world.commit({ type: "people" }, () => {
    for (const question of store.rows.questions) if (question.state === "open") question.untilMs += byMs;
    board.moveWaits(byMs);
    account.moveWaits(byMs);
  });
  for (const [key, untilMs] of left()) {
    const was = before.get(key) ?? null;
    if (untilMs === (was === null ? null : was + byMs)) continue;
    throw new BrokenPromise(
      "clock",
      `${key} waits until ${untilMs}, and until ${was} before the clock went ${byMs} ms`,
    );
  }
}

/** The disk gets full, or has room again. */
export function machineChanges(world: World): void {
  world.setLack(world.account.limits.lack === null ? "room on the disk" : null);
}

/** To the next moment at which something happens by itself; false when there is none. */
export function timePassesToNext(world: World): boolean {
  const nextMs = world.board.nextWakeMs(world.nowMs);
  if (nextMs === null) return false;
  world.note(() => `  the clock goes on to the next timer (${(nextMs - world.nowMs) / 1_000} s)`);
  world.nowMs = Math.max(world.nowMs, nextMs);
  settleDue(world);
  return true;
}
