/**
 * `orchestrator wake`: what a git hook starts in the background where no engine lives. Starts one and has it look at what
 * git did. Says nothing and ends with 0 whatever happens: nobody is there to hear it, and engine.log has the reason.
 */
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import type { VerbRunner } from "../verb.ts";

export const runWake: VerbRunner = async (invocation) => {
  // In an agent's environment what git does is the agent's own work.
  if (process.env["ORCHESTRATOR_ATTEMPT"] !== undefined) return EXIT.succeeded;
  try {
    const session = await openEngineSession({ repo: invocation.repo });
    await session.call("look_at_git", {});
    await session.close();
  } catch {
    // Said above.
  }
  return EXIT.succeeded;
};
