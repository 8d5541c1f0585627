/** An event as a line that people read. */
import type { EventBody, StoredEvent } from "../events/event.ts";
import { timeWords } from "../plan/waits.ts";
import { openQuestionLine } from "./render-questions.ts";
import { renderClock, renderCost } from "./render-time.ts";
import { styled, type Line, type Span, type Style } from "./styled.ts";
import { stateStyle } from "./task-sign.ts";

/** With the time in front, as `logs` shows it. */
export function renderLogLine(event: StoredEvent): Line {
  const name = event.taskId === null ? (event.planId ?? "engine") : `${event.planId ?? ""}/${event.taskId}`;
  return [styled(renderClock(event.atMs), "dim"), " ", styled(name, "bold"), " ", ...describeEvent(event.body)];
}

/** A plan's change of state as `run` prints it where it can't redraw; null for what is not worth a line. */
export function renderChange(event: StoredEvent): Line | null {
  const { body, taskId, planId } = event;
  if (body.type === "task-state" && taskId !== null) {
    // What can start at once is not news; that its attempt was cut off is.
    if ((body.to === "ready" && body.from !== "running") || body.to === "pending") return null;
    return [styled(taskId, "bold"), " ", ...describeEvent(body)];
  }
  if (body.type === "question-asked" && taskId !== null) {
    const { id, question, options } = body;
    return openQuestionLine({ id, task: taskId, question, options: [...options] });
  }
  if (body.type === "question-answered" || body.type === "question-expired") {
    return [styled(taskId ?? "", "bold"), " ", ...describeEvent(body)];
  }
  if (body.type === "plan-paused" || body.type === "plan-resumed") return [`${planId ?? ""} `, ...describeEvent(body)];
  if (body.type === "warning" || body.type === "attempt-note" || body.type === "verdict") {
    return [...(taskId === null ? [] : [styled(taskId, "bold"), " "]), ...describeEvent(body)];
  }
  return null;
}

function describeEvent(body: EventBody): Span[] {
  switch (body.type) {
    case "engine-started":
      return [`${body.version} started${body.recovered === 0 ? "" : `, ${body.recovered} tasks taken up again`}`];
    case "engine-stopping":
      return [`ends: ${body.reason}`];
    case "plan-created":
      return [`plan made: ${body.tasks} ${body.tasks === 1 ? "task" : "tasks"} into ${body.target}`];
    case "plan-changed":
      return [`plan changed: ${body.added} added, ${body.changed} changed, ${body.dropped} dropped`];
    case "plan-budget":
      return [`budget is now ${budgetText(body)}`];
    case "plan-paused":
      return [styled("paused", "yellow")];
    case "plan-resumed":
      return ["resumed"];
    case "plan-ended":
      return ["ended: ", styled(body.state, body.state === "succeeded" ? "green" : "red")];
    case "task-added":
      return [`added: ${body.title}`];
    case "task-dropped":
      return ["dropped"];
    case "task-state":
      return stateChange(body);
    case "attempt-started":
      return [
        `attempt ${body.number} started with ${body.provider}${body.pid === null ? "" : ` (process ${body.pid})`}`,
      ];
    case "attempt-session":
      return [`session ${body.sessionId}`];
    case "attempt-note":
      return [body.message];
    case "attempt-ended":
      return [`attempt ${body.number} ${body.outcome}${because(body.cause, body.message)}${cost(body.costUsd)}`];
    case "report":
      return [`reported ${body.status}${body.verdict === undefined ? "" : ` (${body.verdict})`}: ${body.summary}`];
    case "verdict": {
      const done = body.verdict === "approve" ? "approved" : "rejected";
      const style = body.verdict === "approve" ? "green" : "yellow";
      return [`${body.agent} `, styled(done, style), ` (step ${body.step}, round ${body.round}): ${body.summary}`];
    }
    case "message":
      return [`${body.sender} says: ${body.text}`];
    case "merge-started":
      return [`merging into ${body.target}`];
    case "merge-ended": {
      const sha = body.sha === null ? "" : ` as ${body.sha.slice(0, 10)}`;
      return [`merge into ${body.target}: ${body.outcome}${sha}${because(null, body.message)}`];
    }
    case "provider-changed":
      return [`provider ${body.provider}: ${body.state}${because(null, body.reason)}`];
    case "question-asked":
      return [styled(`asks ${body.id}`, "yellow"), `: ${body.question}`];
    case "question-routed":
      return [`question ${body.id} goes to: ${body.stage}${because(null, body.reason)}`];
    case "question-answered":
      return [`question ${body.id} answered by ${body.by}: ${body.answer}`];
    case "question-expired":
      return [`question ${body.id} expired: its agent uses its own judgement`];
    case "question-withdrawn":
      return [`question ${body.id} withdrawn: ${body.reason}`];
    case "warning":
      return [styled("warning", "yellow"), `: ${body.message}`];
    default:
      return unknownEvent(body);
  }
}

function stateChange(body: Extract<EventBody, { type: "task-state" }>): Span[] {
  const style: Style | null = stateStyle(body.to);
  if (body.wait === null) return [styled(body.to, style), because(body.cause, body.message)];
  const command = body.wait.command === null ? "" : ` [${body.wait.command}]`;
  const { code, message, untilMs } = body.wait;
  return [styled(body.to, style), ` (${timeWords(code, untilMs, message) ?? code}): ${message}${command}`];
}

function budgetText({ usd, tokens, minutes }: Extract<EventBody, { type: "plan-budget" }>): string {
  const bounds = Object.entries({ USD: usd, tokens, minutes }).filter(([, bound]) => bound !== null);
  return bounds.length === 0 ? "unbounded" : bounds.map(([unit, bound]) => `${bound} ${unit}`).join(", ");
}

function because(cause: string | null, message: string | null): string {
  const parts = [cause, message].filter((part) => part !== null && part !== "");
  return parts.length === 0 ? "" : `: ${parts.join(": ")}`;
}

function cost(costUsd: number | null): string {
  const text = renderCost(costUsd);
  return text === null ? "" : ` (${text})`;
}

/** A newer engine may tell of what this version does not know. */
function unknownEvent(body: { readonly type: string }): Span[] {
  const { type, ...facts } = body as Record<string, unknown> & { type: string };
  return [`${type} ${JSON.stringify(facts)}`];
}
