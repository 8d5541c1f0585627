/** Shows a plan while it runs, as fits the output: a list redrawn in place, a line for each change, or JSON lines. */
import type { StoredEvent } from "../events/event.ts";
import type { OpenQuestion } from "../operations/open-questions.ts";
import type { PlanStatus } from "../operations/task-status.ts";
import type { EngineSession } from "./engine-session.ts";
import type { EventFeed } from "./event-feed.ts";
import { followPlan } from "./follow-plan.ts";
import { LiveScreen } from "./live-screen.ts";
import { renderChange } from "./render-event.ts";
import { answerCommand, openQuestionLine } from "./render-questions.ts";
import { renderLive } from "./render-live.ts";
import { taskIdOf } from "./render-status.ts";
import { summarize, type Summary } from "./render-summary.ts";
import type { Line } from "./styled.ts";
import type { Terminal } from "./terminal.ts";

export interface WatchOptions {
  readonly session: EngineSession;
  readonly feed: EventFeed;
  readonly planId: string;
  readonly terminal: Terminal;
  readonly json: boolean;
  /** Aborted: the plan is paused, and the summary tells how to go on. Null: watching changes nothing. */
  readonly interrupted: AbortSignal | null;
  /** Each event, for whoever shows more than this does. */
  readonly onEvent?: (event: StoredEvent) => void;
}

/** Resolves when the plan settles; prints everything but the summary. */
export async function watchPlan(options: WatchOptions): Promise<Summary> {
  const { session, feed, planId, interrupted } = options;
  const beganAtMs = Date.now();
  const facts = new PlanFacts(planId);
  const view = openView(options, facts, beganAtMs);
  const pause = (): void => {
    view.hint("pausing: agents are given time to end, their work is kept; Ctrl-C again leaves at once");
    // What can't be paused has ended; followPlan sees that by itself.
    void session.call("control", { action: "pause", plan: planId }).catch(() => undefined);
  };
  try {
    feed.listen((event) => {
      if (event.planId !== planId) return;
      facts.hear(event);
      options.onEvent?.(event);
      view.event(event);
    });
    if (interrupted?.aborted === true) pause();
    else interrupted?.addEventListener("abort", pause);
    const plan = await followPlan(session, feed, planId, (status, questions) => view.status(status, questions));
    const isInterrupted = interrupted?.aborted ?? false;
    return summarize({ plan, merged: facts.merged, elapsedMs: Date.now() - beganAtMs, isInterrupted });
  } finally {
    interrupted?.removeEventListener("abort", pause);
    view.close();
  }
}

/** The same as a program reads it. */
export function eventJson({ seq, atMs, planId, taskId, attemptId, body }: StoredEvent): Record<string, unknown> {
  const task = taskId === null ? null : `${planId ?? ""}/${taskId}`;
  const command = body.type === "question-asked" ? { command: answerCommand(body.id) } : {};
  return { ...body, ...command, seq, at: new Date(atMs).toISOString(), plan: planId, task, attempt: attemptId };
}

/** What only events tell. */
class PlanFacts {
  readonly startedAtMs = new Map<string, number>();
  readonly merged: { task: string; sha: string }[] = [];
  readonly #planId: string;

  constructor(planId: string) {
    this.#planId = planId;
  }

  hear({ body, taskId, atMs }: StoredEvent): void {
    if (taskId === null) return;
    const task = `${this.#planId}/${taskId}`;
    if (body.type === "task-state" && body.to === "running") this.startedAtMs.set(task, atMs);
    if (body.type === "merge-ended" && body.sha !== null) this.merged.push({ task, sha: body.sha });
  }
}

interface View {
  event(event: StoredEvent): void;
  status(plan: PlanStatus, questions: readonly OpenQuestion[]): void;
  hint(text: string): void;
  close(): void;
}

function openView(options: WatchOptions, facts: PlanFacts, beganAtMs: number): View {
  const { terminal } = options;
  const nothing = (): void => undefined;
  const waiting = waitingSince(beganAtMs);
  if (options.json) {
    return {
      event: (event) => terminal.printJson(eventJson(event)),
      status: (_plan, questions) => {
        for (const question of waiting(questions)) terminal.printJson(waitingJson(question, options.planId));
      },
      hint: nothing,
      close: nothing,
    };
  }
  if (terminal.isInteractive) return openLiveView(options, facts, beganAtMs);
  const print = (line: Line | null): void => {
    if (line !== null) terminal.print(line);
  };
  return {
    event: (event) => print(renderChange(event)),
    status: (_plan, questions) => {
      for (const question of waiting(questions)) {
        print(openQuestionLine({ ...question, task: taskIdOf(question.task) }));
      }
    },
    hint: (text) => terminal.note(text),
    close: nothing,
  };
}

/** Questions that were asked before the plan was watched: no event will tell of them. Each once. */
function waitingSince(beganAtMs: number): (questions: readonly OpenQuestion[]) => OpenQuestion[] {
  const told = new Set<string>();
  return (questions) => {
    const untold = questions.filter(({ id, askedAt }) => !told.has(id) && Date.parse(askedAt) < beganAtMs);
    for (const { id } of untold) told.add(id);
    return untold;
  };
}

function waitingJson(question: OpenQuestion, planId: string): Record<string, unknown> {
  return { type: "question-waiting", ...question, command: answerCommand(question.id), plan: planId };
}

/** Often enough for a clock that counts seconds; seldom enough that a slow terminal keeps up. */
const REDRAW_MS = 500;

function openLiveView({ terminal, interrupted }: WatchOptions, facts: PlanFacts, beganAtMs: number): View {
  const screen = new LiveScreen(terminal);
  let plan: PlanStatus | null = null;
  let questions: readonly OpenQuestion[] = [];
  let hint = interrupted === null ? null : "Ctrl-C pauses the plan";
  const draw = (): void => {
    if (plan === null) return;
    const view = { plan, questions, startedAtMs: facts.startedAtMs, beganAtMs, nowMs: Date.now(), hint };
    screen.draw(renderLive(view, { columns: terminal.columns(), rows: terminal.rows() }));
  };
  const timer = setInterval(draw, REDRAW_MS);
  const offResize = terminal.onResize(draw);
  return {
    event: () => undefined,
    status: (status, asked) => {
      plan = status;
      questions = asked;
      draw();
    },
    hint: (text) => {
      hint = text;
      draw();
    },
    close: () => {
      clearInterval(timer);
      offResize();
      screen.close();
    },
  };
}
