/** What callers of the process layer give and get. */
import type { ProcessIdentity } from "./process-table.ts";

export interface ProcessSpec {
  /** The attempt's id: unique while it lives, no white space. */
  readonly id: string;
  /** For people. */
  readonly label: string;
  /** Program name (looked up on the PATH of `env`) or path. */
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /**
   * The complete environment: nothing is inherited. The mark ORCHESTRATOR_ATTEMPT is added; ORCHESTRATOR_ENGINE and
   * ORCHESTRATOR_GUARD are taken out, for they would make it look like an engine, which nothing ever ends.
   */
  readonly env: Readonly<Record<string, string>>;
  /** Written to stdin, which is then ended; a child that does not read it is no error. Null: stdin is at its end at once. */
  readonly stdin: string | null;
  /** Stdin stays open after `stdin`; then `write` and `endStdin` work. */
  readonly keepStdinOpen?: boolean;
  /** Running time (the machine's sleep taken off) after which it is stopped as timed-out; null: none. */
  readonly deadlineMs: number | null;
  /** From TERM to KILL, for the process and, after its end, for what it left behind (1 s at most once it was killed). */
  readonly killGraceMs: number;
  /** Where raw output is kept (see `readOutputLog`); null: only the tails of the exit report. */
  readonly outputDir: string | null;
  /** For each of the two streams. Default 8 MiB. */
  readonly maxLogBytes?: number;
  /** Output as it comes, UTF-8 decoded, never cut within a character. What it throws is logged and changes nothing. */
  readonly onStdout?: (chunk: string) => void;
  readonly onStderr?: (chunk: string) => void;
}

/** Why a process was ended by us. The manager itself gives `timed-out`; all others come from callers. */
export type StopReason = "cancelled" | "timed-out" | "stalled" | "paused" | "shutdown" | "output-limit";

export interface ExitReport {
  readonly id: string;
  readonly pid: number | null;
  /** `stopped` when we had begun to stop it before it ended, whatever its exit code then was. */
  readonly outcome: "exited" | "stopped" | "spawn-failed";
  /** The first one given; null unless stopped. */
  readonly stopReason: StopReason | null;
  /** As the process itself ended; null when a signal ended it, or it was never seen to end. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The last 8 KiB of each stream. */
  readonly stdoutTail: string;
  readonly stderrTail: string;
  readonly startedAtMs: number;
  /** When the process itself ended, before its strays were looked for. */
  readonly endedAtMs: number;
  /** From its start to its end, the machine's sleep taken off. */
  readonly ranForMs: number;
  /** Processes it left behind, which were ended. */
  readonly straysKilled: number;
  /** Why it could not be started, or what else went wrong on our side. */
  readonly error: string | null;
}

export interface ManagedProcess {
  readonly id: string;
  readonly label: string;
  /** Null when it could not be started. */
  readonly pid: number | null;
  readonly identity: ProcessIdentity | null;
  readonly startedAtMs: number;
  /** When it last wrote anything to stdout or stderr; its start until then. */
  readonly lastOutputAtMs: number;
  readonly state: "running" | "stopping" | "ended";
  /** Resolves once it, its output and everything it left behind are done with. Never rejects. */
  readonly exited: Promise<ExitReport>;
  /** TERM to its group, KILL after the grace. Again, or after its end: the same report, the first reason stays. */
  stop(reason: StopReason): Promise<ExitReport>;
  /** KILL at once: what was asked to stop has no more of its grace. Does nothing to what was not. */
  endNow(): void;
  /** False when stdin is closed, was not kept open, or nobody is left to read it. */
  write(text: string): boolean;
  endStdin(): void;
}

/** What can be told of a living process without asking it. `healthOf` judges two of them. */
export interface ProcessSample {
  readonly atMs: number;
  readonly lastOutputAtMs: number;
  /** Since the last output and since the start, the machine's sleep taken off. */
  readonly silentMs: number;
  readonly runningMs: number;
  /** Processor time of the whole tree so far, of what it waited for too. */
  readonly cpuMs: number;
  /** Living processes that belong to it, itself not counted. */
  readonly childCount: number;
}

/** P6: one entry for each thing that happens in a process's life. Never holds output, arguments or environments. */
export interface ProcessLogEntry {
  readonly event: "spawn" | "signal" | "exit" | "strays" | "error" | "shutdown";
  readonly atMs: number;
  readonly id?: string;
  readonly label?: string;
  readonly pid?: number;
  readonly message: string;
}

/** How a process ended, in the word for people. A crash is an end of its own making that was not a clean one. */
export function describeEnd(report: ExitReport): "finished" | "crashed" | "stopped" | "never started" {
  switch (report.outcome) {
    case "spawn-failed":
      return "never started";
    case "stopped":
      return "stopped";
    case "exited":
      return report.exitCode === 0 ? "finished" : "crashed";
  }
}

/** Below this share of one processor a tree does nothing: an idle Node program with its timers needs less. */
const IDLE_CPU_SHARE = 0.02;

/**
 * P4: tells slow from hung, from two samples of one process. `working`: it wrote within `quietMs`. `slow`: silent for
 * longer, but its tree uses the processor or starts and ends processes. `hung`: silent, and nothing of it moved
 * between the samples; take them far apart (a minute), for a model may think for long. Pure.
 */
export function healthOf(
  before: ProcessSample,
  now: ProcessSample,
  { quietMs }: { readonly quietMs: number },
): "working" | "slow" | "hung" {
  if (now.silentMs < quietMs) return "working";
  const betweenMs = now.runningMs - before.runningMs;
  const usesProcessor = now.cpuMs - before.cpuMs > betweenMs * IDLE_CPU_SHARE;
  return usesProcessor || now.childCount !== before.childCount ? "slow" : "hung";
}
