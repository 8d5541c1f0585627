/**
 * The process table of macOS, out of ps(1). Read for `process-table.ts`, which says what is promised.
 *
 * ps tells no usable session there, and start times in whole seconds: two processes of one pid within one second would
 * be taken for one, which would need all 99999 pids to be used up in that second. The environment follows the
 * command's words with nothing between them, so ps runs twice, without and with it, and the difference is taken:
 * else `grep ORCHESTRATOR_ATTEMPT=…` would count as marked.
 */
import { execFile, spawnSync } from "node:child_process";
import { uptime } from "node:os";
import { promisify } from "node:util";

import type { ProcessMarks, ProcessRow, ProcessTable } from "./process-table.ts";

const run = promisify(execFile);

const ROW_FORMAT = "pid=,ppid=,pgid=,stat=,time=,lstart=";
/** Dates in English, and the same over a change to summer time. */
const PS_OPTIONS = {
  env: { PATH: "/bin:/usr/bin", LC_ALL: "C", TZ: "UTC" },
  encoding: "utf8",
  maxBuffer: 256 * 1024 * 1024,
  timeout: 10_000,
} as const;

export async function readTable(withMarks: boolean): Promise<ProcessTable> {
  const [rows, marks] = await Promise.all([
    run("ps", ["-axww", "-o", ROW_FORMAT], PS_OPTIONS).then(({ stdout }) => parseRows(stdout)),
    withMarks ? readMarks(null) : null,
  ]);
  if (marks === null) return rows;
  return new Map([...rows].map(([pid, row]) => [pid, { ...row, marks: marks.get(pid) ?? null }]));
}

export async function readMarks(pids: readonly number[] | null): Promise<ReadonlyMap<number, ProcessMarks>> {
  if (pids?.length === 0) return new Map();
  const which = pids === null ? ["-axww"] : ["-ww", "-p", pids.join(",")];
  const list = async (args: readonly string[]): Promise<string> => {
    try {
      return (await run("ps", [...which, ...args, "-o", "pid=,command="], PS_OPTIONS)).stdout;
    } catch (error) {
      // ps ends with 1 when one of the pids is gone, and lists the others all the same.
      if (pids !== null && error instanceof Error && "stdout" in error) return String(error.stdout);
      throw error;
    }
  };
  const [plain, withEnvironment] = await Promise.all([list([]), list(["-E"])]);
  return parseMarks(plain, withEnvironment);
}

/** The uptime is told in whole seconds, and the clock may have been set a little since. */
const BOOT_SLACK_MS = 60_000;

export function isOfThisBoot(startTime: string): boolean {
  return Date.parse(`${startTime} UTC`) >= Date.now() - uptime() * 1000 - BOOT_SLACK_MS;
}

export function readRow(pid: number): ProcessRow | null {
  const { stdout } = spawnSync("ps", ["-o", ROW_FORMAT, "-p", String(pid)], PS_OPTIONS);
  return parseRows(stdout ?? "").get(pid) ?? null;
}

/** `PID PPID PGID STAT TIME Sat Nov 21 03:51:22 2026` */
const ROW = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+ +\S+ +\d+ +[\d:]+ +\d+)\s*$/;

export function parseRows(text: string): Map<number, ProcessRow> {
  const rows = new Map<number, ProcessRow>();
  for (const line of text.split("\n")) {
    const [, pid, parentPid, groupId, state, time, startTime] = ROW.exec(line) ?? [];
    if (pid === undefined || state === undefined || time === undefined || startTime === undefined) continue;
    rows.set(Number(pid), {
      pid: Number(pid),
      startTime: startTime.replace(/ +/g, " "),
      parentPid: Number(parentPid),
      groupId: Number(groupId),
      sessionId: null,
      isDead: state.startsWith("Z"),
      cpuMs: parseCpuTime(time),
      marks: null,
    });
  }
  return rows;
}

/** `[days-][hours:]minutes:seconds[.hundredths]` */
function parseCpuTime(text: string): number {
  const [clock = "", days = "0"] = text.split("-").reverse();
  const seconds = clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return Math.round((Number(days) * 86_400 + seconds) * 1000);
}

/** Takes the two listings (`pid command`, without and with the environment) and keeps our marks. */
export function parseMarks(plain: string, withEnvironment: string): Map<number, ProcessMarks> {
  const commands = parseCommands(plain);
  const marks = new Map<number, ProcessMarks>();
  for (const [pid, whole] of parseCommands(withEnvironment)) {
    const command = commands.get(pid);
    // Started, or became another program, between the two: known by the next look.
    if (command === undefined || !whole.startsWith(command)) continue;
    const environment = whole.slice(command.length);
    const valueOf = (name: string): string | null =>
      new RegExp(`(?:^| )${name}=([^ ]*)`).exec(environment)?.[1] ?? null;
    marks.set(pid, {
      attempt: valueOf("ORCHESTRATOR_ATTEMPT"),
      engine: valueOf("ORCHESTRATOR_ENGINE"),
      guard: valueOf("ORCHESTRATOR_GUARD"),
    });
  }
  return marks;
}

function parseCommands(text: string): Map<number, string> {
  const commands = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [, pid, command] = /^\s*(\d+) (.*)$/.exec(line) ?? [];
    if (pid !== undefined && command !== undefined) commands.set(Number(pid), command.trimEnd());
  }
  return commands;
}
