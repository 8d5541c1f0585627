/** `context`, `ask` and `report`: what an agent without MCP, or any script of a task, has of the satellite's tools. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import { openRunningEngine, type EngineSession, type Input, type Output } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { readListFile, readStdin } from "../plan-file.ts";
import { styled, type Line } from "../styled.ts";
import type { VerbRunner } from "../verb.ts";

export const runContext: VerbRunner = async (invocation, terminal) => {
  const session = await openEngineOfTask(invocation.repo);
  try {
    const context = await session.call("task_context", {});
    if (invocation.json) terminal.printJson(context);
    else terminal.print(...renderContext(context));
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

export const runAsk: VerbRunner = async (invocation, terminal) => {
  const [word = ""] = invocation.positionals;
  const question = word === "-" ? (await readStdin(process.stdin)).text : word;
  const options = invocation.texts("option");
  const context = invocation.text("context");
  const input = {
    question,
    ...(options.length === 0 ? {} : { options: [...options] }),
    ...(context === null ? {} : { context }),
    key: randomUUID(),
    repeats: true,
  };
  const session = await openEngineOfTask(invocation.repo);
  try {
    let asked = await session.call("ask_orchestrator", input);
    while (asked.status === "waiting") {
      // Calls are held; this is for a config that holds none.
      await delay(BETWEEN_CALLS_MS);
      asked = await session.call("ask_orchestrator", input);
    }
    const hasAnswer = asked.status === "answered" && asked.answeredBy !== "nobody";
    if (invocation.json) terminal.printJson(asked);
    else if (hasAnswer) terminal.print(...(asked.answer ?? "").split("\n"));
    else terminal.note(asked.answer ?? asked.summary);
    return hasAnswer ? EXIT.succeeded : EXIT.needsPerson;
  } finally {
    await session.close();
  }
};

const BETWEEN_CALLS_MS = 500;

export const runReport: VerbRunner = async (invocation, terminal) => {
  const [word = ""] = invocation.positionals;
  const status = oneOf("status", invocation.text("status") ?? "succeeded", ["succeeded", "failed"]);
  const given = invocation.text("verdict");
  const verdict = given === null ? null : oneOf("verdict", given, ["approve", "reject"]);
  const file = invocation.text("follow-ups");
  if (word === "-" && file === "-") {
    throw new AppError("USAGE", "standard input can be the summary or the follow-ups, not both: put one in a file");
  }
  const summary = word === "-" ? (await readStdin(process.stdin)).text : word;
  // The engine checks each of them.
  const followUps =
    file === null ? null : ((await readListFile(file, process.stdin)) as Input<"report_result">["followUps"]);
  const session = await openEngineOfTask(invocation.repo);
  try {
    const input = {
      status,
      summary,
      ...(verdict === null ? {} : { verdict }),
      ...(followUps == null ? {} : { followUps }),
      key: randomUUID(),
    };
    const reported = await session.call("report_result", input);
    if (invocation.json) terminal.printJson(reported);
    else terminal.print(reported.summary);
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

/** Never starts one: a task runs only where an engine does. */
async function openEngineOfTask(repo: string | null): Promise<EngineSession> {
  const session = await openRunningEngine(repo);
  if (session !== null) return session;
  throw new AppError("ENGINE_UNREACHABLE", "no engine is running here, so no task is: this verb is for agents at work");
}

function oneOf<Value extends string>(option: string, value: string, allowed: readonly Value[]): Value {
  const found = allowed.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new AppError("USAGE", `--${option} must be ${allowed.join(" or ")}, not ${JSON.stringify(value.slice(0, 40))}`);
}

function renderContext({ summary, task, goal, dependencies, others }: Output<"task_context">): Line[] {
  const lines: Line[] = [
    [styled(task.task, "bold"), ` ${task.title}`],
    [summary],
    [`branch ${task.branch}, into ${task.target}, attempt ${task.attempt}`],
    [`writes: ${task.writes === null ? "(no claim)" : task.writes.join(", ")}`],
  ];
  if (goal !== null) lines.push([`goal: ${goal}`]);
  for (const before of dependencies) {
    const branch = before.branch === null ? "" : ` (branch ${before.branch})`;
    lines.push([`before it: ${before.task} ${before.state}: ${before.summary ?? "no report"}${branch}`]);
  }
  for (const other of others) lines.push([`now at work: ${other.task} ${other.title}`]);
  return lines;
}
