import type { Clock } from "../clock.ts";

/** Ticks come each second; a step longer than this was the machine's sleep (or a stopped engine), not running time. */
const LONGEST_STEP_MS = 5000;

/** How often running time is taken at least, by whoever owns one. */
export const TICK_MS = 1000;

/**
 * Time that really was there to run in. A monotonic clock alone is not enough: macOS lets it run on while the machine
 * sleeps, and a virtual machine that was paused sees one long step. Whoever owns it asks at least each TICK_MS.
 */
export class RunningTime {
  readonly #clock: Clock;
  #lastMs: number;
  #elapsedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
  }

  /** Milliseconds since it was made, the machine's sleep taken off. */
  elapsedMs(): number {
    const nowMs = this.#clock.monotonicMs();
    this.#elapsedMs += Math.min(Math.max(0, nowMs - this.#lastMs), LONGEST_STEP_MS);
    this.#lastMs = nowMs;
    return this.#elapsedMs;
  }
}
