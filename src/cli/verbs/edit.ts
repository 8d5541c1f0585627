/** `orchestrator edit PLAN FILE`: adds, changes or drops tasks that have not started, or changes the budget. */
import { randomUUID } from "node:crypto";
import { AppError } from "../../errors.ts";
import { readBudget } from "../budget-option.ts";
import { openEngineSession, type Input } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { readPlanFile } from "../plan-file.ts";
import { renderCreated } from "../render-created.ts";
import type { VerbRunner } from "../verb.ts";

export const runEdit: VerbRunner = async (invocation, terminal) => {
  const [plan = "", file] = invocation.positionals;
  const budget = readBudget(invocation.texts("budget"));
  if (file === undefined && budget === null) {
    throw new AppError("USAGE", "nothing to change: name a FILE (- is standard input), or give --budget");
  }
  const change = {
    ...(file === undefined ? {} : await readPlanFile(file, process.stdin)),
    ...(budget === null ? {} : { budget }),
  };
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
