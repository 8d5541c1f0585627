/**
 * Ready tasks in the order in which they may start: those that go on before those that are new, then the longest
 * remaining path, then priority, then age. Kept in one heap for each plan and provider, because those two alone can
 * close a whole heap at once (a paused plan, an open circuit); so one decision looks at a few heads, never at all tasks.
 */
import { Heap } from "./heap.ts";
import type { TaskNode } from "./node.ts";

interface Entry {
  readonly node: TaskNode;
  readonly ticket: number;
}

interface Bucket {
  readonly planId: string;
  readonly provider: string;
  readonly heap: Heap<Entry>;
}

export class ReadyQueue {
  readonly #buckets = new Map<string, Bucket>();

  push(node: TaskNode): void {
    const { planId, provider } = node.record;
    const key = `${planId}\n${provider}`;
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { planId, provider, heap: new Heap<Entry>((left, right) => isBefore(left.node, right.node)) };
      this.#buckets.set(key, bucket);
    }
    bucket.heap.push({ node, ticket: node.ticket });
  }

  /** Takes the first task out of the heaps that `isOpen` lets through. */
  take(isOpen: (planId: string, provider: string) => boolean): TaskNode | undefined {
    let best: Bucket | undefined;
    let bestNode: TaskNode | undefined;
    for (const [key, bucket] of this.#buckets) {
      const head = freshHead(bucket);
      if (head === undefined) {
        this.#buckets.delete(key);
        continue;
      }
      if (bestNode !== undefined && !isBefore(head, bestNode)) continue;
      if (!isOpen(bucket.planId, bucket.provider)) continue;
      best = bucket;
      bestNode = head;
    }
    best?.heap.pop();
    return bestNode;
  }

  /** Providers that some ready task wants. */
  providers(): Set<string> {
    const names = new Set<string>();
    for (const bucket of this.#buckets.values()) if (freshHead(bucket) !== undefined) names.add(bucket.provider);
    return names;
  }
}

/** The first entry that still stands for a ready task; stale ones before it are dropped. */
function freshHead(bucket: Bucket): TaskNode | undefined {
  for (;;) {
    const head = bucket.heap.peek();
    if (head === undefined) return undefined;
    if (head.ticket === head.node.ticket && head.node.record.state === "ready") return head.node;
    bucket.heap.pop();
  }
}

export function isBefore(left: TaskNode, right: TaskNode): boolean {
  const leftGoesOn = left.record.ledger.attempts > 0;
  const rightGoesOn = right.record.ledger.attempts > 0;
  if (leftGoesOn !== rightGoesOn) return leftGoesOn;
  if (left.pathLength !== right.pathLength) return left.pathLength > right.pathLength;
  const byPriority = right.record.spec.priority - left.record.spec.priority;
  if (byPriority !== 0) return byPriority < 0;
  return left.record.ordinal < right.record.ordinal;
}
