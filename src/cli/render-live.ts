/** The list that `run` and `status --watch` redraw in place: never more lines than the terminal has, none too wide. */
import type { OpenQuestion } from "../operations/open-questions.ts";
import type { PlanStatus } from "../operations/task-status.ts";
import { renderOpenQuestions } from "./render-questions.ts";
import { renderDuration } from "./render-time.ts";
import { isDone, planHeader, taskRows } from "./render-status.ts";
import { cutLine, styled, type Line } from "./styled.ts";

export interface LiveView {
  readonly plan: PlanStatus;
  readonly questions: readonly OpenQuestion[];
  readonly startedAtMs: ReadonlyMap<string, number>;
  readonly beganAtMs: number;
  readonly nowMs: number;
  /** Shown last: what Ctrl-C does, or that it was pressed. */
  readonly hint: string | null;
}

export function renderLive(view: LiveView, size: { readonly columns: number; readonly rows: number }): Line[] {
  const { plan, nowMs } = view;
  // A full last column makes some terminals wrap; a full last row makes all of them scroll.
  const width = size.columns - 1;
  const header: Line = [...planHeader(plan), styled(`  ${renderDuration(nowMs - view.beganAtMs)}`, "dim")];
  const footer: Line[] = view.hint === null ? [] : [[styled(view.hint, "dim")]];
  // Half of the screen at most: the tasks are of interest too.
  const asked = renderOpenQuestions(view.questions.slice(0, Math.max(1, Math.floor(size.rows / 2) - 1)));
  const room = Math.max(1, size.rows - 2 - footer.length - asked.length);
  const { shown, hidden } = choose(plan, room);
  const rows = taskRows(shown, { width, startedAtMs: view.startedAtMs, nowMs });
  if (hidden > 0) rows.push([styled(`  … ${hidden} more`, "dim")]);
  return [header, ...asked, ...rows, ...footer].map((line) => cutLine(line, width));
}

/** What is done goes first when there is too much, then what is furthest from an end: the list comes sorted by urgency. */
function choose(plan: PlanStatus, room: number): { shown: PlanStatus["tasks"]; hidden: number } {
  if (plan.tasks.length <= room && plan.more === 0) return { shown: plan.tasks, hidden: 0 };
  const open = plan.tasks.filter((task) => !isDone(task.state));
  const done = plan.tasks.filter((task) => isDone(task.state));
  const shown = [...open, ...done].slice(0, Math.max(0, room - 1));
  return { shown, hidden: plan.tasks.length + plan.more - shown.length };
}
