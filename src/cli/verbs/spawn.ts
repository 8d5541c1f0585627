/** `orchestrator spawn PROMPT`: one more agent. */
import { randomUUID } from "node:crypto";
import { openEngineSession } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { readStdin } from "../plan-file.ts";
import { renderCreated } from "../render-created.ts";
import type { VerbRunner } from "../verb.ts";

export const runSpawn: VerbRunner = async (invocation, terminal) => {
  const [word = ""] = invocation.positionals;
  const prompt = word === "-" ? (await readStdin(process.stdin)).text : word;
  const dependsOn = invocation
    .texts("after")
    .flatMap((names) => names.split(","))
    .map((name) => name.trim())
    .filter(Boolean);
  const writes = invocation.texts("writes");
  const optional: Record<string, string> = {};
  for (const name of ["agent", "id", "plan"]) {
    const value = invocation.text(name);
    if (value !== null) optional[name] = value;
  }
  const session = await openEngineSession({ repo: invocation.repo });
  try {
    const spawned = await session.call("spawn_agent", {
      prompt,
      ...optional,
      ...(dependsOn.length === 0 ? {} : { dependsOn }),
      // `--writes ""` says that it writes nothing.
      ...(writes.length === 0 ? {} : { writes: writes.filter((glob) => glob !== "") }),
      key: randomUUID(),
    });
    if (invocation.json) terminal.printJson(spawned);
    else {
      terminal.note(...renderCreated(spawned));
      terminal.print(`follow it with: orchestrator status ${spawned.task}`);
    }
    return EXIT.succeeded;
  } finally {
    await session.close();
  }
};
