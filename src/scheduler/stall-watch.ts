/**
 * Tells slow from hung (P4). Signs of life are output, processor time of the whole tree, and children that come or go.
 * An agent that is silent but shows one of the others is slow, and left alone until its task's deadline. One without any
 * for `agents.stallMinutes` is hung: it is ended and tried again, for some CLIs wait without a word for hours on an
 * endpoint that hangs. At half of that time people are told, so that an end never comes as a surprise.
 *
 * Within a tool call it is given twice that time: what sleeps there (a deployment that is waited for, a build in another
 * process's hands) has a time limit of the CLI's, 30 minutes for Claude's shell. Not for ever: Goose's shell has none.
 *
 * All times are running time: the machine's sleep is nobody's silence, and a clock that is set changes nothing.
 * Commands are left to their deadline: a script may well sleep.
 */
import type { AgentEvent } from "../agents/backend.ts";
import { healthOf, type ManagedProcess, type ProcessSample } from "../process/process-manager.ts";
import type { Parts } from "./parts.ts";

const LOOK_EVERY_MS = 60_000;
/** Between two looks as many chances to be seen alive. */
const LOOKS_PER_STALL = 4;
const STALLS_PER_TOOL_CALL = 2;

export interface StallOptions {
  readonly stallMs: number;
  /** Tells people: once for each kind of silence, until it speaks again. */
  readonly onNote: (message: string) => void;
  /** True while a question of the agent is held: it is silent because it waits for the answer. */
  readonly isAsking?: () => boolean;
  /** The tool whose answer the agent waits for; null: it waits for its model. */
  readonly openTool?: () => string | null;
}

/** Watches until the answer is called. */
export function watchForStall(
  { clock, processes, log }: Pick<Parts, "clock" | "processes" | "log">,
  child: ManagedProcess,
  { stallMs, onNote, isAsking = () => false, openTool = () => null }: StallOptions,
): () => void {
  const lookEveryMs = Math.min(LOOK_EVERY_MS, stallMs / LOOKS_PER_STALL);
  let quiet = FROM_THE_START;
  let told = new Set<Health>();
  let cancel = (): void => {};
  let isOver = false;
  const look = async (): Promise<void> => {
    const now = await processes.sample(child.id);
    if (isOver || now === null) return;
    quiet = isAsking() ? { sample: now, sinceMs: now.runningMs } : quietAfter(quiet, now);
    const tool = openTool();
    const health = judge(quiet, tool === null ? stallMs : stallMs * STALLS_PER_TOOL_CALL);
    const message = messageFor(health, quiet) + (tool === null ? "" : `; it waits for its tool ${tool}`);
    if (health === "hung") {
      log("warning", `${child.label} ${message}`, {});
      onNote(message);
      void child.stop("stalled");
      return;
    }
    if (health === "working") told = new Set();
    else if (!told.has(health)) onNote(message);
    told.add(health);
    arm();
  };
  const arm = (): void => {
    // A look that fails (a process table that can't be read) says nothing of the agent.
    cancel = clock.schedule(lookEveryMs, () => void look().catch(() => (isOver ? undefined : arm())));
  };
  arm();
  return () => {
    isOver = true;
    cancel();
  };
}

/** Which tool calls of a turn have no result yet, from its events as they come. */
export class OpenTools {
  readonly #names = new Map<string, string>();

  take(event: AgentEvent): void {
    if (event.type === "tool-start") this.#names.set(event.id, event.name);
    else if (event.type === "tool-end") this.#names.delete(event.id);
  }

  /** The one that was begun first; null when none is open. */
  oldest(): string | null {
    const [name = null] = this.#names.values();
    return name;
  }
}

/** The last look, and since which running time nothing of the tree has moved. */
export interface Quiet {
  readonly sample: ProcessSample;
  readonly sinceMs: number;
}

const FROM_THE_START: Quiet = {
  sample: { atMs: 0, lastOutputAtMs: 0, silentMs: 0, runningMs: 0, cpuMs: 0, childCount: 0 },
  sinceMs: 0,
};

/** What a look adds to what is known. Evidence adds up: a tree that moves for a moment now and then is not hung. Pure. */
export function quietAfter(before: Quiet, sample: ProcessSample): Quiet {
  const hasMoved = healthOf(before.sample, sample, { quietMs: 0 }) === "slow";
  const spokeAtMs = sample.runningMs - sample.silentMs;
  return { sample, sinceMs: hasMoved ? sample.runningMs : Math.max(before.sinceMs, spokeAtMs) };
}

/** `quiet`: without a sign of life, but not for long enough yet. */
export type Health = "working" | "slow" | "quiet" | "hung";

export function judge({ sample, sinceMs }: Quiet, stallMs: number): Health {
  const idleMs = sample.runningMs - sinceMs;
  if (idleMs >= stallMs) return "hung";
  if (idleMs >= stallMs / 2) return "quiet";
  return sample.silentMs >= stallMs / 2 ? "slow" : "working";
}

function messageFor(health: Health, { sample, sinceMs }: Quiet): string {
  const silent = minutes(sample.silentMs);
  const idle = minutes(sample.runningMs - sinceMs);
  switch (health) {
    case "working":
      return "is at work";
    case "slow":
      return `has said nothing for ${silent}, but its processes are at work`;
    case "quiet":
      return `shows no sign of life for ${idle}: no output, no processor time, no processes that come or go`;
    case "hung":
      return `showed no sign of life for ${idle} and is ended (agents.stallMinutes)`;
  }
}

function minutes(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} seconds` : `${Math.round(ms / 60_000)} minutes`;
}
