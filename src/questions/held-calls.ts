/**
 * The calls that wait for a question to settle: each ends with the question, with its time, with its caller, or with
 * the engine, whichever is first. It knows no store: what a question's row says is asked for.
 */
import type { Clock } from "../clock.ts";
import type { QuestionRow } from "../store/questions.ts";

/** How long the asker can wait, and what becomes of it then. */
export interface Hold {
  /** True: after `holdMs` the question is parked, and its agent is to end its turn. */
  readonly canPark: boolean;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

interface HeldCall {
  readonly id: string;
  readonly attemptId: string;
  readonly holdMs: number;
}

const PROGRESS_EVERY_MS = 10_000;

export class HeldCalls {
  readonly #clock: Clock;
  /** By question. */
  readonly #waiting = new Map<string, Set<() => void>>();
  /** How many, by attempt. */
  readonly #held = new Map<string, number>();
  #isStopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends all, and holds none from now on. */
  stop(): void {
    this.#isStopped = true;
    for (const ends of this.#waiting.values()) for (const end of ends) end();
  }

  /** The question has settled. */
  end(questionId: string): void {
    for (const end of this.#waiting.get(questionId) ?? []) end();
  }

  /** True while a call of that attempt is held. */
  isHolding(attemptId: string): boolean {
    return this.#held.has(attemptId);
  }

  /** `question` reads the row anew. */
  async untilEnded({ id, attemptId, holdMs }: HeldCall, hold: Hold, question: () => QuestionRow): Promise<void> {
    this.#held.set(attemptId, (this.#held.get(attemptId) ?? 0) + 1);
    try {
      if (question().state === "open") await this.#wait(id, holdMs, hold, question);
    } finally {
      const left = (this.#held.get(attemptId) ?? 1) - 1;
      if (left === 0) this.#held.delete(attemptId);
      else this.#held.set(attemptId, left);
    }
  }

  async #wait(id: string, holdMs: number, { signal, progress }: Hold, question: () => QuestionRow): Promise<void> {
    await new Promise<void>((resolve) => {
      const ends = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, ends);
      let cancelProgress = (): void => {};
      const end = (): void => {
        ends.delete(end);
        if (ends.size === 0) this.#waiting.delete(id);
        cancelHold();
        cancelProgress();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const report = (): void => {
        const { stage } = question();
        progress(`${id} waits for an answer${stage === null ? "" : ` (asked: ${stage})`}`);
        cancelProgress = this.#clock.schedule(PROGRESS_EVERY_MS, report);
      };
      ends.add(end);
      const cancelHold = this.#clock.schedule(holdMs, end);
      signal.addEventListener("abort", end);
      if (signal.aborted || this.#isStopped) end();
      else report();
    });
  }
}
