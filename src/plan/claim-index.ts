/**
 * Finds the few tasks whose claims may overlap with a given one, among many that can't: two claims overlap only where
 * the literal beginning of one of their globs leads to that of the other (`src/a/**` and `src/b/**` part at the second
 * name). A tree of such beginnings; a task stands in it once for each of its own.
 */
import { claimBeginnings } from "./claims.ts";
import type { TaskNode } from "./node.ts";

interface Place {
  readonly children: Map<string, Place>;
  readonly tasks: Set<TaskNode>;
  /** Entries here and below. */
  count: number;
}

export class ClaimIndex {
  readonly #root = newPlace();
  /** What each task was put in with: its claim may have been edited since. */
  readonly #beginnings = new Map<TaskNode, readonly (readonly string[])[]>();

  add(node: TaskNode): void {
    if (this.#beginnings.has(node)) return;
    const beginnings = claimBeginnings(node.record.spec.writes ?? []);
    this.#beginnings.set(node, beginnings);
    for (const names of beginnings) {
      let place = this.#root;
      place.count += 1;
      for (const name of names) {
        let child = place.children.get(name);
        if (child === undefined) place.children.set(name, (child = newPlace()));
        place = child;
        place.count += 1;
      }
      place.tasks.add(node);
    }
  }

  remove(node: TaskNode): void {
    const beginnings = this.#beginnings.get(node) ?? [];
    this.#beginnings.delete(node);
    for (const names of beginnings) {
      let place = this.#root;
      place.count -= 1;
      for (const name of names) {
        const child = place.children.get(name);
        if (child === undefined) break;
        child.count -= 1;
        if (child.count === 0) place.children.delete(name);
        place = child;
      }
      place.tasks.delete(node);
    }
  }

  /** All tasks whose claims may overlap with `writes`, and few others; null when they are more than `most`. */
  near(writes: readonly string[], most: number): ReadonlySet<TaskNode> | null {
    const found = new Set<TaskNode>();
    for (const names of claimBeginnings(writes)) {
      let place: Place | undefined = this.#root;
      for (const name of names) {
        // Those that begin above may reach down to here.
        for (const node of place.tasks) found.add(node);
        place = place.children.get(name);
        if (place === undefined || found.size > most) break;
      }
      if (place !== undefined && !addAll(place, found, most)) return null;
      if (found.size > most) return null;
    }
    return found;
  }
}

/** Adds all that stand in `place` and below; false when that is too many. */
function addAll(place: Place, found: Set<TaskNode>, most: number): boolean {
  if (place.count > most) return false;
  const open = [place];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const node of next.tasks) found.add(node);
    open.push(...next.children.values());
  }
  return true;
}

function newPlace(): Place {
  return { children: new Map(), tasks: new Set(), count: 0 };
}
