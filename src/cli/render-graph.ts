/**
 * A plan's graph as a tree: each task stands below the last of its dependencies to be listed, and names the others. That
 * reads from top to bottom in an order that could have been carried out, and needs one line a task, however wide it is.
 */
import type { TaskState } from "../plan/task-state.ts";
import { styled, type Line } from "./styled.ts";
import { stateSign, stateStyle } from "./task-sign.ts";

export interface GraphTask {
  readonly id: string;
  readonly dependsOn: readonly string[];
  readonly state: TaskState;
  readonly note?: string | null;
}

export function renderGraph(tasks: readonly GraphTask[]): Line[] {
  const depths = depthsOf(tasks);
  const children = new Map<string | null, GraphTask[]>();
  for (const task of tasks) {
    const parent = parentOf(task, depths);
    children.set(parent, [...(children.get(parent) ?? []), task]);
  }
  const lines: Line[] = [];
  const add = (parent: string | null, indent: string): void => {
    const below = children.get(parent) ?? [];
    below.forEach((task, index) => {
      const isLast = index === below.length - 1;
      const branch = parent === null ? "" : isLast ? "└─ " : "├─ ";
      lines.push([styled(indent + branch, "dim"), ...taskSpans(task, parent)]);
      add(task.id, parent === null ? "" : indent + (isLast ? "   " : "│  "));
    });
  };
  add(null, "");
  return lines;
}

function taskSpans(task: GraphTask, parent: string | null): Line {
  const others = task.dependsOn.filter((id) => id !== parent);
  return [
    styled(`${stateSign(task.state)} `, stateStyle(task.state)),
    styled(task.id, "bold"),
    styled(` ${task.state}`, stateStyle(task.state)),
    ...(others.length === 0 ? [] : [styled(`  (also after ${others.join(", ")})`, "dim")]),
    ...(task.note == null || task.note === "" ? [] : [`  ${task.note}`]),
  ];
}

/** The deepest dependency; of equals the last named. Null for a task that waits for none (or for none that is listed). */
function parentOf(task: GraphTask, depths: ReadonlyMap<string, number>): string | null {
  let parent: string | null = null;
  for (const id of task.dependsOn) {
    const depth = depths.get(id);
    if (depth !== undefined && depth >= (parent === null ? 0 : (depths.get(parent) ?? 0))) parent = id;
  }
  return parent;
}

/** Longest way from a root. A plan has no cycle; a cut list may lack dependencies, which then count as nothing. */
function depthsOf(tasks: readonly GraphTask[]): Map<string, number> {
  const byId = new Map(tasks.map((task) => [task.id, task]));
  const depths = new Map<string, number>();
  const depthOf = (id: string): number => {
    const known = depths.get(id);
    if (known !== undefined) return known;
    depths.set(id, 0);
    const task = byId.get(id);
    const below = (task?.dependsOn ?? []).filter((other) => byId.has(other)).map(depthOf);
    const depth = below.length === 0 ? 0 : 1 + Math.max(...below);
    depths.set(id, depth);
    return depth;
  };
  for (const { id } of tasks) depthOf(id);
  return depths;
}
