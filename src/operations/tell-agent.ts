/** spawn_agent with `task`: something is said to an agent that works, waits, or has ended. */
import type { App } from "../app.ts";
import { AppError } from "../errors.ts";
import { explainTask } from "../plan/explain.ts";
import { taskKey, type TaskKey } from "../plan/records.ts";
import { tellTask, type Told } from "../plan/tell.ts";
import { applyEdit, checkEdit } from "../scheduler/submit.ts";
import type { ActingCall } from "./operation.ts";
import type { SpawnAgentInput, SpawnAgentOutput } from "./spawn-agent.ts";

/** Of the message, in the event that tells of it. */
const MAX_EVENT_CHARACTERS = 2_000;

export async function tellAgent(app: App, value: SpawnAgentInput, call: ActingCall): Promise<SpawnAgentOutput> {
  const { task, prompt, key: _key, ...rest } = value;
  const given = Object.entries(rest).filter(([, field]) => field !== undefined);
  if (given.length > 0) {
    throw new AppError(
      "INPUT_INVALID",
      `with \`task\` only \`prompt\` and \`key\` go: ${given.map(([name]) => `\`${name}\``).join(", ")} can't be changed for an agent that is there`,
    );
  }
  const named = await app.findTask(task ?? "");
  refuseCommand(app, named);
  const output = call.commit(() => carryOut(app, named, prompt, senderOf(call)));
  app.scheduler.tellWorking(output.task as TaskKey);
  return output;
}

function refuseCommand(app: App, key: TaskKey): void {
  const { record } = app.parts.board.node(key);
  const { providers } = app.settingsOfPlan(record.planId).plan;
  // Who does the task is the first step of its workflow; a command that only judges is no matter.
  if (providers[record.workflow.steps[0]?.provider ?? ""]?.kind !== "command") return;
  throw new AppError(
    "NOT_SUPPORTED",
    `task ${key} is a command, which has no conversation: add a task instead (spawn_agent without \`task\`, or update_plan)`,
  );
}

function carryOut(app: App, named: TaskKey, text: string, sender: string): SpawnAgentOutput {
  const { parts } = app;
  const { board, store, clock } = parts;
  const told = tellTask(board, named, text, clock.nowMs());
  const { record } = told.node;
  const { planId } = record;
  if (told.type === "follow-up") {
    const edit = { add: [told.spec], change: [], drop: [] };
    checkEdit(parts, planId, edit);
    applyEdit(parts, planId, edit, () => record.workflow);
  } else {
    store.messages.append({ planId, taskId: record.id, sender, text, createdAtMs: clock.nowMs() });
  }
  const carrier = told.type === "follow-up" ? told.spec.id : record.id;
  const key = taskKey({ planId, id: carrier });
  const body = { type: "message", sender, text: text.slice(0, MAX_EVENT_CHARACTERS) } as const;
  store.events.append({ planId, taskId: carrier, attemptId: null, body });
  return {
    summary: summaryOf(app, told, key),
    next: `task_status ${JSON.stringify({ task: key, waitSeconds: 45 })}`,
    plan: planId,
    task: key,
    warnings: [],
  };
}

function summaryOf(app: App, told: Told, key: TaskKey): string {
  const { board, clock } = app.parts;
  const why = explainTask(board, key, clock.nowMs());
  const clear = why.command === null ? "" : `; what clears that: ${why.command}`;
  switch (told.type) {
    case "working":
      return `The agent of ${key} is at work: it is told ${app.scheduler.hearsWhileWorking(key) ? "after its current step, or else" : "when this turn ends,"} in another turn of the same conversation, before anything is merged.`;
    case "kept": {
      const turn = told.node.record.ledger.attempts === 0 ? "first prompt" : "next turn";
      return `Kept for the ${turn} of ${key}, which is ${why.state}: ${why.message}${clear}.`;
    }
    case "called-back":
      return `${key} was on its way into the target; its agent is told first, in another turn of the same conversation.`;
    case "opened":
      return `${key} is opened again: its agent is told in another turn of the same conversation${why.state === "ready" ? "" : ` (now ${why.state}: ${why.message}${clear})`}.`;
    case "follow-up": {
      const { record } = told.node;
      const ended = record.state === "merging" ? "is being merged" : `has ${record.state}`;
      return `${taskKey(record)} ${ended} and is not run again: ${key} continues its agent's conversation, as a task of its own${why.state === "pending" ? ` (${why.message})` : ""}.`;
    }
  }
}

/** For the agent and for people; what a program calls itself is all that is known of who sits before it. */
function senderOf({ caller }: ActingCall): string {
  const name = caller.role === "operator" ? caller.clientName : null;
  return name === null || name.startsWith("orchestrator") ? "the operator" : `the operator (${name})`;
}
