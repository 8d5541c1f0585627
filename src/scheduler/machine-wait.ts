/** What failed because the machine lacked something is tried again after a while; the task is not to blame. */
import { closeSync, openSync } from "node:fs";
import { devNull } from "node:os";
import { machineLimitOf } from "../machine-limits.ts";
import type { Wait } from "../plan/task-state.ts";
import { messageOf } from "../errors.ts";
import type { Parts } from "./parts.ts";

/** Long enough not to be a burden to a machine in trouble. */
const TRY_AGAIN_MS = 20_000;

/** An agent's pipes, its log, the look at its processes and a git beside it. */
const DESCRIPTORS_OF_A_START = 24;

/**
 * The wait of a task that met a limit of the machine with `thrown` (an error, or words); null: it met something else.
 * Without descriptors much fails in other words ("git made no worktree"), so they are counted.
 */
export function machineWait(parts: Parts, thrown: unknown): Wait | null {
  const limit = machineLimitOf(thrown);
  return limit === null ? descriptorWait(parts) : waitFor(parts, `${limit} (${messageOf(thrown)})`);
}

/** The wait of a task that would be started with too few descriptors left, before anything of it is there; or null. */
export function descriptorWait(parts: Parts): Wait | null {
  const files: number[] = [];
  try {
    for (let count = 0; count < DESCRIPTORS_OF_A_START; count += 1) files.push(openSync(devNull, "r"));
    return null;
  } catch (thrown) {
    return waitFor(parts, machineLimitOf(thrown) ?? messageOf(thrown));
  } finally {
    for (const file of files) closeSync(file);
  }
}

/** The wait of what failed while a disk was short of room, `shortage` says which. */
export function roomWait(parts: Parts, shortage: string): Wait {
  return waitFor(parts, shortage);
}

function waitFor(parts: Parts, message: string): Wait {
  return {
    code: "machine",
    message: `${message.replace(/\s+/g, " ").trim().slice(0, 600)}; it is tried again by itself`,
    command: null,
    untilMs: parts.clock.nowMs() + TRY_AGAIN_MS,
  };
}
