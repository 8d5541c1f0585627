/** Tasks that wait for their merge, a line for each target. One merge into a target is under way at a time. */
import type { TaskNode } from "./node.ts";

export class MergeLines {
  readonly #lines = new Map<string, TaskNode[]>();
  readonly #active = new Map<string, TaskNode>();

  enter(node: TaskNode): void {
    const { target } = node.plan.record;
    const line = this.#lines.get(target);
    if (line === undefined) this.#lines.set(target, [node]);
    else line.push(node);
  }

  leave(node: TaskNode): void {
    const line = this.#lines.get(node.plan.record.target);
    const place = line?.indexOf(node) ?? -1;
    if (line !== undefined && place >= 0) line.splice(place, 1);
  }

  /** The task whose merge into `target` is under way. */
  active(target: string): TaskNode | null {
    return this.#active.get(target) ?? null;
  }

  /** Targets with a line. One that empties while they are gone through may go. */
  targets(): IterableIterator<string> {
    return this.#lines.keys();
  }

  /** The task whose merge is next; null when one is under way, or nobody waits whose plan is not paused. */
  next(target: string): TaskNode | null {
    if (this.#active.has(target)) return null;
    const line = this.#lines.get(target) ?? [];
    if (line.length === 0) this.#lines.delete(target);
    return line.find((node) => !node.plan.record.paused) ?? null;
  }

  begin(node: TaskNode): void {
    node.isMergeActive = true;
    this.#active.set(node.plan.record.target, node);
  }

  end(node: TaskNode): void {
    node.isMergeActive = false;
    const { target } = node.plan.record;
    if (this.#active.get(target) === node) this.#active.delete(target);
  }
}
