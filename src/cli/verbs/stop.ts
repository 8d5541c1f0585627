/** `orchestrator stop`: ends the engine and all it runs, and waits until it is gone. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { connectClient, type EngineClient } from "../../engine/client.ts";
import { toAppError } from "../../engine/protocol.ts";
import { readEngineFile, stateFolderOf } from "../../engine/state-folder.ts";
import { AppError, hasCode } from "../../errors.ts";
import { listed } from "../../notices.ts";
import { findRepositoryFor } from "../engine-session.ts";
import { EXIT } from "../exit-codes.ts";
import type { VerbRunner } from "../verb.ts";

/** Agents are given `agents.killGraceSeconds` (10), then the engine commits their work. */
const GONE_WITHIN_MS = 90_000;
const LOOK_AGAIN_MS = 50;

export const runStop: VerbRunner = async (invocation, terminal) => {
  const { commonDir, place } = findRepositoryFor(invocation.repo);
  const stopped = await stopEngine(commonDir, place);
  if (invocation.json) terminal.printJson({ stopped: stopped !== null, openPlans: stopped?.openPlans ?? [] });
  else if (stopped === null) terminal.print("No engine was running here.");
  else terminal.print(`The engine and all it ran have ended; work is kept.${whatGoesOn(stopped.openPlans)}`);
  return EXIT.succeeded;
};

/** Who stops it to have an end of all work must know that looking at it begins the work again. */
function whatGoesOn(openPlans: readonly string[]): string {
  const [first] = openPlans;
  if (first === undefined) return "";
  const isOne = openPlans.length === 1;
  return `
Open: ${listed(openPlans)}. ${isOne ? "It goes" : "They go"} on with the next command that starts the engine, also \`orchestrator status\`;
\`orchestrator pause ${isOne ? first : "PLAN"}\` or \`cancel\` before \`stop\` keeps ${isOne ? "it" : "one"} from that.`;
}

export interface StoppedEngine {
  /** Plans that had not ended. */
  readonly openPlans: readonly string[];
}

/** Null when none ran. Throws ENGINE_UNREACHABLE when it does not go. */
export async function stopEngine(commonDir: string, place: string): Promise<StoppedEngine | null> {
  let openPlans: readonly string[] = [];
  const pid = readEngineFile(stateFolderOf(commonDir).engineFile)?.pid ?? null;
  let client: EngineClient | null;
  try {
    client = await connect(commonDir, place);
    if (client === null) return null;
    const result = await client.call("stop_engine", {});
    if (!result.ok && result.code !== "ENGINE_STOPPING") throw toAppError(result);
    if (result.ok) openPlans = openPlansIn(result.structured);
    client.close();
  } catch (thrown) {
    // It answered, in words of another version: that proves that engine.json names a living engine.
    if (!hasCode(thrown, "ENGINE_OUTDATED") || pid === null) throw thrown;
    process.kill(pid, "SIGTERM");
  }
  await untilGone(commonDir, place, pid);
  return { openPlans };
}

/** An engine of an older version does not tell them. */
function openPlansIn(answer: unknown): readonly string[] {
  const { openPlans } = answer as { readonly openPlans?: readonly string[] };
  return openPlans ?? [];
}

async function connect(commonDir: string, place: string): Promise<EngineClient | null> {
  try {
    return await connectClient({ commonDir, place, clientName: "orchestrator", mayStart: false });
  } catch (thrown) {
    if (hasCode(thrown, "ENGINE_UNREACHABLE") && thrown.details["running"] === false) return null;
    throw thrown;
  }
}

async function untilGone(commonDir: string, place: string, pid: number | null): Promise<void> {
  const deadlineMs = performance.now() + GONE_WITHIN_MS;
  while (pid === null ? await isAnswering(commonDir, place) : isAlive(pid)) {
    if (performance.now() > deadlineMs) {
      const how = pid === null ? "" : ` End it with \`kill -9 ${pid}\`; what it ran is ended then too.`;
      throw new AppError("ENGINE_UNREACHABLE", `the engine does not end.${how}`, { details: { pid } });
    }
    await delay(LOOK_AGAIN_MS);
  }
}

async function isAnswering(commonDir: string, place: string): Promise<boolean> {
  const client = await connect(commonDir, place);
  client?.close();
  return client !== null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}

/** In a container whose first process collects no children, one that has ended answers for ever. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
  } catch {
    return false;
  }
}
