/** Plans and tasks as lists: values in, lines out. Given a width, every line fits it. */
import type { PlanStatus, TaskDetail, TaskLine, TaskStatusOutput } from "../operations/task-status.ts";
import { providersOf, spentText } from "../operations/task-words.ts";
import { standingWords } from "../plan/budget-words.ts";
import { TASK_STATES, type TaskState } from "../plan/task-state.ts";
import { renderOpenQuestions } from "./render-questions.ts";
import { displayWidth, padToWidth, plainLine } from "./plain-text.ts";
import { renderCost, renderDuration } from "./render-time.ts";
import { cutLine, indented, styled, type Line, type Span, type Style } from "./styled.ts";
import { stateSign, stateStyle } from "./task-sign.ts";

export interface RowOptions {
  readonly width: number;
  /** When a task's agent began, where it is known. */
  readonly startedAtMs?: ReadonlyMap<string, number>;
  readonly nowMs?: number;
}

export function renderStatus(status: TaskStatusOutput, width: number): Line[] {
  const asked = renderOpenQuestions(status.questions);
  const notices = (status.notices ?? []).flatMap((notice) => renderNotice(notice, width));
  const above = [
    ...(notices.length === 0 ? [] : [...notices, []]),
    ...(asked.length === 0 ? [] : [...asked.map((line) => fit(line, width)), []]),
  ];
  if (status.task !== undefined) return [...above, ...renderTask(status.task)];
  if (status.plans.length === 0) return [...above, ["There are no plans. `orchestrator run FILE` carries one out."]];
  return [
    ...above,
    ...status.plans.flatMap((plan, index) => [...(index === 0 ? [] : [[]]), ...renderPlan(plan, { width })]),
  ];
}

export function renderPlan(plan: PlanStatus, options: RowOptions): Line[] {
  const lines = [planHeader(plan), ...taskRows(plan.tasks, options)];
  if (plan.more > 0) lines.push([styled(`  … and ${plan.more} more tasks`, "dim")]);
  return lines.map((line) => fit(line, options.width));
}

const PLAN_STYLES: Readonly<Record<PlanStatus["state"], Style>> = {
  running: "cyan",
  "needs-person": "yellow",
  succeeded: "green",
  failed: "red",
};

export function planHeader(plan: PlanStatus): Line {
  const state = plan.state === "needs-person" ? "waits for a person" : plan.state;
  const parts = [`${doneOf(plan)}/${plan.total} done`];
  for (const name of TASK_STATES) {
    const count = plan.counts[name] ?? 0;
    if (count > 0 && name !== "succeeded" && name !== "skipped") parts.push(`${count} ${name}`);
  }
  const cost = renderCost(plan.costUsd);
  if (cost !== null) parts.push(cost);
  const budget = budgetText(plan);
  if (budget !== null) parts.push(`budget: ${budget}`);
  return [
    styled(plan.plan, "bold"),
    ` → ${plan.target}  `,
    styled(plan.paused ? `${state} (paused)` : state, PLAN_STYLES[plan.state]),
    styled(`  ${parts.join(" · ")}`, "dim"),
  ];
}

function budgetText({ budget }: PlanStatus): string | null {
  if (budget === undefined) return null;
  return standingWords({ limits: budget.limits, spent: budget.used, reserved: budget.reserved });
}

export function doneOf(plan: Pick<PlanStatus, "counts">): number {
  return (plan.counts["succeeded"] ?? 0) + (plan.counts["skipped"] ?? 0);
}

/** Columns line up; where the terminal is narrow the note goes first, then long ids are cut. */
export function taskRows(tasks: readonly TaskLine[], options: RowOptions): Line[] {
  const names = tasks.map((task) => plainLine(taskIdOf(task.task)));
  const longest = Math.max(0, ...names.map(displayWidth));
  const nameWidth = Math.min(longest, options.width === Infinity ? 64 : Math.max(8, Math.floor(options.width / 3)));
  return tasks.map((task, index) => {
    const style = stateStyle(task.state);
    const name: Line = cutLine([padToWidth(names[index] ?? "", nameWidth)], nameWidth);
    const row: Span[] = ["  ", styled(stateSign(task.state), style), " ", ...name, " "];
    row.push(styled(padToWidth(task.state, 9), style));
    const startedAtMs = options.startedAtMs?.get(task.task);
    if (task.state === "running" && startedAtMs !== undefined && options.nowMs !== undefined) {
      row.push(" ", renderDuration(options.nowMs - startedAtMs));
    }
    if (task.step !== undefined && task.why === undefined) row.push(styled(` ${task.step}`, "cyan"));
    const note = noteOf(task);
    if (note !== null) row.push(" ", styled(note, task.state === "failed" ? "red" : "dim"));
    return fit(row, options.width);
  });
}

function noteOf(task: TaskLine): string | null {
  const command = task.why?.command ?? null;
  const note = task.note ?? task.title ?? null;
  // What is blocked has its failed task's command, which stands there already.
  if (command === null || task.state === "blocked") return note;
  return `${note ?? ""} → ${command}`;
}

/** One task in full. */
function renderTask(task: TaskDetail): Line[] {
  const fields: [string, string | null][] = [
    ["title", task.title ?? null],
    ["agent", task.agent],
    ["provider", providersOf(task)],
    ["spent", spentText(task.spent)],
    ["step", task.step ?? null],
    ["rejected", task.rejects === undefined ? null : `${task.rejects} ${task.rejects === 1 ? "time" : "times"}`],
    ["after", task.dependsOn.length === 0 ? null : task.dependsOn.join(", ")],
    ["writes", task.writes === null ? "(no claim)" : task.writes.length === 0 ? "nothing" : task.writes.join(", ")],
    ["branch", task.branch],
    ["worktree", task.worktree],
    ["merged as", task.mergedSha],
    ["report", task.report === null ? null : `${task.report.status}: ${task.report.summary}`],
  ];
  const lines: Line[] = [
    [styled(task.task, "bold"), "  ", styled(`${stateSign(task.state)} ${task.state}`, stateStyle(task.state))],
    ...renderWhy(task),
    ...fields.flatMap(([name, value]): Line[] => (value === null ? [] : [[`  ${name}: ${value}`]])),
    ["  prompt:"],
    ...beginning(indented(task.prompt, 4)),
  ];
  for (const attempt of task.attempts) {
    const outcome = attempt.verdict === null ? (attempt.outcome ?? attempt.state) : attempt.verdict;
    const how = [outcome, attempt.cause, attempt.message].filter((part) => part !== null);
    const who = attempt.agent === task.agent ? attempt.provider : `${attempt.agent}, ${attempt.provider}`;
    const cost = renderCost(attempt.costUsd);
    lines.push([`  attempt ${attempt.number} (${who}): ${how.join(": ")}${cost === null ? "" : ` (${cost})`}`]);
    if (attempt.denied.length > 0) lines.push([`    was denied: ${attempt.denied.join(", ")}`]);
  }
  if (task.verifyOutput !== null) lines.push(["  verify said:"], ...indented(task.verifyOutput, 4));
  if (task.output !== undefined && task.output !== "") lines.push(["  last words:"], ...indented(task.output, 4));
  return lines;
}

/** Why it is as it is, and what clears it. */
export function renderWhy(task: Pick<TaskDetail, "why" | "note">): Line[] {
  const { why } = task;
  if (why === undefined) return task.note === null ? [] : [[`  ${task.note}`]];
  const lines: Line[] = [[`  ${why.code === null ? "" : `${why.code}: `}${why.message}`]];
  if (why.waitsFor.length > 0 && why.code !== "dependencies") lines.push([`  waits for: ${why.waitsFor.join(", ")}`]);
  if (why.until !== null) lines.push([`  until: ${why.until}`]);
  if (why.command !== null) lines.push(["  clear it with: ", styled(why.command, "bold")]);
  return lines;
}

export function taskIdOf(task: string): string {
  return task.slice(task.indexOf("/") + 1);
}

/** For sorting and hiding: nothing will happen there any more. */
export function isDone(state: TaskState): boolean {
  return state === "succeeded" || state === "skipped" || state === "cancelled";
}

/** Who approves a proposal sees what it would do. */
const MAX_PROMPT_LINES = 12;

function beginning(lines: readonly Line[]): Line[] {
  const hidden = lines.length - MAX_PROMPT_LINES;
  if (hidden <= 0) return [...lines];
  return [...lines.slice(0, MAX_PROMPT_LINES), [styled(`    … ${hidden} more lines`, "dim")]];
}

function fit(line: Line, width: number): Line {
  return width === Infinity ? line : cutLine(line, width);
}

/** Whole, in as many lines as it takes: its end says what to do. */
function renderNotice(notice: string, width: number): Line[] {
  const rows: string[] = [];
  for (const word of plainLine(notice).split(" ")) {
    const row = rows.at(-1);
    if (row === undefined || displayWidth(row) + 1 + displayWidth(word) > width - 2) rows.push(word);
    else rows[rows.length - 1] = `${row} ${word}`;
  }
  return rows.map((row, index): Line => fit([styled(index === 0 ? "! " : "  ", "yellow"), row], width));
}
