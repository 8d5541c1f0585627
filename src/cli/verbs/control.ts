/** `pause`, `resume`, `cancel`, `retry`, `skip`, `merge`, `approve`, `release`: a plan or a task. */
import { randomUUID } from "node:crypto";
import { openEngineSession, type Input, type Output } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { callByName } from "../plan-or-task.ts";
import { taskIdOf } from "../render-status.ts";
import { styled, type Line } from "../styled.ts";
import { stateStyle } from "../task-sign.ts";
import type { VerbRunner } from "../verb.ts";
import { TASK_STATES } from "../../plan/task-state.ts";

type Action = Input<"control">["action"];

export const runControl: VerbRunner = async (invocation, terminal) => {
  const [name = ""] = invocation.positionals;
  // The table of verbs gives this runner to actions only.
  const action = invocation.verb as Action;
  const key = randomUUID();
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const done = await callByName(name, (subject) =>
      session.call("control", { action, ...subject, key: `${key}:${Object.keys(subject)[0]}` }),
    );
    if (invocation.json) terminal.printJson(done);
    else terminal.print(...renderDone(done));
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};

const MAX_LISTED = 20;

function renderDone(done: Output<"control">): Line[] {
  const lines: Line[] = [[done.summary]];
  if (done.tasks.length < 2) return lines;
  for (const { task, state } of done.tasks.slice(0, MAX_LISTED)) {
    const known = TASK_STATES.find((candidate) => candidate === state);
    lines.push([`  ${taskIdOf(task)} `, styled(state, known === undefined ? null : stateStyle(known))]);
  }
  if (done.tasks.length > MAX_LISTED) lines.push([`  … and ${done.tasks.length - MAX_LISTED} more`]);
  return lines;
}
