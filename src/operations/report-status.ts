/** What `task_status` answers: small, the urgent first. */
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import type { App } from "../app.ts";
import { explainTask, standingOf, type Explanation } from "../plan/explain.ts";
import type { PlanNode, TaskNode } from "../plan/node.ts";
import { candidatesOf } from "../plan/provider-choice.ts";
import { taskKey, type TaskKey, type TaskRecord } from "../plan/records.ts";
import { isEnded, needsPerson, type TaskState } from "../plan/task-state.ts";
import { timeWords } from "../plan/waits.ts";
import { heldWait } from "../scheduler/question-wait.ts";
import { historyOf, tokensOf } from "./history.ts";
import type { OperationCall } from "./operation.ts";
import { budgetStatus } from "./plan-budget.ts";
import { openQuestions, questionHeadline } from "./open-questions.ts";
import { cutEnd, spanOf } from "./shapes.ts";
import { stepStatus } from "./step-status.ts";
import type { PlanStatus, TaskDetail, TaskLine, TaskStatusInput, TaskStatusOutput } from "./task-status.ts";
import { untilNews } from "./until-news.ts";

const MAX_TASKS = 50;
const MAX_PLANS = 20;
const MAX_NOTE = 160;
/** Longer lists tell no titles, and of what goes its way no more than the state. */
const SHORT_LIST = 20;
const MAX_NOTE_IN_LONG_LIST = 80;
/** What a list may cost a parent's model: some 1,300 tokens. Whoever asks for each `why` pays for it. */
const MAX_LIST = 4_000;
const MAX_LIST_WITH_WHY = 20_000;
const MAX_TEXT = 12_000;

export async function reportStatus(app: App, value: TaskStatusInput, call: OperationCall): Promise<TaskStatusOutput> {
  const only = value.task !== undefined ? await app.findTask(value.task) : null;
  const planId =
    only === null ? (value.plan === undefined ? null : await app.openPlan(value.plan)) : (only.split("/")[0] ?? "");
  if (value.waitSeconds !== undefined && value.waitSeconds > 0) {
    const since = value.since ?? app.parts.store.events.lastSeq();
    // Who has not seen them yet waits for nothing else.
    const isAsked = value.since === undefined && openQuestions(app, planId, only).total > 0;
    if (!isAsked)
      await untilNews(app, { scope: { planId, task: only }, since, waitMs: value.waitSeconds * 1000 }, call);
  }
  const { store, board, clock } = app.parts;
  if (planId !== null && isSettled(board.plan(planId))) await untilTidied(app, planId);
  if (planId === null && [...board.plans()].length === 0) await app.openRecentPlans(3);
  const seq = store.events.lastSeq();
  const plans =
    planId === null
      ? [...board.plans()].filter((plan) => value.since !== undefined || !isSettled(plan))
      : [board.plan(planId)];
  const shown = (planId === null && plans.length === 0 ? lastPlans(board.plans()) : plans).slice(-MAX_PLANS);
  const changed = value.since === undefined ? null : changedSince(app, value.since, shown);
  const nowMs = clock.nowMs();
  const wantsWhy = value.include?.includes("why") ?? false;
  const statuses =
    only === null
      ? shown.map((plan) => planStatus(app, plan, { changed, offset: value.offset ?? 0, wantsWhy, nowMs }))
      : [];
  const detail = only === null ? undefined : await taskDetail(app, board.node(only), value, nowMs);
  const { questions, total } = openQuestions(app, planId, only);
  const notices = app.notices();
  return {
    ...withQuestions(withNotices(headline(statuses, detail, seq), notices), questionHeadline(questions, total)),
    seq,
    ...(notices.length === 0 ? {} : { notices }),
    questions,
    plans: statuses,
    ...(detail === undefined ? {} : { task: detail }),
  };
}

/** A plan that is told as ended has left no branch and no worktree; one that takes long to delete holds up no answer. */
async function untilTidied(app: App, planId: string): Promise<void> {
  const late = new AbortController();
  const wait = delay(TIDY_WAIT_MS, undefined, { signal: late.signal }).catch(() => undefined);
  await Promise.race([app.scheduler.tidied(planId), wait]);
  late.abort();
}

const TIDY_WAIT_MS = 5_000;

function isSettled(plan: PlanNode): boolean {
  const { state } = standingOf(plan);
  return state === "succeeded" || state === "failed";
}

function lastPlans(plans: Iterable<PlanNode>): PlanNode[] {
  return [...plans].sort((left, right) => left.record.createdAtMs - right.record.createdAtMs).slice(-3);
}

function changedSince(app: App, since: number, plans: readonly PlanNode[]): Set<TaskKey> {
  const { events } = app.parts.store;
  return new Set(
    plans.flatMap(({ record: { id } }) => events.tasksSince(id, since).map((task) => `${id}/${task}` as const)),
  );
}

/** What a reader must see first. */
const URGENCY: Readonly<Record<TaskState, number>> = {
  failed: 0,
  waiting: 1,
  blocked: 2,
  running: 3,
  merging: 4,
  ready: 5,
  pending: 6,
  cancelled: 7,
  skipped: 8,
  succeeded: 9,
};

function planStatus(
  app: App,
  plan: PlanNode,
  options: { changed: ReadonlySet<string> | null; offset: number; wantsWhy: boolean; nowMs: number },
): PlanStatus {
  const standing = standingOf(plan);
  // What holds a plan up is told each time, once nothing else moves.
  const showsStuck = standing.state !== "running";
  const nodes = [...plan.nodes.values()].filter(
    ({ record }) => options.changed === null || options.changed.has(taskKey(record)) || (showsStuck && isStuck(record)),
  );
  nodes.sort(
    (left, right) =>
      URGENCY[left.record.state] - URGENCY[right.record.state] || left.record.ordinal - right.record.ordinal,
  );
  const isLong = nodes.length > SHORT_LIST;
  const { record } = plan;
  const budget = budgetStatus(plan);
  const page: TaskLine[] = [];
  let room = options.wantsWhy ? MAX_LIST_WITH_WHY : MAX_LIST;
  for (const node of nodes.slice(options.offset, options.offset + MAX_TASKS)) {
    const line = taskLine(app, node, { ...options, isLong });
    room -= JSON.stringify(line).length + 1;
    if (room < 0 && page.length > 0) break;
    page.push(line);
  }
  return {
    plan: record.id,
    goal: record.goal === null ? null : cutEnd(record.goal, 300),
    target: record.target,
    state: standing.state,
    paused: record.paused,
    createdAt: new Date(record.createdAtMs).toISOString(),
    counts: Object.fromEntries(Object.entries(standing.counts).filter(([, count]) => count > 0)),
    total: standing.total,
    costUsd: app.costOf(record.id),
    ...(budget === null ? {} : { budget }),
    tasks: page,
    more: Math.max(0, nodes.length - options.offset - page.length),
  };
}

/** Whether it goes on only when somebody acts. */
function isStuck({ state, wait }: TaskRecord): boolean {
  return state === "failed" || (wait !== null && needsPerson(wait.code));
}

function taskLine(
  app: App,
  node: TaskNode,
  { wantsWhy, nowMs, isLong }: { wantsWhy: boolean; nowMs: number; isLong: boolean },
): TaskLine {
  const { record } = node;
  const why = explainNow(app, record, nowMs);
  const note = isLong && !wantsWhy && SAYS_IT_ALL.has(why.state) ? null : noteOf(app, record, why);
  const startedAtMs = record.state === "running" ? startOf(app, record) : null;
  // Of what failed the note says it all: fifty of them must stay short.
  const showsWhy = wantsWhy || (record.wait !== null && needsPerson(record.wait.code));
  return {
    task: taskKey(record),
    ...(!isLong && record.spec.title !== record.id ? { title: record.spec.title } : {}),
    state: why.state,
    note: note === null ? null : cutEnd(note.replaceAll(/\s+/g, " "), isLong ? MAX_NOTE_IN_LONG_LIST : MAX_NOTE),
    ...(startedAtMs === null
      ? {}
      : { startedAt: new Date(startedAtMs).toISOString(), runsFor: spanOf(nowMs - startedAtMs) }),
    ...stepStatus(app, record),
    ...(showsWhy ? { why: whyOf(why) } : {}),
  };
}

/** The board knows nothing of a question whose asker is held at work. */
function explainNow(app: App, record: TaskRecord, nowMs: number): Explanation {
  const why = explainTask(app.parts.board, taskKey(record), nowMs);
  const held = heldWait(app.scheduler.questions, record);
  return held === null ? why : { ...why, message: `${why.message}; ${held.message}`, command: held.command };
}

/** What needs no word in a long list: it is done, or its turn comes. */
const SAYS_IT_ALL: ReadonlySet<TaskState> = new Set(["succeeded", "skipped", "cancelled", "pending", "ready"]);

/** When the agent that runs now began; null while its worktree is being made ready. */
function startOf(app: App, { planId, id }: TaskRecord): number | null {
  const last = app.parts.store.attempts.listByTask(planId, id).at(-1);
  return last === undefined || last.endedAtMs !== null ? null : last.startedAtMs;
}

function noteOf(app: App, record: TaskRecord, why: Explanation): string | null {
  if (record.state === "succeeded") {
    return app.parts.store.tasks.getWork(record.planId, record.id)?.report?.summary ?? record.message;
  }
  if (record.state === "running" && why.code === null) {
    const words = [record.ledger.attempts > 1 ? `attempt ${record.ledger.attempts}` : null, record.message];
    return words.filter((one) => one !== null).join("; ") || null;
  }
  if (record.state === "pending" || record.state === "ready") return why.state === record.state ? null : why.message;
  const time = timeWords(why.code, why.untilMs, why.message);
  return time === null ? why.message : `${time}: ${why.message}`;
}

function whyOf(why: Explanation): TaskLine["why"] {
  return {
    code: why.code,
    message: why.message,
    command: why.command,
    until: why.untilMs === null ? null : new Date(why.untilMs).toISOString(),
    waitsFor: [...why.waitsFor],
  };
}

const verdictSchema = z.enum(["approve", "reject"]);
const reportShape = z.object({ status: z.string(), summary: z.string(), verdict: z.string().optional() });

async function taskDetail(app: App, node: TaskNode, value: TaskStatusInput, nowMs: number): Promise<TaskDetail> {
  const { store } = app.parts;
  const { record, plan } = node;
  const work = store.tasks.getWork(record.planId, record.id);
  const attempts = store.attempts.listByTask(record.planId, record.id);
  const include = new Set(value.include ?? []);
  const offset = value.offset ?? 0;
  const report = reportShape.safeParse(work?.report);
  return {
    ...taskLine(app, node, { wantsWhy: true, nowMs, isLong: false }),
    plan: plan.record.id,
    agent: record.spec.agent,
    ...providersNow(record),
    spent: { ...record.ledger },
    prompt: cutEnd(record.spec.prompt, 2_000),
    dependsOn: [...record.spec.dependsOn],
    ...(record.spec.continues === null ? {} : { continues: record.spec.continues }),
    writes: record.spec.writes === null ? null : [...record.spec.writes],
    branch: work?.branch ?? null,
    worktree: work?.worktree ?? null,
    mergedSha: record.mergedSha,
    ...(work?.endedAtMs == null ? {} : { endedAt: new Date(work.endedAtMs).toISOString() }),
    report: report.success ? { ...report.data, summary: cutEnd(report.data.summary, MAX_TEXT) } : null,
    verifyOutput: work?.verifyOutput ?? null,
    attempts: attempts.slice(-10).map((attempt) => ({
      number: attempt.number,
      step: attempt.step + 1,
      agent: attempt.role,
      verdict: verdictSchema.safeParse(attempt.report?.verdict).data ?? null,
      provider: attempt.provider,
      model: attempt.model,
      state: attempt.state,
      outcome: attempt.outcome,
      cause: attempt.cause,
      message: attempt.message === null ? null : cutEnd(attempt.message, 500),
      session: attempt.sessionId,
      startedAt: new Date(attempt.startedAtMs).toISOString(),
      endedAt: attempt.endedAtMs === null ? null : new Date(attempt.endedAtMs).toISOString(),
      costUsd: attempt.costUsd,
      ...(attempt.tokens === null ? {} : { tokens: tokensOf(attempt.tokens) }),
      denied: attempt.denials.slice(0, 20).map((denial) => cutEnd(denial, 200)),
    })),
    ...(include.has("output") ? { output: lastPage(attempts.at(-1)?.finalText ?? "", offset) } : {}),
    ...(include.has("diff") ? { diff: page(await app.diffOf(taskKey(record)), offset) } : {}),
    ...(include.has("history") ? { history: historyOf(app.parts.store, record, offset) } : {}),
  };
}

/** The one it is with, then those it may go to. */
function providersNow(record: TaskRecord): { provider: string; otherProviders?: string[] } {
  const [provider = "", ...others] = isEnded(record.state) ? [record.provider] : candidatesOf(record);
  return others.length === 0 ? { provider } : { provider, otherProviders: others };
}

function page(text: string, offset: number): string {
  const rest = text.length - offset - MAX_TEXT;
  return (
    text.slice(offset, offset + MAX_TEXT) +
    (rest > 0 ? `\n… ${rest} more characters: call again with offset: ${offset + MAX_TEXT}` : "")
  );
}

/** The end first: an agent's last words tell what came of it. `offset` counts from there. */
function lastPage(text: string, offset: number): string {
  const end = Math.max(0, text.length - offset);
  const begin = Math.max(0, end - MAX_TEXT);
  const before = begin === 0 ? "" : `… ${begin} characters before: call again with offset: ${offset + end - begin}\n`;
  return before + text.slice(begin, end);
}

function headline(
  plans: readonly PlanStatus[],
  detail: TaskDetail | undefined,
  seq: number,
): { summary: string; next: string } {
  if (detail !== undefined) {
    const command = detail.why?.command ?? null;
    const code = detail.why?.code ?? null;
    // A provider that is shut opens by itself: a parent that retried all the time would only be refused.
    const isMoving = !isEnded(detail.state) && (command === null || code === "usage-limit" || code === "circuit-open");
    return {
      summary: `${detail.task} is ${detail.state}${detail.note === null ? "" : `: ${detail.note}`}.`,
      next: isMoving ? waitCall({ task: detail.task }, seq) : asCall(command ?? ""),
    };
  }
  if (plans.length === 0) return { summary: "There are no plans.", next: "create_plan" };
  const done = plans.reduce((sum, plan) => sum + (plan.counts["succeeded"] ?? 0) + (plan.counts["skipped"] ?? 0), 0);
  const total = plans.reduce((sum, plan) => sum + plan.total, 0);
  const summary = `${plans.map((plan) => `${plan.plan} ${plan.state}`).join(", ")}: ${done} of ${total} tasks done.`;
  return { summary, next: nextStep(plans, seq) };
}

function nextStep(plans: readonly PlanStatus[], seq: number): string {
  for (const plan of plans) {
    if (plan.state !== "needs-person") continue;
    if (plan.paused) return asCall(`orchestrator resume ${plan.plan}`);
    const stuck = plan.tasks.find((task) => task.why?.command != null && task.state !== "blocked");
    if (stuck?.why?.command != null) return asCall(stuck.why.command);
  }
  const [only] = plans;
  if (plans.some((plan) => plan.state === "running")) {
    return waitCall(plans.length === 1 && only !== undefined ? { plan: only.plan } : {}, seq);
  }
  const failed = plans.find((plan) => plan.state === "failed");
  return failed === undefined ? "" : `${asCall(`orchestrator retry ${failed.plan}`)} runs what failed again`;
}

function waitCall(what: { readonly plan?: string; readonly task?: string }, seq: number): string {
  return `task_status ${JSON.stringify({ ...what, waitSeconds: 45, since: seq })}`;
}

const CONTROL_COMMAND = /^orchestrator (pause|resume|cancel|retry|skip|merge|approve|release) ([^\s;]+)$/;

const RAISE_COMMAND = /^orchestrator edit ([^\s;]+)((?: --budget (?:usd|tokens|minutes)=[\d.]+)+)$/;

/** A command as a person types it, in the words of the tool that does the same: a parent has the tools at hand. */
function asCall(command: string): string {
  const raised = RAISE_COMMAND.exec(command);
  if (raised !== null) {
    const [, plan = "", bounds = ""] = raised;
    const budget = Object.fromEntries(
      [...bounds.matchAll(/(usd|tokens|minutes)=([\d.]+)/g)].map(([, unit = "", amount]) => [unit, Number(amount)]),
    );
    return `update_plan ${JSON.stringify({ plan, budget })}`;
  }
  const [, action, name] = CONTROL_COMMAND.exec(command) ?? [];
  if (action === undefined || name === undefined) return command;
  return `control ${JSON.stringify({ action, [name.includes("/") ? "task" : "plan"]: name })}`;
}

/** What concerns every plan comes before what concerns one. */
function withNotices<Headline extends { summary: string }>(headline: Headline, notices: readonly string[]): Headline {
  const told = notices.map((notice) => `${notice.charAt(0).toUpperCase()}${notice.slice(1)}.`);
  return { ...headline, summary: [...told, headline.summary].join(" ") };
}

/** Whoever can answer does so before anything else. */
function withQuestions(
  headline: { summary: string; next: string },
  asked: { summary: string; next: string } | null,
): { summary: string; next: string } {
  return asked === null ? headline : { summary: `${asked.summary} ${headline.summary}`, next: asked.next };
}
