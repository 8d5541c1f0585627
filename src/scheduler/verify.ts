/**
 * Runs the verify commands on a candidate, in the queue's own worktree: every commit that the queue puts on a target
 * has passed them after merging. A failing candidate is tried once more; then the base alone is tried, and a red base
 * is nobody's fault: the queue waits for it.
 */
import { join } from "node:path";
import { crashPoint } from "../crash-point.ts";
import type { MergeEnd } from "../plan/outcomes.ts";
import { taskKey, type TaskRecord } from "../plan/records.ts";
import { machineLimitOf } from "../machine-limits.ts";
import { roomWait } from "./machine-wait.ts";
import type { Parts } from "./parts.ts";

export interface CandidateToVerify {
  readonly mergeId: string;
  readonly target: string;
  readonly targetSha: string;
  readonly candidateSha: string;
}

type Run =
  { readonly passed: true } | { readonly passed: false; readonly output: string; readonly wasStopped: boolean };

/** Enough for an agent to see what failed; the whole is in `attempts/<merge id>/`. */
const MAX_OUTPUT_CHARACTERS = 16_000;

/** Null: the candidate may go on the target. */
export async function verify(
  parts: Parts,
  task: TaskRecord,
  candidate: CandidateToVerify,
  isStopping: () => boolean,
): Promise<MergeEnd | null> {
  const settings = parts.settingsOf(task.planId);
  const commands = task.spec.verify ?? settings.verify;
  if (commands.length === 0) return null;
  const tryOn = (sha: string, what: string): Promise<Run> => runAll(parts, task, candidate, commands, sha, what);

  crashPoint("verify-begun");
  let failed = await tryOn(candidate.candidateSha, "1");
  if (failed.passed) return null;
  if (failed.wasStopped || isStopping()) return { type: "again" };
  crashPoint("verify-failed-once");
  const lack = parts.room?.room.shortage ?? null;
  if (lack !== null) return { type: "wait", ...roomWait(parts, lack) };
  failed = await tryOn(candidate.candidateSha, "2");
  if (failed.passed) {
    parts.log("warning", `verify of ${taskKey(task)} failed once and passed once: it is not reliable`, {});
    return null;
  }
  if (failed.wasStopped || isStopping()) return { type: "again" };
  crashPoint("verify-failed-twice");
  const base = await tryOn(candidate.targetSha, "base");
  if (!base.passed && (base.wasStopped || isStopping())) return { type: "again" };
  if (!base.passed) {
    return {
      type: "wait",
      code: "target",
      message: `${candidate.target} itself fails verify (${lastLines(base.output)}): mend it; the queue goes on when it moves`,
      command: `orchestrator merge ${taskKey(task)}`,
      verifyOutput: base.output,
    };
  }
  // A repair is the first step's, whoever was the last.
  const kind = settings.providers[task.workflow.steps[0]?.provider ?? ""]?.kind ?? "command";
  return { type: "verify-failed", output: failed.output, canRepair: parts.backend(kind).hasSessions };
}

async function runAll(
  parts: Parts,
  task: TaskRecord,
  { mergeId, target }: CandidateToVerify,
  commands: readonly string[],
  sha: string,
  what: string,
): Promise<Run> {
  const { processes, repository } = parts;
  const settings = parts.settingsOf(task.planId);
  const cwd = await repository.queueWorktree(target, sha);
  for (const [index, command] of commands.entries()) {
    const child = processes.start({
      id: `verify-${mergeId}-${what}-${index + 1}`,
      label: `verify ${taskKey(task)}: ${command.slice(0, 60)}`,
      file: "/bin/sh",
      // The command is the user's own, from a trusted config or the plan; it is data to sh, not to us.
      args: ["-c", command],
      cwd,
      env: parts.baseEnvironment(),
      stdin: null,
      deadlineMs: settings.verifyTimeoutMs,
      killGraceMs: Math.min(settings.killGraceMs, 5_000),
      outputDir: join(parts.attemptsFolder, mergeId, `${what}-${index + 1}`),
    });
    const report = await child.exited;
    if (report.outcome === "exited" && report.exitCode === 0) continue;
    if (report.outcome === "spawn-failed" && machineLimitOf(report.error) !== null) {
      throw new Error(`verify could not be started: ${report.error ?? ""}`);
    }
    const how =
      report.stopReason === "timed-out"
        ? `did not end within ${settings.verifyTimeoutMs / 60_000} minutes`
        : report.outcome === "spawn-failed"
          ? `could not be started: ${report.error ?? ""}`
          : `ended with ${report.exitCode === null ? `signal ${report.signal ?? "?"}` : `exit code ${report.exitCode}`}`;
    const text = `$ ${command}\n${report.stdoutTail}${report.stderrTail}\n[${how}]`;
    const wasStopped = report.stopReason !== null && report.stopReason !== "timed-out";
    return { passed: false, output: text.slice(-MAX_OUTPUT_CHARACTERS), wasStopped };
  }
  return { passed: true };
}

/** The command's own last words, and how it ended. */
function lastLines(output: string): string {
  return output
    .trim()
    .split(/\s*\n\s*/)
    .slice(-3)
    .join(" / ")
    .slice(-300);
}
