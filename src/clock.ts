/** Time as a value that can be given, so that tests can hold it still. */
export interface Clock {
  /** Wall-clock milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds of a clock that never jumps back; only differences mean something. */
  monotonicMs(): number;
  /** Calls `callback` once after at least `delayMs`; the answer cancels it. Never keeps the process alive by itself. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** setTimeout takes at most 2^31-1 ms; a longer one fires at once. */
const LONGEST_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs, callback) {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(leftMs, LONGEST_TIMER_MS);
      timer = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
      timer.unref();
    };
    arm(Math.max(0, delayMs));
    return () => clearTimeout(timer);
  },
};
