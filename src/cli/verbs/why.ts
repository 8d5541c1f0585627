/** `orchestrator why PLAN/TASK`: what it waits for, and the command that clears it. */
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { renderWhy } from "../render-status.ts";
import { styled } from "../styled.ts";
import { stateSign, stateStyle } from "../task-sign.ts";
import type { VerbRunner } from "../verb.ts";

export const runWhy: VerbRunner = async (invocation, terminal) => {
  const [name = ""] = invocation.positionals;
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const { task } = await session.call("task_status", { task: name, include: ["why"] });
    if (task === undefined) throw new Error("task_status answered no task");
    const { state } = task;
    if (invocation.json) terminal.printJson({ task: task.task, state, note: task.note, why: task.why ?? null });
    else {
      terminal.print(
        [styled(task.task, "bold"), " is ", styled(`${stateSign(state)} ${state}`, stateStyle(state))],
        ...renderWhy(task),
      );
    }
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};
