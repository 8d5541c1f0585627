/** What an engine tells of its start with each status for a while: that plans were interrupted, that a state is lost. */
import { statSync } from "node:fs";
import { keptStates, whyKept, type EngineFile } from "./engine/state-folder.ts";
import { isOfThisBoot } from "./process/process-table.ts";

export interface Notice {
  readonly text: string;
  /** Epoch; not told any more after that. */
  readonly untilMs: number;
  /** Told only while one of these plans is open; null: whatever becomes of the plans. */
  readonly plans: readonly string[] | null;
}

export interface StartFacts {
  readonly stateDir: string;
  /** What the engine before left; null: it ended in order, or there was none. */
  readonly before: EngineFile | null;
  /** Plans that go on now, or wait for a person. */
  readonly openPlans: readonly string[];
  /** Tasks that were under way. */
  readonly recovered: number;
}

const INTERRUPTION_MS = 15 * 60_000;
const DAMAGE_MS = 24 * 3_600_000;
const SHOWN = 3;

export function noticesOfStart({ stateDir, before, openPlans, recovered }: StartFacts, nowMs = Date.now()): Notice[] {
  const notices: Notice[] = [];
  if (before !== null && openPlans.length > 0) {
    const tasks = recovered === 0 ? "" : `; ${recovered} ${recovered === 1 ? "task was" : "tasks were"} under way`;
    const text = `${interruptionOf(before)}: ${listed(openPlans)} ${openPlans.length === 1 ? "was" : "were"} interrupted${tasks}. What can go on goes on now, by itself`;
    notices.push({ text, untilMs: nowMs + INTERRUPTION_MS, plans: openPlans });
  }
  const [kept] = keptStates(stateDir);
  const keptAtMs = kept === undefined ? undefined : statSync(kept, { throwIfNoEntry: false })?.ctimeMs;
  if (kept !== undefined && keptAtMs !== undefined) {
    const text = `the state of before was ${whyKept(kept)}, and the plans in it are not known any more: it is kept as ${kept}; branches and worktrees are as they were, and \`orchestrator doctor\` has what to do`;
    notices.push({ text, untilMs: keptAtMs + DAMAGE_MS, plans: null });
  }
  return notices;
}

/** Why an engine that left its file is gone. */
export function interruptionOf({ processStart, pid }: EngineFile): string {
  const isReboot = processStart !== null && !isOfThisBoot({ pid, startTime: processStart });
  return isReboot ? "the machine was restarted" : "the engine before ended without a word";
}

/** Names of plans, the first few. */
export function listed(names: readonly string[]): string {
  const rest = names.length - SHOWN;
  return names.slice(0, SHOWN).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
