/**
 * `orchestrator remind`, for hooks of a parent's session (hooks/hooks.json): says what `reminder.ts` makes of how the
 * plans stand. Starts no engine, waits for nothing, and ends with 0 whatever happens: 2 would keep the session's turn.
 */
import { ATTEMPT_MARK } from "../../engine/environment.ts";
import { openRunningEngine } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import { reminderOf } from "../reminder.ts";
import type { VerbRunner } from "../verb.ts";

/** All of it: who ends a turn waits for this. */
const DEADLINE_MS = 3000;
const MAX_INPUT_LENGTH = 4 * 1024 * 1024;

export const runRemind: VerbRunner = async (invocation, terminal) => {
  const [event] = invocation.positionals;
  const isOurAgent = process.env[ATTEMPT_MARK] !== undefined;
  if ((event !== "start" && event !== "stop") || isOurAgent) return EXIT.succeeded;
  const deadline = new Promise<null>((resolve) => setTimeout(() => resolve(null), DEADLINE_MS));
  const text = await Promise.race([deadline, find(event, invocation.repo).catch(() => null)]);
  if (text !== null) terminal.writeRaw(text);
  return EXIT.succeeded;
};

async function find(event: "start" | "stop", repo: string | null): Promise<string | null> {
  const isStopHookActive = event === "stop" && (await readStopHookActive());
  if (isStopHookActive) return null;
  const session = await openRunningEngine(repo);
  if (session === null) return null;
  try {
    if (session.client.role !== "operator") return null;
    return reminderOf(event, await session.call("task_status", {}), isStopHookActive);
  } finally {
    await session.close();
  }
}

/** The hook's input. What can't be read counts as active: then nothing is said, and nothing can go round. */
async function readStopHookActive(): Promise<boolean> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) {
    text += String(chunk);
    if (text.length > MAX_INPUT_LENGTH) return true;
  }
  const input: unknown = JSON.parse(text);
  return (
    typeof input !== "object" || input === null || !("stop_hook_active" in input) || input.stop_hook_active !== false
  );
}
