/**
 * The in-process bus between those who change things and those who show or answer them.
 *
 * Two kinds of news, with different promises:
 *
 * - **Events** are rows that are committed. Every listener gets every event that was published after it subscribed,
 *   once, in order, none dropped. They are delivered soon after the publisher's code has run to its end (a microtask),
 *   never within it, so that no listener sees the publisher's state half changed. Hence, without an `await` between the
 *   two: reading `store.events.since()` and then subscribing leaves neither a gap nor an overlap. Listeners are
 *   synchronous and must be quick; one that throws is reported, and neither the others nor its own later events suffer.
 * - **Live output** is what agents say as they say it. It may be dropped: each listener has a bounded queue, the oldest
 *   entries give way, and the listener is told how many it lost. It comes in batches, one batch a turn of the event
 *   loop; a listener that answers a promise gets the next batch when that has settled. `attempts/<id>/` retells it all.
 *
 * The bus holds nothing back for those who come later, keeps no process alive, and never calls a listener that has
 * unsubscribed.
 */
import type { StoredEvent } from "./event.ts";

/** One thing an agent did, as it did it. `Output` is the backend's event type, which this folder does not know. */
export interface LiveOutput<Output> {
  readonly attemptId: string;
  readonly planId: string;
  readonly taskId: string;
  readonly event: Output;
}

export type EventListener = (event: StoredEvent) => void;

/** `dropped`: how many entries were lost just before this batch. */
export type OutputListener<Output> = (batch: readonly LiveOutput<Output>[], dropped: number) => void | Promise<void>;

export interface OutputFilter {
  readonly planId?: string;
  readonly taskId?: string;
  readonly attemptId?: string;
}

export interface EventBus<Output> {
  /** Committed events, in order. Give it to `store.onCommit`. */
  publish(events: readonly StoredEvent[]): void;
  /** The answer unsubscribes. */
  onEvent(listener: EventListener): () => void;
  publishOutput(output: LiveOutput<Output>): void;
  /** Only what fits the filter. The answer unsubscribes. */
  onOutput(listener: OutputListener<Output>, filter?: OutputFilter): () => void;
}

export interface EventBusOptions {
  /** Told what a listener threw (or its promise was rejected with). Must not throw. */
  readonly onListenerError: (thrown: unknown) => void;
  /** Bounds of one listener's queue of live output. */
  readonly maxQueuedOutputs?: number;
  readonly maxQueuedCharacters?: number;
}

/** A screen shows some hundred lines; more than this was too fast to read anyway. */
const MAX_QUEUED_OUTPUTS = 1000;

/** One entry may be a line of a megabyte: a count alone bounds nothing. */
const MAX_QUEUED_CHARACTERS = 4 * 1024 * 1024;

export function createEventBus<Output extends object>(options: EventBusOptions): EventBus<Output> {
  const { onListenerError } = options;
  const maxOutputs = options.maxQueuedOutputs ?? MAX_QUEUED_OUTPUTS;
  const maxCharacters = options.maxQueuedCharacters ?? MAX_QUEUED_CHARACTERS;
  const events = new EventFanOut(onListenerError);
  const outputQueues = new Set<OutputQueue<Output>>();
  return {
    publish: (committed) => events.publish(committed),
    onEvent: (listener) => events.subscribe(listener),
    publishOutput(output) {
      if (outputQueues.size === 0) return;
      const characters = countCharacters(output.event);
      for (const queue of outputQueues) queue.push(output, characters);
    },
    onOutput(listener, filter = {}) {
      const queue = new OutputQueue(listener, filter, { maxOutputs, maxCharacters, onListenerError });
      outputQueues.add(queue);
      return () => {
        outputQueues.delete(queue);
        queue.close();
      };
    },
  };
}

class EventFanOut {
  /** Each listener with the number of publications it does not get, because they were before its time. */
  readonly #listeners = new Map<object, { readonly listener: EventListener; readonly after: number }>();
  readonly #onListenerError: (thrown: unknown) => void;
  #waiting: StoredEvent[] = [];
  #published = 0;
  #delivered = 0;
  #isScheduled = false;

  constructor(onListenerError: (thrown: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  subscribe(listener: EventListener): () => void {
    // A key of its own: the same function may subscribe twice.
    const key = {};
    this.#listeners.set(key, { listener, after: this.#published });
    return () => this.#listeners.delete(key);
  }

  publish(events: readonly StoredEvent[]): void {
    if (events.length === 0) return;
    this.#published += events.length;
    if (this.#listeners.size === 0 && this.#waiting.length === 0) {
      this.#delivered = this.#published;
      return;
    }
    for (const event of events) this.#waiting.push(event);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => this.#deliver());
  }

  #deliver(): void {
    // A listener may publish: its events join the end and have their turn here.
    while (this.#waiting.length > 0) {
      const events = this.#waiting;
      this.#waiting = [];
      for (const event of events) {
        this.#delivered += 1;
        this.#deliverOne(event, this.#delivered);
      }
    }
    this.#isScheduled = false;
  }

  #deliverOne(event: StoredEvent, number: number): void {
    // A Map's iteration skips those that are deleted meanwhile.
    for (const { listener, after } of this.#listeners.values()) {
      if (number <= after) continue;
      try {
        listener(event);
      } catch (thrown) {
        this.#onListenerError(thrown);
      }
    }
  }
}

interface QueueBounds {
  readonly maxOutputs: number;
  readonly maxCharacters: number;
  readonly onListenerError: (thrown: unknown) => void;
}

class OutputQueue<Output> {
  readonly #listener: OutputListener<Output>;
  readonly #filter: OutputFilter;
  readonly #bounds: QueueBounds;
  #queued: { readonly output: LiveOutput<Output>; readonly characters: number }[] = [];
  #characters = 0;
  #dropped = 0;
  /** A batch is scheduled or being taken in. */
  #isBusy = false;
  #isClosed = false;

  constructor(listener: OutputListener<Output>, filter: OutputFilter, bounds: QueueBounds) {
    this.#listener = listener;
    this.#filter = filter;
    this.#bounds = bounds;
  }

  push(output: LiveOutput<Output>, characters: number): void {
    if (!fits(output, this.#filter)) return;
    this.#queued.push({ output, characters });
    this.#characters += characters;
    this.#dropOldest();
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#queued = [];
  }

  /** Keeps at least the newest, however large. */
  #dropOldest(): void {
    const { maxOutputs, maxCharacters } = this.#bounds;
    while (this.#queued.length > 1 && (this.#queued.length > maxOutputs || this.#characters > maxCharacters)) {
      this.#characters -= this.#queued.shift()?.characters ?? 0;
      this.#dropped += 1;
    }
  }

  #schedule(): void {
    if (this.#isBusy || this.#isClosed || this.#queued.length === 0) return;
    this.#isBusy = true;
    // One batch a turn of the event loop: a flood leaves room for sockets and timers between batches.
    setImmediate(() => void this.#deliver());
  }

  async #deliver(): Promise<void> {
    const batch = this.#queued.map(({ output }) => output);
    const dropped = this.#dropped;
    this.#queued = [];
    this.#characters = 0;
    this.#dropped = 0;
    try {
      if (!this.#isClosed) await this.#listener(batch, dropped);
    } catch (thrown) {
      this.#bounds.onListenerError(thrown);
    }
    this.#isBusy = false;
    this.#schedule();
  }
}

function fits(output: LiveOutput<unknown>, filter: OutputFilter): boolean {
  return (
    (filter.planId === undefined || filter.planId === output.planId) &&
    (filter.taskId === undefined || filter.taskId === output.taskId) &&
    (filter.attemptId === undefined || filter.attemptId === output.attemptId)
  );
}

/** About how much an agent's event weighs: the texts it holds. */
function countCharacters(event: object): number {
  let characters = 0;
  for (const value of Object.values(event)) if (typeof value === "string") characters += value.length;
  return characters;
}
