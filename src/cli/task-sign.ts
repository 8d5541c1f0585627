/** How each state looks: one sign, one colour, the same everywhere. */
import type { TaskState } from "../plan/task-state.ts";
import type { Style } from "./styled.ts";

const SIGNS: Readonly<Record<TaskState, readonly [sign: string, style: Style | null]>> = {
  pending: ["·", "dim"],
  ready: ["○", null],
  waiting: ["‖", "yellow"],
  running: ["●", "cyan"],
  merging: ["⇡", "blue"],
  blocked: ["⊘", "red"],
  succeeded: ["✓", "green"],
  skipped: ["↷", "green"],
  failed: ["✗", "red"],
  cancelled: ["–", "dim"],
};

export function stateSign(state: TaskState): string {
  return SIGNS[state][0];
}

export function stateStyle(state: TaskState): Style | null {
  return SIGNS[state][1];
}
