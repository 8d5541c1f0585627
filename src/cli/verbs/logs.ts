/**
 * `orchestrator logs`: events from the first on, of everything, a plan or a task; or a conversation: of a task's agent,
 * or of the orchestrator role with the agents of a plan.
 */
import { AppError } from "../../errors.ts";
import type { StoredEvent } from "../../events/event.ts";
import { openEngineSession, type EngineSession, type Output } from "../engine-session.ts";
import { EventFeed } from "../event-feed.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { callByName, type Subject } from "../plan-or-task.ts";
import { renderLogLine } from "../render-event.ts";
import { renderCost } from "../render-time.ts";
import { styled, type Line } from "../styled.ts";
import type { Terminal } from "../terminal.ts";
import type { Invocation, VerbRunner } from "../verb.ts";
import { eventJson } from "../watch-plan.ts";

/** So often it is looked whether the feed has ended. */
const SILENCE_MS = 20_000;

export const runLogs: VerbRunner = async (invocation, terminal) => {
  const [name] = invocation.positionals;
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const { plan, task, seq } = await resolveName(session, name);
    if (invocation.has("turns")) {
      if (plan === null) throw new AppError("USAGE", "--turns shows one conversation: name PLAN/TASK, or a PLAN");
      return await printTurns(session, task === null ? { plan } : { task }, invocation, terminal);
    }
    const tell = (event: StoredEvent): void => {
      if (invocation.json) terminal.printJson(eventJson(event));
      else terminal.print(renderLogLine(event));
    };
    await readPast(session, { plan, task, seq }, tell);
    if (!invocation.has("follow")) return EXIT.succeeded;
    const feed = new EventFeed(session.client, seq);
    feed.listen((event) => {
      if (isAbout(event, plan, task)) tell(event);
    });
    while (!feed.isEnded) await feed.beyond(feed.lastSeq, SILENCE_MS);
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

interface About {
  readonly plan: string | null;
  readonly task: string | null;
  /** The last event when we asked. */
  readonly seq: number;
}

/** Asks the engine, so that a name that is not there is an error and not an empty log. */
async function resolveName(session: EngineSession, name: string | undefined): Promise<About> {
  const ask = (subject: Subject | null): ReturnType<typeof session.call<"task_status">> =>
    session.call("task_status", { ...subject });
  if (name === undefined) return { plan: null, task: null, seq: (await ask(null)).seq };
  const status = await callByName(name, ask);
  const task = status.task?.task ?? null;
  return { plan: status.task?.plan ?? status.plans[0]?.plan ?? name, task, seq: status.seq };
}

const PAGE = 1000;

/** The events up to `seq`, picked out by the engine: of a long history only what is asked for travels. */
async function readPast(
  session: EngineSession,
  { plan, task, seq }: About,
  tell: (event: StoredEvent) => void,
): Promise<void> {
  const about = task !== null ? { task } : plan !== null ? { plan } : {};
  for (let since = 0; since < seq;) {
    const { events } = await session.call("read_log", { ...about, since, limit: PAGE });
    for (const event of events) {
      // The engine is of this package: what it stored as an event is one.
      if (event.seq <= seq) tell(event as unknown as StoredEvent);
    }
    const last = events.at(-1)?.seq;
    if (last === undefined || events.length < PAGE) return;
    since = last;
  }
}

function isAbout(event: StoredEvent, plan: string | null, task: string | null): boolean {
  if (task !== null) return event.taskId !== null && `${event.planId ?? ""}/${event.taskId}` === task;
  return plan === null || event.planId === plan;
}

type Log = Output<"read_log">;

/** All of it, in order: pages come from the end. */
async function readTurns(
  session: EngineSession,
  about: Subject,
): Promise<{ readonly turns: Log["turns"]; readonly attempts: Log["attempts"] }> {
  const pages: Log["turns"][] = [];
  let before: { readonly before?: number } = {};
  for (;;) {
    const { turns, attempts }: Log = await session.call("read_log", { ...about, turns: true, limit: PAGE, ...before });
    pages.unshift(turns);
    if (turns.length < PAGE) return { turns: pages.flat(), attempts };
    before = { before: turns[0]?.id ?? 0 };
  }
}

async function printTurns(
  session: EngineSession,
  about: Subject,
  invocation: Invocation,
  terminal: Terminal,
): Promise<ExitCode> {
  const { turns, attempts } = await readTurns(session, about);
  const byId = new Map(attempts.map((attempt) => [attempt.id, attempt]));
  if (turns.length === 0 && "plan" in about && !invocation.json) {
    terminal.print([
      "Nothing of it was asked of the orchestrator role; PLAN/TASK names the conversation of a task's agent.",
    ]);
  }
  let shown: string | null = null;
  for (const turn of turns) {
    const attempt = byId.get(turn.attempt);
    if (invocation.json) {
      terminal.printJson({ ...turn, number: attempt?.number ?? null });
      continue;
    }
    if (attempt !== undefined && attempt.id !== shown)
      terminal.print(attemptLine("task" in about ? "attempt" : "turn", attempt));
    shown = turn.attempt;
    const lines = turn.text.replaceAll("\r\n", "\n").trimEnd().split("\n");
    terminal.print([styled(`[${turn.kind}]`, "bold"), ` ${turn.at}`], ...lines.map((line): Line => [`  ${line}`]));
  }
  return EXIT.succeeded;
}

function attemptLine(what: string, { number, provider, outcome, costUsd, tokens }: Log["attempts"][number]): Line {
  const used = tokens === null ? "" : `, ${tokens.input} tokens in (${tokens.cached} cached), ${tokens.output} out`;
  const cost = renderCost(costUsd);
  return [
    styled(`${what} ${number} (${provider})`, "bold"),
    `: ${outcome ?? "under way"}${used}${cost === null ? "" : `, ${cost}`}`,
  ];
}
