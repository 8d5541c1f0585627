/**
 * Notices that the wall clock went another way than running time did: the machine slept, the engine was stopped, or
 * somebody set the clock. Deadlines stand in the store as moments of the wall clock, so that they hold over restarts;
 * whoever owns one moves it when this tells of a jump.
 */
import type { Clock } from "../clock.ts";
import { RunningTime, TICK_MS } from "../process/running-time.ts";

/** Less is a busy machine, or a clock that is being adjusted bit by bit. */
const LEAST_JUMP_MS = 2_000;

export class ClockWatch {
  readonly #clock: Clock;
  readonly #onJump: (byMs: number) => void;
  readonly #running: RunningTime;
  #wallMs: number;
  #runningMs = 0;
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, onJump: (byMs: number) => void) {
    this.#clock = clock;
    this.#onJump = onJump;
    this.#running = new RunningTime(clock);
    this.#wallMs = clock.nowMs();
  }

  start(): void {
    this.#cancel = this.#clock.schedule(TICK_MS, () => this.start());
    this.look();
  }

  stop(): void {
    this.#cancel?.();
  }

  /** Call before acting on a deadline: after a jump it may be another timer that fires first. Not in a transaction. */
  look(): void {
    const wallMs = this.#clock.nowMs();
    const runningMs = this.#running.elapsedMs();
    const byMs = Math.round(wallMs - this.#wallMs - (runningMs - this.#runningMs));
    this.#wallMs = wallMs;
    this.#runningMs = runningMs;
    if (Math.abs(byMs) >= LEAST_JUMP_MS) this.#onJump(byMs);
  }
}
