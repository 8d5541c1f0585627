/** `orchestrator tell TASK MESSAGE`: says something to an agent, whatever its task's state. */
import { randomUUID } from "node:crypto";
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { readStdin } from "../plan-file.ts";
import type { VerbRunner } from "../verb.ts";

export const runTell: VerbRunner = async (invocation, terminal) => {
  const [task = "", word = ""] = invocation.positionals;
  const prompt = word === "-" ? (await readStdin(process.stdin)).text : word;
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const told = await session.call("spawn_agent", { task, prompt, key: randomUUID() });
    if (invocation.json) terminal.printJson(told);
    else {
      terminal.print(told.summary);
      terminal.note(`follow it with: orchestrator status ${told.task}`);
    }
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};
