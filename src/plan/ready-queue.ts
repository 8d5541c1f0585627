/**
 * Ready tasks in the order in which they may start: those that go on before those that are new, then the longest
 * remaining path, then priority, then age. Kept in one heap for each plan, list of providers and role, because those alone
 * can close a whole heap at once (a paused plan, an open circuit, a budget with no room for that role elsewhere); so one
 * decision looks at a few heads, never at all tasks.
 */
import { Heap } from "./heap.ts";
import type { TaskNode } from "./node.ts";
import { candidatesOf } from "./provider-choice.ts";
import { stepOf } from "./workflow.ts";

/** A task with its rank as it was when it came in: a heap whose order changes under it loses its order. */
interface Entry {
  readonly node: TaskNode;
  readonly ticket: number;
  readonly goesOn: boolean;
  readonly pathLength: number;
  readonly priority: number;
  readonly ordinal: number;
}

interface Bucket {
  readonly planId: string;
  readonly providers: readonly string[];
  readonly heap: Heap<Entry>;
}

export class ReadyQueue {
  readonly #buckets = new Map<string, Bucket>();

  push(node: TaskNode): void {
    const { planId } = node.record;
    const providers = candidatesOf(node.record);
    const key = [planId, stepOf(node.record).agent, ...providers].join("\n");
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { planId, providers, heap: new Heap<Entry>(isBefore) };
      this.#buckets.set(key, bucket);
    }
    bucket.heap.push(entryOf(node));
  }

  /** Takes the first task out of the heaps whose head `isOpen` lets through: it is in nobody's way but those behind it. */
  take(isOpen: (head: TaskNode) => boolean): TaskNode | undefined {
    let best: Bucket | undefined;
    let bestHead: Entry | undefined;
    for (const [key, bucket] of this.#buckets) {
      const head = freshHead(bucket);
      if (head === undefined) {
        this.#buckets.delete(key);
        continue;
      }
      if (bestHead !== undefined && !isBefore(head, bestHead)) continue;
      if (!isOpen(head.node)) continue;
      best = bucket;
      bestHead = head;
    }
    best?.heap.pop();
    return bestHead?.node;
  }

  /** Providers that some ready task may start with. */
  providers(): Set<string> {
    const names = new Set<string>();
    for (const bucket of this.#buckets.values()) {
      if (freshHead(bucket) !== undefined) for (const name of bucket.providers) names.add(name);
    }
    return names;
  }
}

/** The first entry that still stands for a ready task; stale ones before it are dropped. */
function freshHead(bucket: Bucket): Entry | undefined {
  for (;;) {
    const head = bucket.heap.peek();
    if (head === undefined) return undefined;
    if (head.ticket === head.node.ticket && head.node.record.state === "ready") return head;
    bucket.heap.pop();
  }
}

function entryOf(node: TaskNode): Entry {
  const { ledger, spec, ordinal } = node.record;
  const { ticket, pathLength } = node;
  return { node, ticket, goesOn: ledger.attempts > 0, pathLength, priority: spec.priority, ordinal };
}

function isBefore(left: Entry, right: Entry): boolean {
  if (left.goesOn !== right.goesOn) return left.goesOn;
  if (left.pathLength !== right.pathLength) return left.pathLength > right.pathLength;
  if (left.priority !== right.priority) return left.priority > right.priority;
  return left.ordinal < right.ordinal;
}
