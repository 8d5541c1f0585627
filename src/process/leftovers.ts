import { setTimeout as delay } from "node:timers/promises";

import { isOfThisBoot, readProcessTable, type ProcessRow } from "./process-table.ts";
import { endBelonging, signalProcess, type EndResult, type KnownAttempt } from "./strays.ts";

const GRACE_MS = 1000;
const GIVE_UP_MS = 30_000;

/** An older guard is done in some two seconds; one that is not by now hangs, and what it had to do is done here. */
const GUARD_TIMEOUT_MS = 10_000;

/**
 * Ends what an earlier engine of this id left running, for the case that it was killed together with its guard. Call
 * it at start, before the first attempt and before this engine's own guard: it also waits for a guard that is still
 * at work, which would take our first attempts for what it has to end. `known` are roots that were stored and never
 * seen to end, for processes that carry no mark. Never touches another engine's.
 */
export async function endLeftovers(engineId: string, known: readonly KnownAttempt[] = []): Promise<EndResult> {
  await outlastGuards(engineId);
  // The machine's restart ended those of before it; their pids, groups and sessions are others' now.
  const ofThisBoot = known.filter(({ root }) => root === null || isOfThisBoot(root));
  return endBelonging({ engineId, known: ofThisBoot, graceMs: GRACE_MS, giveUpMs: GIVE_UP_MS });
}

async function outlastGuards(engineId: string): Promise<void> {
  const startedMs = performance.now();
  for (;;) {
    const table = await readProcessTable({ marks: "all" });
    const guards = [...table.values()].filter((row) => isOlderGuard(row, engineId));
    if (guards.length === 0) return;
    if (performance.now() - startedMs > GUARD_TIMEOUT_MS) for (const guard of guards) signalProcess(guard, "SIGKILL");
    await delay(50);
  }
}

function isOlderGuard({ marks, isDead, parentPid }: ProcessRow, engineId: string): boolean {
  return !isDead && marks !== null && marks.guard !== null && marks.engine === engineId && parentPid !== process.pid;
}
