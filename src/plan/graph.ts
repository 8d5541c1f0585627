/**
 * The dependency graph: cycles with their path, an order, and the longest remaining path. Every function is linear in
 * tasks plus edges and recursion-free, so that a chain of 100,000 tasks is no problem.
 */
import { AppError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";

export interface GraphNode {
  readonly id: string;
  readonly dependsOn: readonly string[];
}

/**
 * Throws PLAN_DUPLICATE_TASK, PLAN_UNKNOWN_DEPENDENCY or PLAN_CYCLE (details.cycle is the path, first id again last).
 * Answers the ids so that every task comes after all that it depends on.
 */
export function checkGraph(nodes: readonly GraphNode[]): string[] {
  const byId = new Map<string, GraphNode>();
  for (const node of nodes) {
    if (byId.has(node.id)) {
      throw new AppError("PLAN_DUPLICATE_TASK", `two tasks have the id "${node.id}": give each task an id of its own`, {
        details: { task: node.id },
      });
    }
    byId.set(node.id, node);
  }
  for (const node of nodes) {
    for (const dependency of node.dependsOn) {
      if (byId.has(dependency)) continue;
      const near = nearestName(dependency, byId.keys());
      throw new AppError(
        "PLAN_UNKNOWN_DEPENDENCY",
        `task "${node.id}" depends on "${dependency.slice(0, 64)}", which is no task of this plan` +
          (near === null ? ": add that task, or take it out of `dependsOn`" : `; did you mean "${near}"?`),
        { details: { task: node.id, dependency: dependency.slice(0, 64) } },
      );
    }
  }
  const order = topologicalOrder(nodes);
  if (order.length < byId.size) {
    const cycle = findCycle(nodes, new Set(order));
    throw new AppError(
      "PLAN_CYCLE",
      `the dependencies form a cycle: ${shortened(cycle).join(" → ")} (each depends on the next); remove one of them`,
      { details: { cycle } },
    );
  }
  return order;
}

/** Ids in dependency order; ids on or behind a cycle are missing from it. */
function topologicalOrder(nodes: readonly GraphNode[]): string[] {
  const open = new Map<string, number>();
  const dependents = new Map<string, string[]>();
  for (const node of nodes) {
    const distinct = new Set(node.dependsOn);
    open.set(node.id, distinct.size);
    for (const dependency of distinct) {
      const list = dependents.get(dependency);
      if (list === undefined) dependents.set(dependency, [node.id]);
      else list.push(node.id);
    }
  }
  const order: string[] = [];
  for (const node of nodes) if (open.get(node.id) === 0) order.push(node.id);
  for (let index = 0; index < order.length; index += 1) {
    const id = order[index];
    if (id === undefined) break;
    for (const dependent of dependents.get(id) ?? []) {
      const left = (open.get(dependent) ?? 0) - 1;
      open.set(dependent, left);
      if (left === 0) order.push(dependent);
    }
  }
  return order;
}

/** One cycle among the nodes that the order could not place: from any of them, following dependencies must repeat. */
function findCycle(nodes: readonly GraphNode[], placed: ReadonlySet<string>): string[] {
  const left = new Map(nodes.filter((node) => !placed.has(node.id)).map((node) => [node.id, node]));
  const path: string[] = [];
  const positions = new Map<string, number>();
  let current = left.values().next().value;
  while (current !== undefined) {
    const seenAt = positions.get(current.id);
    if (seenAt !== undefined) return [...path.slice(seenAt), current.id];
    positions.set(current.id, path.length);
    path.push(current.id);
    // A node that was not placed has at least one dependency that was not placed.
    const next: string | undefined = current.dependsOn.find((dependency) => left.has(dependency));
    current = next === undefined ? undefined : left.get(next);
  }
  return path;
}

/** A cycle of thousands is told by its ends. */
function shortened(cycle: readonly string[]): string[] {
  return cycle.length <= 12 ? [...cycle] : [...cycle.slice(0, 6), `… ${cycle.length - 11} more …`, ...cycle.slice(-5)];
}

/**
 * For each task the length of the longest path from its start to the end of the plan, in `weightOf` units.
 * `order` is what `checkGraph` answered.
 */
export function longestPaths(
  nodes: readonly GraphNode[],
  order: readonly string[],
  weightOf: (id: string) => number,
): Map<string, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const behind = new Map<string, number>();
  const lengths = new Map<string, number>();
  for (let index = order.length - 1; index >= 0; index -= 1) {
    const id = order[index];
    if (id === undefined) continue;
    const length = weightOf(id) + (behind.get(id) ?? 0);
    lengths.set(id, length);
    for (const dependency of byId.get(id)?.dependsOn ?? []) {
      if (length > (behind.get(dependency) ?? 0)) behind.set(dependency, length);
    }
  }
  return lengths;
}
