/**
 * Every agent turn and every verify command runs under this class. It owns the children of one engine: it starts them,
 * remembers what they start, stops them, and tells how each one ended.
 *
 * Always true: a child has its own session and group, a complete environment with our mark, and no shell between; its
 * exit event decides that it ended; its report comes once nothing of it is left, strays included; no child, however
 * much it prints, fills memory or disk or keeps the others from being heard; the first stop reason wins.
 *
 * It never retries, never judges success (that is the backends'), and never lets a callback's error out.
 */
import { systemClock, type Clock } from "../clock.ts";
import { AppError, messageOf } from "../errors.ts";
import { ancestors, type ProcessIdentity } from "./process-table.ts";
import type {
  ExitReport,
  ManagedProcess,
  ProcessLogEntry,
  ProcessSample,
  ProcessSpec,
  StopReason,
} from "./process-types.ts";
import { RunningProcess } from "./running-process.ts";
import { lookAt, remember, type KnownAttempt } from "./strays.ts";

export interface ProcessManagerOptions {
  /** In every child's mark. The same over restarts of one repository's engine, different for any other's. */
  readonly engineId: string;
  readonly clock?: Clock;
  readonly log?: (entry: ProcessLogEntry) => void;
  /** Called with all living attempts whenever they, or what is known below them, changed: for the guard. */
  readonly onAttemptsChanged?: (attempts: readonly KnownAttempt[]) => void;
}

export { describeEnd, healthOf } from "./process-types.ts";
export type {
  ExitReport,
  ManagedProcess,
  ProcessLogEntry,
  ProcessSample,
  ProcessSpec,
  StopReason,
} from "./process-types.ts";

/** What attempts start is remembered this often; a process lives at most so long unseen. */
const LOOK_EVERY_MS = 1000;

/** Specs of ended processes kept for `restart`. */
const RESTARTABLE = 20;

export class ProcessManager {
  readonly #engineId: string;
  readonly #clock: Clock;
  readonly #log: (entry: ProcessLogEntry) => void;
  readonly #onAttemptsChanged: (attempts: readonly KnownAttempt[]) => void;
  readonly #living = new Map<string, RunningProcess>();
  readonly #known = new Map<string, KnownAttempt>();
  readonly #endedSpecs = new Map<string, ProcessSpec>();
  #isLookDue = false;
  #isShutDown = false;

  /** Throws INPUT_INVALID for an engine id that can't be part of a mark. */
  constructor({ engineId, clock = systemClock, log, onAttemptsChanged }: ProcessManagerOptions) {
    if (!/^[^\s\0/]+$/.test(engineId)) {
      throw new AppError("INPUT_INVALID", `An engine id is text without "/" and white space; found "${engineId}".`);
    }
    this.#engineId = engineId;
    this.#clock = clock;
    this.#log = log ?? (() => {});
    this.#onAttemptsChanged = onAttemptsChanged ?? (() => {});
  }

  /**
   * Starts a process. That it can't be started is an outcome (`spawn-failed`) of `exited`. Throws INPUT_INVALID for an
   * id that lives already or can't be part of a mark, and ENGINE_STOPPING after `stopAll("shutdown")`.
   */
  start(spec: ProcessSpec): ManagedProcess {
    if (this.#isShutDown) {
      throw new AppError("ENGINE_STOPPING", `"${spec.label}" is not started: the engine is shutting down.`);
    }
    if (!/^[^\s\0]+$/.test(spec.id)) {
      throw new AppError("INPUT_INVALID", `A process id is text without white space; found "${spec.id}".`);
    }
    if (this.#living.has(spec.id)) {
      throw new AppError("INPUT_INVALID", `Process ${spec.id} lives; stop it, or restart it, or take another id.`);
    }
    // Told before there is a process: should we be killed right after its start, the guard looks for its mark.
    this.#setKnown({ attemptId: spec.id, root: null, members: [] });
    const running = new RunningProcess(spec, {
      engineId: this.#engineId,
      clock: this.#clock,
      log: (entry) => this.#tell(entry),
      onStarted: (root) => this.#setKnown({ attemptId: spec.id, root, members: [] }),
      known: () => [...this.#known.values()].filter(({ attemptId }) => attemptId === spec.id),
    });
    this.#living.set(spec.id, running);
    this.#endedSpecs.delete(spec.id);
    void running.exited.then(() => this.#forget(running));
    this.#lookLater();
    return running;
  }

  /** Stops one: TERM, its grace, KILL. Null when no such process lives. */
  async stop(id: string, reason: StopReason): Promise<ExitReport | null> {
    return (await this.#living.get(id)?.stop(reason)) ?? null;
  }

  /** Stops all at once and waits for all. After `shutdown` nothing is started any more, not even what was waiting. */
  async stopAll(reason: StopReason): Promise<readonly ExitReport[]> {
    if (reason === "shutdown") this.#isShutDown = true;
    const living = [...this.#living.values()];
    this.#tell({ event: "shutdown", message: `stopping ${living.length} (${reason})` });
    return Promise.all(living.map((running) => running.stop(reason)));
  }

  /**
   * Starts a process again with the spec it had; one that lives is stopped first, for `reason`. Throws INPUT_INVALID
   * when the id is not known (the last 20 that ended are).
   */
  async restart(id: string, reason: StopReason = "cancelled"): Promise<ManagedProcess> {
    const spec = this.#living.get(id)?.spec ?? this.#endedSpecs.get(id);
    if (spec === undefined) {
      throw new AppError("INPUT_INVALID", `Process ${id} can't be restarted: none of that id lives or ended lately.`);
    }
    await this.stop(id, reason);
    return this.start(spec);
  }

  /** All that live, those being stopped and those whose strays are being ended included, oldest first. */
  list(): readonly ManagedProcess[] {
    return [...this.#living.values()];
  }

  isRunning(id: string): boolean {
    return this.#living.has(id);
  }

  find(id: string): ManagedProcess | null {
    return this.#living.get(id) ?? null;
  }

  /** The managed process with exactly this pid. */
  findByPid(pid: number): ManagedProcess | null {
    return this.list().find((running) => running.pid === pid) ?? null;
  }

  /** The managed process that `pid` is or is below of: which attempt does this client belong to? */
  async findByDescendant(pid: number): Promise<ManagedProcess | null> {
    const own = this.findByPid(pid);
    if (own !== null) return own;
    const above = await ancestors(pid);
    for (const { pid: ancestor, startTime } of above) {
      for (const [id, { root, members }] of this.#known) {
        const isOurs = [root, ...members].some((seen) => seen?.pid === ancestor && seen.startTime === startTime);
        if (isOurs) return this.find(id);
      }
    }
    const remembered = [...this.#known.values()].find(({ members }) => members.some((seen) => seen.pid === pid));
    return remembered === undefined ? null : this.find(remembered.attemptId);
  }

  /** Evidence of its health, for `healthOf`; null when it does not live. Looks at the process table. */
  async sample(id: string): Promise<ProcessSample | null> {
    const running = this.#living.get(id);
    const known = this.#known.get(id);
    if (running === undefined || known === undefined) return null;
    const { found } = await lookAt([known], this.#engineId);
    const rows = found.get(id) ?? [];
    return {
      atMs: this.#clock.nowMs(),
      lastOutputAtMs: running.lastOutputAtMs,
      ...running.times(),
      cpuMs: rows.reduce((sum, row) => sum + row.cpuMs, 0),
      childCount: rows.filter((row) => row.pid !== running.pid).length,
    };
  }

  /** What the guard is told: living attempts with what is remembered below each. */
  attempts(): readonly KnownAttempt[] {
    return [...this.#known.values()];
  }

  #setKnown(attempt: KnownAttempt): void {
    this.#known.set(attempt.attemptId, attempt);
    this.#tellAttempts();
  }

  #forget(running: RunningProcess): void {
    this.#living.delete(running.id);
    this.#known.delete(running.id);
    this.#tellAttempts();
    this.#endedSpecs.set(running.id, running.spec);
    const [oldest] = this.#endedSpecs.keys();
    if (oldest !== undefined && this.#endedSpecs.size > RESTARTABLE) this.#endedSpecs.delete(oldest);
  }

  /** One look after another while anything lives, none when nothing does. */
  #lookLater(): void {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    this.#clock.schedule(LOOK_EVERY_MS, () => {
      void this.#look().finally(() => {
        this.#isLookDue = false;
        if (this.#living.size > 0) this.#lookLater();
      });
    });
  }

  async #look(): Promise<void> {
    try {
      const { table, found } = await lookAt(this.attempts(), this.#engineId);
      let hasChanged = false;
      for (const [id, rows] of found) {
        // As it is now, not as it was when the look began: it may have ended since.
        const before = this.#known.get(id);
        if (before === undefined) continue;
        const after = remember(table, before, rows);
        hasChanged ||= !areSame(before.members, after.members);
        this.#known.set(id, after);
      }
      if (hasChanged) this.#tellAttempts();
    } catch (error) {
      this.#tell({ event: "error", message: `the process table can't be read: ${messageOf(error)}` });
    }
  }

  #tellAttempts(): void {
    try {
      this.#onAttemptsChanged(this.attempts());
    } catch (error) {
      this.#tell({ event: "error", message: `the guard could not be told: ${messageOf(error)}` });
    }
  }

  #tell(entry: Omit<ProcessLogEntry, "atMs">): void {
    try {
      this.#log({ ...entry, atMs: this.#clock.nowMs() });
    } catch {
      // A log that fails must not end what it tells of.
    }
  }
}

function areSame(one: readonly ProcessIdentity[], other: readonly ProcessIdentity[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ pid, startTime }, index) => other[index]?.pid === pid && other[index].startTime === startTime)
  );
}
