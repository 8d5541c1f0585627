/**
 * One child from its spawn to its report.
 *
 *     running ──exit──▶ draining ──streams end, or 2 s──▶ sweeping ──nothing of it is left──▶ ended
 *        └─stop─▶ stopping: TERM to all of it, grace, KILL ──exit─▶ draining and sweeping, within the same grace ──▶ ended
 *
 * The exit event decides that it ended, nothing else. The first stop reason wins, and what ended before it was stopped
 * was not stopped. Until that event the pid can't be anybody else's (Node has not waited for it yet), so signals before
 * it are safe; after it only processes whose start time fits are signalled.
 */
import type { Writable } from "node:stream";

import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { OutputCapture } from "./output-capture.ts";
import { OutputLog, prepareOutputFolder, type OutputStreamName } from "./output-log.ts";
import {
  ATTEMPT_MARK,
  ENGINE_MARK,
  GUARD_MARK,
  identityOf,
  readProcessTable,
  type ProcessIdentity,
  type ProcessRow,
} from "./process-table.ts";
import type { ExitReport, ManagedProcess, ProcessLogEntry, ProcessSpec, StopReason } from "./process-types.ts";
import { RunningTime, TICK_MS } from "./running-time.ts";
import { spawnChild, type SpawnedChild } from "./spawn-child.ts";
import { attemptMark, endBelonging, findBelonging, signalEach, type KnownAttempt } from "./strays.ts";

/** A grandchild that holds the pipe is not waited for any longer than this. */
const DRAIN_AFTER_EXIT_MS = 2000;

/** For what one leaves behind when its grace is used up: TERM still comes before KILL. */
const LEAST_GRACE_MS = 1000;

/** A process that KILL did not end by then is held by the kernel (a dead network disk): its slot must not be lost too. */
const GIVE_UP_AFTER_KILL_MS = 10_000;

const DEFAULT_MAX_LOG_BYTES = 8 * 1024 * 1024;

export interface ProcessHost {
  readonly engineId: string;
  readonly clock: Clock;
  readonly log: (entry: Omit<ProcessLogEntry, "atMs">) => void;
  /** Called when there is a root to be remembered, before anything else can happen. */
  readonly onStarted: (root: ProcessIdentity) => void;
  /** What is known of it by now, for the sweep. */
  readonly known: () => readonly KnownAttempt[];
}

export class RunningProcess implements ManagedProcess {
  readonly id: string;
  readonly label: string;
  readonly spec: ProcessSpec;
  readonly startedAtMs: number;
  readonly exited: Promise<ExitReport>;
  readonly pid: number | null = null;
  readonly identity: ProcessIdentity | null = null;

  readonly #host: ProcessHost;
  readonly #running: RunningTime;
  readonly #stdin: Writable | null = null;
  #settle: (report: ExitReport) => void = () => {};
  #captures: readonly OutputCapture[] = [];
  #logs: readonly OutputLog[] = [];
  #lastOutputAtMs: number;
  #lastOutputRunningMs = 0;
  #stopReason: StopReason | null = null;
  #hasExited = false;
  #hasNoGrace = false;
  #stoppedAtMs = 0;
  /** Outside its group, and asked to end together with it. */
  readonly #asked = new Set<number>();
  /** By their pids: those ended together with the root, and those found by the sweep. */
  readonly #straysKilled = new Set<number>();
  #isEnded = false;
  #error: string | null = null;
  #cancelTick: () => void = () => {};
  /** Of the one thing waited for on the way to its end: grace, giving up, drain. */
  #cancelWait: () => void = () => {};

  /** Starts it. A failure to start is an outcome of `exited`, never thrown. */
  constructor(spec: ProcessSpec, host: ProcessHost) {
    this.spec = spec;
    this.id = spec.id;
    this.label = spec.label;
    this.#host = host;
    this.#running = new RunningTime(host.clock);
    this.startedAtMs = host.clock.nowMs();
    this.#lastOutputAtMs = this.startedAtMs;
    this.exited = new Promise((resolve) => {
      this.#settle = (report) => {
        this.#isEnded = true;
        resolve(report);
      };
    });

    const { [ENGINE_MARK]: _engine, [GUARD_MARK]: _guard, ...env } = spec.env;
    this.#prepareOutput();
    const outcome = spawnChild({
      file: spec.file,
      args: spec.args,
      cwd: spec.cwd,
      env: { ...env, [ATTEMPT_MARK]: attemptMark(host.engineId, spec.id) },
      hasStdin: spec.stdin !== null || spec.keepStdinOpen === true,
    });
    if (!outcome.isStarted) {
      this.#hasExited = true;
      void outcome.why.then((why) => this.#failToSpawn(why));
      return;
    }
    const { child } = outcome;
    this.pid = child.pid;
    this.identity = identityOf(child.pid) ?? { pid: child.pid, startTime: "unknown" };
    this.#stdin = child.stdin;
    host.onStarted(this.identity);
    host.log({ event: "spawn", id: this.id, label: this.label, pid: child.pid, message: `started ${spec.file}` });
    this.#read(child);
    this.#feed();
    child.child.once("exit", (exitCode, signal) => {
      if (!this.#hasExited) void this.#finish(exitCode, signal);
    });
    this.#tick();
  }

  get lastOutputAtMs(): number {
    return this.#lastOutputAtMs;
  }

  get state(): "running" | "stopping" | "ended" {
    if (this.#isEnded) return "ended";
    return this.#stopReason === null ? "running" : "stopping";
  }

  /** The sleep-free clock: how long it runs, and how long it has been silent. */
  times(): { readonly runningMs: number; readonly silentMs: number } {
    const runningMs = this.#running.elapsedMs();
    return { runningMs, silentMs: runningMs - this.#lastOutputRunningMs };
  }

  stop(reason: StopReason): Promise<ExitReport> {
    if (this.#hasExited || this.#stopReason !== null) return this.exited;
    this.#stopReason = reason;
    this.#stoppedAtMs = this.#host.clock.monotonicMs();
    void this.#terminate();
    return this.exited;
  }

  endNow(): void {
    if (this.#stopReason === null || this.#hasNoGrace) return;
    this.#hasNoGrace = true;
    if (!this.#hasExited) void this.#kill();
  }

  write(text: string): boolean {
    if (this.spec.keepStdinOpen !== true || this.#stdin?.writable !== true || this.#hasExited) return false;
    this.#stdin.write(text);
    return true;
  }

  endStdin(): void {
    this.#stdin?.end();
  }

  #prepareOutput(): void {
    const { outputDir } = this.spec;
    if (outputDir === null) return;
    try {
      prepareOutputFolder(outputDir);
      this.#logs = (["stdout", "stderr"] as const).map((name) => this.#openLog(outputDir, name));
    } catch (error) {
      // The work is worth more than its log.
      this.#logError(`the output can't be kept in ${outputDir}: ${messageOf(error)}`);
    }
  }

  #openLog(folder: string, name: OutputStreamName): OutputLog {
    return new OutputLog({
      folder,
      name,
      maxBytes: this.spec.maxLogBytes ?? DEFAULT_MAX_LOG_BYTES,
      onError: (error) => this.#logError(`${name} is no longer kept: ${messageOf(error)}`),
    });
  }

  #read(child: SpawnedChild): void {
    const onOutput = (): void => {
      this.#lastOutputAtMs = this.#host.clock.nowMs();
      this.#lastOutputRunningMs = this.#running.elapsedMs();
    };
    const onReaderError = (error: unknown): void => this.#logError(`a reader of its output threw: ${messageOf(error)}`);
    const streams = [
      { stream: child.stdout, onText: this.spec.onStdout },
      { stream: child.stderr, onText: this.spec.onStderr },
    ];
    this.#captures = streams.map(
      ({ stream, onText }, index) =>
        new OutputCapture({ stream, onText, log: this.#logs[index] ?? null, onOutput, onReaderError }),
    );
  }

  #feed(): void {
    const stdin = this.#stdin;
    if (stdin === null) return;
    // A child may end, or close its stdin, before it has read all: its exit tells more than our EPIPE.
    stdin.on("error", () => {});
    if (this.spec.stdin !== null) stdin.write(this.spec.stdin);
    if (this.spec.keepStdinOpen !== true) stdin.end();
  }

  /** Takes the running time each second and stops it at its deadline. */
  #tick(): void {
    if (this.#hasExited) return;
    const { deadlineMs } = this.spec;
    const elapsedMs = this.#running.elapsedMs();
    if (deadlineMs !== null && elapsedMs >= deadlineMs) void this.stop("timed-out");
    const untilDeadlineMs = deadlineMs === null || elapsedMs >= deadlineMs ? TICK_MS : deadlineMs - elapsedMs;
    const delayMs = Math.max(1, Math.min(TICK_MS, untilDeadlineMs));
    this.#cancelTick = this.#host.clock.schedule(delayMs, () => this.#tick());
  }

  async #terminate(): Promise<void> {
    await this.#signalTree("SIGTERM");
    if (this.#hasExited || this.#hasNoGrace) return;
    this.#waitThen(this.spec.killGraceMs, () => void this.#kill());
  }

  async #kill(): Promise<void> {
    await this.#signalTree("SIGKILL");
    if (this.#hasExited) return;
    this.#waitThen(GIVE_UP_AFTER_KILL_MS, () => {
      this.#logError("KILL did not end it; it is given up and looked for again at the next start");
      void this.#finish(null, null);
    });
  }

  /**
   * Signals the group as one (the process alone when an engine sits in its group) and whatever of the tree left it.
   * What left it has its grace together with the root: asked only once the root is gone, it needed another.
   */
  async #signalTree(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const { pid } = this;
    if (pid === null || this.#hasExited) return;
    const tree = await this.#lookAtTree(pid);
    // It may have ended while we looked; then all of it is the sweep's.
    if (this.#hasExited) return;
    this.#host.log({ event: "signal", id: this.id, pid, message: `${signal} (${this.#stopReason ?? "no reason"})` });
    const target = tree.hasEngineInGroup ? pid : -pid;
    this.#trySignal(target, signal);
    // A stopped process takes TERM only once it goes on.
    if (signal === "SIGTERM") this.#trySignal(target, "SIGCONT");
    // With an engine in its group, its own members were not signalled with it. What appeared since TERM has its grace
    // in the sweep.
    const outside = tree.members.filter((row) => row.pid !== pid && (tree.hasEngineInGroup || row.groupId !== pid));
    const due = signal === "SIGTERM" ? outside : outside.filter((row) => this.#asked.has(row.pid));
    for (const row of due) (signal === "SIGTERM" ? this.#asked : this.#straysKilled).add(row.pid);
    await signalEach(due, () => (signal === "SIGTERM" ? ["SIGTERM", "SIGCONT"] : ["SIGKILL"]));
  }

  async #lookAtTree(
    groupId: number,
  ): Promise<{ readonly members: readonly ProcessRow[]; readonly hasEngineInGroup: boolean }> {
    try {
      const table = await readProcessTable({ marks: "all" });
      const search = { engineId: this.#host.engineId, attemptId: this.id, selfPid: process.pid };
      const rows = [...table.values()];
      return {
        members: findBelonging(table, this.#host.known(), search),
        hasEngineInGroup: rows.some((row) => row.groupId === groupId && row.marks?.engine != null),
      };
    } catch (error) {
      this.#logError(`the process table can't be read: ${messageOf(error)}`);
      return { members: [], hasEngineInGroup: false };
    }
  }

  #trySignal(target: number, signal: NodeJS.Signals): void {
    try {
      process.kill(target, signal);
    } catch {
      // Gone already; its exit event is on the way.
    }
  }

  async #finish(exitCode: number | null, signal: string | null): Promise<void> {
    this.#hasExited = true;
    this.#cancelTick();
    this.#cancelWait();
    const endedAtMs = this.#host.clock.nowMs();
    const ranForMs = this.#running.elapsedMs();
    const isStopped = this.#stopReason !== null;
    // What a stopped one leaves behind has nothing to say any more, and would hold the pipe for all of the drain.
    const drained = this.#drain();
    if (!isStopped) await drained;
    await this.#sweep(this.#graceLeftMs());
    await drained;
    const report: ExitReport = {
      id: this.id,
      pid: this.pid,
      outcome: isStopped ? "stopped" : "exited",
      stopReason: this.#stopReason,
      exitCode,
      signal,
      ...this.#tails(),
      startedAtMs: this.startedAtMs,
      endedAtMs,
      ranForMs,
      straysKilled: this.#straysKilled.size,
      error: this.#error,
    };
    const how = signal === null ? `code ${exitCode}` : signal;
    const why = isStopped ? `stopped (${this.#stopReason})` : exitCode === 0 ? "finished" : "crashed";
    this.#host.log({ event: "exit", id: this.id, label: this.label, ...this.#pid(), message: `${why}, ${how}` });
    this.#settle(report);
  }

  async #drain(): Promise<void> {
    const allRead = Promise.all(this.#captures.map((capture) => capture.ended));
    const tooLong = new Promise<void>((resolve) => this.#waitThen(DRAIN_AFTER_EXIT_MS, resolve));
    await Promise.race([allRead, tooLong]);
    this.#cancelWait();
    for (const capture of this.#captures) capture.abandon();
    this.#stdin?.destroy();
    await Promise.all(this.#logs.map((log) => log.close()));
  }

  /** One grace for all of a tree: what the root took of it is gone for those it leaves behind. */
  #graceLeftMs(): number {
    const { killGraceMs } = this.spec;
    if (this.#hasNoGrace) return 0;
    if (this.#stopReason === null) return killGraceMs;
    const takenMs = this.#host.clock.monotonicMs() - this.#stoppedAtMs;
    return Math.max(killGraceMs - takenMs, Math.min(killGraceMs, LEAST_GRACE_MS));
  }

  async #sweep(graceMs: number): Promise<void> {
    try {
      const { ended, survivors } = await endBelonging({
        engineId: this.#host.engineId,
        attemptId: this.id,
        known: this.#host.known(),
        graceMs,
        isGraceOver: () => this.#hasNoGrace,
        giveUpMs: graceMs + GIVE_UP_AFTER_KILL_MS,
      });
      if (ended.length > 0) {
        const pids = ended.map(({ pid }) => pid).join(", ");
        this.#host.log({ event: "strays", id: this.id, message: `ended ${ended.length} left behind: ${pids}` });
      }
      if (survivors.length > 0) {
        this.#logError(`can't be ended: ${survivors.map(({ pid }) => pid).join(", ")}`);
      }
      for (const { pid } of ended) this.#straysKilled.add(pid);
    } catch (error) {
      this.#logError(`what it left behind can't be looked for: ${messageOf(error)}`);
    }
  }

  #failToSpawn(why: string): void {
    this.#logError(why);
    this.#settle({
      id: this.id,
      pid: null,
      outcome: "spawn-failed",
      stopReason: null,
      exitCode: null,
      signal: null,
      stdoutTail: "",
      stderrTail: "",
      startedAtMs: this.startedAtMs,
      endedAtMs: this.#host.clock.nowMs(),
      ranForMs: 0,
      straysKilled: 0,
      error: why,
    });
  }

  #tails(): Pick<ExitReport, "stdoutTail" | "stderrTail"> {
    const [stdout, stderr] = this.#captures;
    return { stdoutTail: stdout?.tail() ?? "", stderrTail: stderr?.tail() ?? "" };
  }

  #waitThen(delayMs: number, callback: () => void): void {
    this.#cancelWait();
    this.#cancelWait = this.#host.clock.schedule(delayMs, callback);
  }

  /** The first error is the report's. */
  #logError(message: string): void {
    this.#error ??= message;
    this.#host.log({ event: "error", id: this.id, label: this.label, ...this.#pid(), message });
  }

  #pid(): { readonly pid?: number } {
    return this.pid === null ? {} : { pid: this.pid };
  }
}
