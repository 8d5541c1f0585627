/** Waits that end by time. A timer whose task has moved meanwhile is stale, and says nothing. */
import { Heap } from "./heap.ts";
import type { TaskNode } from "./node.ts";

interface Timer {
  readonly atMs: number;
  readonly node: TaskNode;
  readonly ticket: number;
}

export class WaitTimers {
  readonly #timers = new Heap<Timer>((left, right) => left.atMs < right.atMs);

  set(node: TaskNode, atMs: number): void {
    this.#timers.push({ atMs, node, ticket: node.ticket });
  }

  nextMs(): number | null {
    return this.#first()?.atMs ?? null;
  }

  /** Takes the first task whose time has come; null when there is none. */
  takeDue(nowMs: number): TaskNode | null {
    const timer = this.#first();
    if (timer === undefined || timer.atMs > nowMs) return null;
    this.#timers.pop();
    return timer.node;
  }

  #first(): Timer | undefined {
    for (;;) {
      const timer = this.#timers.peek();
      if (timer === undefined || timer.ticket === timer.node.ticket) return timer;
      this.#timers.pop();
    }
  }
}
