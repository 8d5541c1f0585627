/** Whether a parent agent is there to be asked: when one last called. In memory only, for a call is news of a moment. */
import type { Clock } from "../clock.ts";

export class ParentPresence {
  readonly #clock: Clock;
  #lastCallMs: number | null = null;
  #callsUnderWay = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A parent's call begins; the answer is called when it ends. While one waits for news the parent is there. */
  begin(): () => void {
    this.#callsUnderWay += 1;
    this.#lastCallMs = this.#clock.monotonicMs();
    return () => {
      this.#callsUnderWay -= 1;
      this.#lastCallMs = this.#clock.monotonicMs();
    };
  }

  /** True when a parent calls now, or called within `quietMs`. */
  isThere(quietMs: number): boolean {
    if (this.#callsUnderWay > 0) return true;
    return this.#lastCallMs !== null && this.#clock.monotonicMs() - this.#lastCallMs < quietMs;
  }
}
