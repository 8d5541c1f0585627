import type { Clock } from "../clock.ts";

/** The wall clock may be set: look again after a minute at most, so that a jump delays nothing for long. */
const LONGEST_WAIT_MS = 60_000;

/**
 * When the scheduler looks next at what may happen: in the next turn of the event loop, once for all that asks for it
 * in this one, and at the moment at which time alone may change something. Not before
 * `letGo`, for a start that is still looking things up has work to do between two looks; and never after `end`.
 */
export class NextLook {
  readonly #clock: Clock;
  readonly #look: () => void;
  #isDue = false;
  #isHeld = true;
  #hasEnded = false;
  #heldUntilMs = Infinity;
  #cancelHold: (() => void) | null = null;
  #cancelTimer: (() => void) | null = null;

  constructor(clock: Clock, look: () => void) {
    this.#clock = clock;
    this.#look = look;
  }

  soon(): void {
    if (this.#isDue || this.#isHeld || this.#hasEnded) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      if (!this.#hasEnded) this.#look();
    });
  }

  /** Also at this moment, in place of the one that was named before; null: at none. */
  at(wakeMs: number | null): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (wakeMs === null || this.#hasEnded) return;
    const waitMs = Math.min(wakeMs - this.#clock.nowMs(), LONGEST_WAIT_MS);
    this.#cancelTimer = this.#clock.schedule(waitMs, () => this.soon());
  }

  /** `onTooLong` is called when nobody has let it go by then. The earliest time that was named counts. */
  holdFor(forMs: number, onTooLong: () => void): void {
    const untilMs = this.#clock.monotonicMs() + forMs;
    if (!this.#isHeld || this.#hasEnded || untilMs >= this.#heldUntilMs) return;
    this.#heldUntilMs = untilMs;
    this.#cancelHold?.();
    this.#cancelHold = this.#clock.schedule(forMs, onTooLong);
  }

  /** False when it was let go before. Asks for no look by itself. */
  letGo(): boolean {
    if (!this.#isHeld) return false;
    this.#isHeld = false;
    this.#cancelHold?.();
    return true;
  }

  end(): void {
    this.#hasEnded = true;
    this.#cancelTimer?.();
    this.#cancelHold?.();
  }
}
