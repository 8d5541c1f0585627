/** `orchestrator edit PLAN FILE`: adds, changes or drops tasks that have not started. */
import { randomUUID } from "node:crypto";
import { openEngineSession, type Input } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { readPlanFile } from "../plan-file.ts";
import { renderCreated } from "../render-created.ts";
import type { VerbRunner } from "../verb.ts";

export const runEdit: VerbRunner = async (invocation, terminal) => {
  const [plan = "", file = "-"] = invocation.positionals;
  const change = await readPlanFile(file, process.stdin);
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const edited = await session.call("update_plan", { ...change, plan, key: randomUUID() } as Input<"update_plan">);
    if (invocation.json) terminal.printJson(edited);
    else terminal.print(...renderCreated(edited));
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};
