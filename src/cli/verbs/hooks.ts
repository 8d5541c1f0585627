/** `orchestrator hooks`: installs, removes and shows the git hooks. The engine does it, for it owns all that runs git. */
import { AppError } from "../../errors.ts";
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import type { VerbRunner } from "../verb.ts";

const ACTIONS = ["install", "uninstall", "status"] as const;

export const runHooks: VerbRunner = async (invocation, terminal) => {
  const [word = ""] = invocation.positionals;
  const action = ACTIONS.find((candidate) => candidate === word);
  if (action === undefined) {
    throw new AppError(
      "USAGE",
      `hooks has no action ${JSON.stringify(word.slice(0, 40))}: use install, uninstall or status`,
    );
  }
  const session = await openEngineSession({ repo: invocation.repo, waitsForUnused: action === "uninstall" });
  try {
    const report = await session.call("git_hooks", { action });
    if (invocation.json) terminal.printJson(report);
    else terminal.print(report.summary);
    for (const warning of report.warnings) terminal.note(`note: ${warning}`);
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};
