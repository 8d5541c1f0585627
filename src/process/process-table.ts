/**
 * The machine's process table: who runs, under whom, in which group and session, since when, and with which of our
 * marks in its environment.
 *
 * Always true: a process is known by pid *and* start time, so a pid that was given to somebody else is never taken for
 * the one before; a zombie counts as dead, though `kill(pid, 0)` still answers for it. Only our own marks are ever
 * read out of another process's environment, nothing else of it is kept. This file never signals anybody.
 */
import * as linux from "./linux-process-table.ts";
import * as mac from "./mac-process-table.ts";

/** One process for all time: pids are given out again, a pid together with its start time is not. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; compare for equality only. Holds over restarts of ours, and differs after the machine's. */
  readonly startTime: string;
}

/** The variables by which our own processes are known, whatever became of their parents. */
export const ATTEMPT_MARK = "ORCHESTRATOR_ATTEMPT";
export const ENGINE_MARK = "ORCHESTRATOR_ENGINE";
export const GUARD_MARK = "ORCHESTRATOR_GUARD";

export interface ProcessMarks {
  /** `<engine id>/<attempt id>`: started by an attempt. */
  readonly attempt: string | null;
  /** An engine's id: the engine itself or its guard. */
  readonly engine: string | null;
  /** Set in a guard only. */
  readonly guard: string | null;
}

export interface ProcessRow extends ProcessIdentity {
  readonly parentPid: number;
  readonly groupId: number;
  /** Null where the system does not tell (macOS). */
  readonly sessionId: number | null;
  readonly isDead: boolean;
  /** Processor time used by it and by the children it has waited for. */
  readonly cpuMs: number;
  /** Null: not asked for, or not readable (another user's). */
  readonly marks: ProcessMarks | null;
}

export type ProcessTable = ReadonlyMap<number, ProcessRow>;

const system = process.platform === "darwin" ? mac : linux;

type Marks = "all" | "none";

/** By kind: the read that is under way, and the one that those who asked meanwhile share. */
const reads: Record<Marks, { current: Promise<unknown>; next: Promise<ProcessTable> | null }> = {
  all: { current: Promise.resolve(), next: null },
  none: { current: Promise.resolve(), next: null },
};

/**
 * Reads the whole table (kernel threads left out). `marks: "all"` reads every readable environment for our marks and
 * costs about twice as much. Yields to the event loop while it reads. Throws where there is no process table to read.
 *
 * Each answer was read after it was asked for. Who asks while a read is under way shares the next one: when twenty
 * agents are ended at once, each looks again and again, and reading for each of them took longer than their grace.
 */
export function readProcessTable({ marks }: { readonly marks: Marks }): Promise<ProcessTable> {
  const kind = reads[marks];
  if (kind.next === null) {
    const read = kind.current.then(() => {
      kind.next = null;
      return system.readTable(marks === "all");
    });
    kind.next = read;
    kind.current = read.catch(() => undefined);
  }
  return kind.next;
}

/** The marks of `pids`; processes that are gone or not readable are left out. */
export async function readMarks(pids: readonly number[]): Promise<ReadonlyMap<number, ProcessMarks>> {
  return system.readMarks(pids);
}

/** Who has `pid` now, a zombie included; null when nobody has. Synchronous, so that it can follow a spawn at once. */
export function identityOf(pid: number): ProcessIdentity | null {
  const row = system.readRow(pid);
  return row === null ? null : { pid, startTime: row.startTime };
}

/** True while that very process runs: not when its pid belongs to another one, and not when it is a zombie. */
export function isAlive(identity: ProcessIdentity): boolean {
  const row = system.readRow(identity.pid);
  return row !== null && row.startTime === identity.startTime && !row.isDead;
}

/** The processes above `pid`, nearest first. Empty when `pid` is gone. */
export async function ancestors(pid: number): Promise<readonly ProcessIdentity[]> {
  const table = await readProcessTable({ marks: "none" });
  const above: ProcessIdentity[] = [];
  const seen = new Set([pid]);
  let next = table.get(pid)?.parentPid;
  while (next !== undefined && !seen.has(next)) {
    seen.add(next);
    const row = table.get(next);
    if (row === undefined) break;
    above.push({ pid: row.pid, startTime: row.startTime });
    next = row.parentPid;
  }
  return above;
}

/** False when the machine (or the container) was started again since: its pid and its group may be anybody's by now. */
export function isOfThisBoot(identity: ProcessIdentity): boolean {
  return system.isOfThisBoot(identity.startTime);
}

export function isSameProcess(one: ProcessIdentity, other: ProcessIdentity): boolean {
  return one.pid === other.pid && one.startTime === other.startTime;
}
