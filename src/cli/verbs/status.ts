/** `orchestrator status`: all open plans, one plan, or one task; with --watch as they change. */
import type { TaskStatusOutput } from "../../operations/task-status.ts";
import { openEngineSession, type EngineSession } from "../engine-session.ts";
import { EventFeed } from "../event-feed.ts";
import { EXIT } from "../exit-codes.ts";
import { LiveScreen } from "../live-screen.ts";
import { callByName, type Subject } from "../plan-or-task.ts";
import { renderStatus } from "../render-status.ts";
import { renderSummary } from "../render-summary.ts";
import type { Line } from "../styled.ts";
import type { Terminal } from "../terminal.ts";
import type { VerbRunner } from "../verb.ts";
import { watchPlan } from "../watch-plan.ts";

const GATHER_MS = 150;
const LOOK_AGAIN_MS = 5_000;

export const runStatus: VerbRunner = async (invocation, terminal) => {
  const [name] = invocation.positionals;
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const feed = new EventFeed(session.client, null);
    const ask = (subject: Subject | null): Promise<TaskStatusOutput> =>
      session.call("task_status", { ...subject, include: ["why"] });
    let subject: Subject | null = null;
    const first = name === undefined ? await ask(null) : await callByName(name, (found) => ask((subject = found)));
    if (!invocation.has("watch")) {
      if (invocation.json) terminal.printJson(first);
      else terminal.print(...renderStatus(first, widthOf(terminal)));
      return EXIT.succeeded;
    }
    const planId = subject !== null && "plan" in subject ? first.plans[0]?.plan : undefined;
    if (planId !== undefined) {
      const summary = await watchPlan({ session, feed, planId, terminal, json: invocation.json, interrupted: null });
      if (invocation.json) terminal.printJson(summary);
      else terminal.print(...renderSummary(summary));
      return EXIT.succeeded;
    }
    await watchAll({ session, feed, terminal, json: invocation.json, ask: () => ask(subject) }, first);
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

interface WatchAll {
  readonly session: EngineSession;
  readonly feed: EventFeed;
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly ask: () => Promise<TaskStatusOutput>;
}

/** Until the engine is stopped, the task ends, or Ctrl-C. */
async function watchAll({ feed, terminal, json, ask }: WatchAll, first: TaskStatusOutput): Promise<void> {
  const screen = new LiveScreen(terminal);
  feed.listen(() => undefined);
  let shown = "";
  try {
    for (let status = first; ; status = await ask()) {
      const lines = renderStatus(status, widthOf(terminal));
      const { seq: _seq, ...facts } = status;
      const text = JSON.stringify(facts);
      if (json && text !== shown) terminal.printJson(status);
      else if (!json && terminal.isInteractive) screen.draw(fitRows(lines, terminal.rows() - 1));
      else if (!json && text !== shown) terminal.print(...lines, []);
      shown = text;
      const isOver =
        status.task !== undefined && ["succeeded", "skipped", "failed", "cancelled"].includes(status.task.state);
      if (isOver || feed.isEnded) break;
      await feed.beyond(status.seq, LOOK_AGAIN_MS);
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
    }
  } finally {
    screen.close();
  }
  if (!json && terminal.isInteractive) terminal.print(...renderStatus(await ask(), widthOf(terminal)));
}

function fitRows(lines: readonly Line[], rows: number): readonly Line[] {
  return lines.length <= rows ? lines : [...lines.slice(0, rows - 1), [`… ${lines.length - rows + 1} more lines`]];
}

function widthOf(terminal: Terminal): number {
  return terminal.isInteractive ? terminal.columns() - 1 : Infinity;
}
