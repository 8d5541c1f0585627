/** The process table of Linux, out of `/proc` (proc(5)). Read for `process-table.ts`, which says what is promised. */
import { readdirSync, readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";

import type { ProcessMarks, ProcessRow, ProcessTable } from "./process-table.ts";

/** USER_HZ, the unit of times in /proc/PID/stat: 100 on every architecture that Node runs on. */
const MS_PER_TICK = 10;

/** PF_KTHREAD in the flags field: a thread of the kernel, never ours. */
const KERNEL_THREAD_FLAG = 0x00200000;

/** Rows read in one go: about 1 ms, so that a machine with thousands of processes does not hold up the engine. */
const ROWS_PER_TURN = 60;

export async function readTable(withMarks: boolean): Promise<ProcessTable> {
  const table = new Map<number, ProcessRow>();
  let rowsThisTurn = 0;
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const row = readRow(pid);
    if (row !== null) table.set(pid, withMarks ? { ...row, marks: readMarksOf(pid) } : row);
    if (++rowsThisTurn >= ROWS_PER_TURN) {
      rowsThisTurn = 0;
      await nextTurn();
    }
  }
  return table;
}

export function readMarks(pids: readonly number[]): Promise<ReadonlyMap<number, ProcessMarks>> {
  const marks = new Map<number, ProcessMarks>();
  for (const pid of pids) {
    const found = readMarksOf(pid);
    if (found !== null) marks.set(pid, found);
  }
  return Promise.resolve(marks);
}

export function readRow(pid: number): ProcessRow | null {
  const text = readProc(`/proc/${pid}/stat`);
  return text === null ? null : parseStat(text, bootId());
}

/**
 * Reads one /proc/PID/stat. The name of the program stands in parentheses and may hold spaces, parentheses and line
 * ends itself, so what follows the last `)` is read. Null for kernel threads and for what is no such line.
 */
export function parseStat(text: string, boot: string): ProcessRow | null {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const numberAt = (index: number): number => Number(fields[index]);
  if (fields.length < 20 || (numberAt(6) & KERNEL_THREAD_FLAG) !== 0) return null;
  const state = fields[0];
  // A main thread that ended before the others shows as a zombie too, with more than itself in the thread count.
  const isDead = state === "X" || (state === "Z" && numberAt(17) <= 1);
  const ticks = numberAt(11) + numberAt(12) + numberAt(13) + numberAt(14);
  return {
    pid: Number.parseInt(text, 10),
    // Ticks since boot: after a restart of the machine the same number means another process.
    startTime: `${boot}:${fields[19]}`,
    parentPid: numberAt(1),
    groupId: numberAt(2),
    sessionId: numberAt(3),
    isDead,
    cpuMs: ticks * MS_PER_TICK,
    marks: null,
  };
}

/** The variables are read as the process was started with them; a program may have overwritten the place since. */
function readMarksOf(pid: number): ProcessMarks | null {
  const text = readProc(`/proc/${pid}/environ`);
  return text === null ? null : parseEnvironment(text);
}

const NO_MARKS: ProcessMarks = { attempt: null, engine: null, guard: null };

/** Finds our marks in an environment as /proc gives it: `NAME=value`, a NUL after each. */
export function parseEnvironment(text: string): ProcessMarks {
  if (!text.includes("ORCHESTRATOR_")) return NO_MARKS;
  const variables = text.split("\0");
  const valueOf = (name: string): string | null =>
    variables.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
  return {
    attempt: valueOf("ORCHESTRATOR_ATTEMPT"),
    engine: valueOf("ORCHESTRATOR_ENGINE"),
    guard: valueOf("ORCHESTRATOR_GUARD"),
  };
}

/** False for what ran before the machine, or the container that we are in, was started again. */
export function isOfThisBoot(startTime: string): boolean {
  return startTime.startsWith(`${bootId()}:`);
}

let knownBootId: string | undefined;

/** A container that is started again counts its processes anew in the same boot: when its process 1 began tells. */
function bootId(): string {
  const boot = (): string => (readProc("/proc/sys/kernel/random/boot_id") ?? "boot").slice(0, 8);
  const firstStart = (): string =>
    readProc("/proc/1/stat")
      ?.replace(/^.*\) /s, "")
      .split(" ")[19] ?? "0";
  knownBootId ??= `${boot()}.${firstStart()}`;
  return knownBootId;
}

/** Null when the process went away meanwhile or belongs to somebody else. */
function readProc(path: string): string | null {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return null;
  }
}
