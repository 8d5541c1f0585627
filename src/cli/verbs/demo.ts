/** `orchestrator demo`: a plan carried out before one's eyes, in a repository that is thrown away. Needs no agent CLI. */
import { randomUUID } from "node:crypto";
import type { StoredEvent } from "../../events/event.ts";
import { checkDemo } from "../demo/check-demo.ts";
import { DEMO_NAME, DEMO_TASKS } from "../demo/demo-plan.ts";
import { makeDemoRepository, type DemoRepository } from "../demo/demo-repository.ts";
import { openEngineSession, type EngineSession } from "../engine-session.ts";
import { EventFeed } from "../event-feed.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { readWholePlan } from "../follow-plan.ts";
import { catchInterrupts } from "../interrupts.ts";
import { renderGraph } from "../render-graph.ts";
import { renderSummary, type Summary } from "../render-summary.ts";
import { taskIdOf } from "../render-status.ts";
import { styled, type Line } from "../styled.ts";
import type { Terminal } from "../terminal.ts";
import type { VerbRunner } from "../verb.ts";
import { watchPlan } from "../watch-plan.ts";
import { stopEngine } from "./stop.ts";

export const runDemo: VerbRunner = async (invocation, terminal) => {
  const repository = makeDemoRepository();
  const interrupts = catchInterrupts();
  try {
    const session = await openEngineSession({ repo: repository.path, environment: repository.environment });
    try {
      return await show({ session, repository, terminal, json: invocation.json, interrupted: interrupts.signal });
    } finally {
      await session.close();
    }
  } finally {
    await leave(repository, invocation.has("keep"), terminal);
    interrupts.release();
  }
};

interface Demo {
  readonly session: EngineSession;
  readonly repository: DemoRepository;
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly interrupted: AbortSignal;
}

async function show({ session, repository, terminal, json, interrupted }: Demo): Promise<ExitCode> {
  const say = (...lines: readonly (Line | string)[]): void => {
    if (!json) terminal.print(...lines);
  };
  say(...introduction(repository.path), "");
  const feed = new EventFeed(session.client, null);
  const events: StoredEvent[] = [];
  const { plan: planId } = await session.call("create_plan", {
    name: DEMO_NAME,
    goal: "A small site, built by several agents at once",
    tasks: [...DEMO_TASKS],
    maxConcurrent: 4,
    key: randomUUID(),
  });
  const onEvent = (event: StoredEvent): void => void events.push(event);
  const summary = await watchPlan({ session, feed, planId, terminal, json, interrupted, onEvent });
  if (interrupted.aborted) return EXIT.interrupted;
  say(...renderSummary(summary), "");
  say([styled("The graph", "bold")], ...(await graphOf(session, planId)), "");
  say(
    [styled("The history", "bold")],
    ...repository.git("log", "--graph", "--oneline", "main").trimEnd().split("\n"),
    "",
  );
  say(...survived(events), "");
  return tellPromises({ repository, terminal, json }, summary, events);
}

function tellPromises(
  { repository, terminal, json }: Pick<Demo, "repository" | "terminal" | "json">,
  summary: Summary,
  events: readonly StoredEvent[],
): ExitCode {
  const promises = checkDemo(repository, summary, events);
  const isKept = promises.every(({ problem }) => problem === null);
  if (json) terminal.printJson({ ...summary, promises });
  else {
    terminal.print([styled("What was promised, and looked at", "bold")]);
    for (const { promise, problem } of promises) {
      if (problem === null) terminal.print([styled("✓", "green"), ` ${promise}`]);
      else terminal.print([styled("✗", "red"), ` ${promise}: ${problem}`]);
    }
  }
  return isKept ? EXIT.succeeded : EXIT.failed;
}

function introduction(path: string): string[] {
  return [
    `In ${path}, a repository that is thrown away afterwards, ${DEMO_TASKS.length} tasks build a small site.`,
    "Each is a shell command in a git worktree of its own; agent CLIs take their place in real plans.",
  ];
}

async function graphOf(session: EngineSession, planId: string): Promise<Line[]> {
  const { plan } = await readWholePlan(session, planId);
  const states = new Map(plan.tasks.map((task) => [taskIdOf(task.task), task.state]));
  return renderGraph(
    DEMO_TASKS.map(({ id, dependsOn, title }) => ({
      id,
      dependsOn: dependsOn ?? [],
      state: states.get(id) ?? "pending",
      note: title ?? null,
    })),
  );
}

function survived(events: readonly StoredEvent[]): Line[] {
  const lines: Line[] = [[styled("What was survived", "bold")]];
  for (const { taskId, body } of events) {
    if (body.type === "attempt-ended" && body.outcome === "failed") {
      lines.push([`${taskId ?? ""}: attempt ${body.number} failed (${body.message ?? body.cause ?? "?"})`]);
    }
    if (body.type === "task-state" && body.wait?.code === "lock")
      lines.push([`${taskId ?? ""} waited: ${body.wait.message}`]);
  }
  return lines;
}

/** Whatever happened before: nothing runs on and nothing is left. */
async function leave(repository: DemoRepository, isKept: boolean, terminal: Terminal): Promise<void> {
  await stopEngine(`${repository.path}/.git`, repository.path);
  if (isKept) terminal.note("", `kept: ${repository.folder} (ORCHESTRATOR_HOME=${repository.folder}/home)`);
  else repository.remove();
}
