/**
 * What happens in the engine, as a client hears it: from the moment the feed is opened every committed event, once and
 * in order, also over an engine's restart. A plan's first events come before its id is known here, so they are kept
 * until somebody asks for them.
 */
import type { EngineClient, Subscription } from "../engine/client.ts";
import { messageOf, AppError } from "../errors.ts";
import type { StoredEvent } from "../events/event.ts";

export type EventListener = (event: StoredEvent) => void;

export class EventFeed {
  readonly #subscription: Subscription;
  readonly #waiting = new Set<() => void>();
  #kept: StoredEvent[] = [];
  #listener: EventListener | null = null;
  #problem: AppError | null = null;
  #isEnded = false;
  /** The last event that was heard. */
  lastSeq = 0;

  /** `since` null: from now on. */
  constructor(client: EngineClient, since: number | null) {
    this.#subscription = client.subscribe(since, (event) => this.#hear(event as unknown as StoredEvent));
    this.#subscription.ended.then(
      () => this.#end(null),
      (thrown: unknown) =>
        this.#end(thrown instanceof AppError ? thrown : new AppError("ENGINE_UNREACHABLE", messageOf(thrown))),
    );
  }

  /** Hands on what was kept, then everything as it comes. One listener. */
  listen(listener: EventListener): void {
    const kept = this.#kept;
    this.#kept = [];
    this.#listener = listener;
    for (const event of kept) listener(event);
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Resolves when an event after `seq` was heard, the feed has ended, or after `longestMs`. Throws what ended the feed. */
  async beyond(seq: number, longestMs: number): Promise<void> {
    const deadlineMs = performance.now() + longestMs;
    while (this.lastSeq <= seq && !this.#isEnded) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) break;
      await this.#nextEvent(leftMs);
    }
    if (this.#problem !== null) throw this.#problem;
  }

  async #nextEvent(longestMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(end);
        resolve();
      };
      const timer = setTimeout(end, longestMs);
      this.#waiting.add(end);
    });
  }

  close(): void {
    this.#subscription.close();
  }

  #hear(event: StoredEvent): void {
    this.lastSeq = event.seq;
    if (this.#listener === null) this.#kept.push(event);
    else this.#listener(event);
    this.#wake();
  }

  #end(problem: AppError | null): void {
    this.#isEnded = true;
    this.#problem = problem;
    this.#wake();
  }

  #wake(): void {
    for (const end of this.#waiting) end();
  }
}
