import type { TaskRecord } from "../plan/records.ts";
import type { Parts } from "./parts.ts";
import { tidyTask } from "./tidy-task.ts";

/** Worktrees and branches that are being given back, by plan, so that one can wait until a plan holds none needlessly. */
export class Tidying {
  readonly #parts: Parts;
  readonly #underWay = new Map<string, Set<Promise<void>>>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** A task that is done for good gives its worktree back. Repeated by the next start when it was cut off. */
  async tidy(task: TaskRecord): Promise<void> {
    if (task.state !== "succeeded" && task.state !== "skipped") return;
    await this.note(task.planId, tidyTask(this.#parts, task));
  }

  /** Something else that gives back what the plan held; answers the same. */
  note(planId: string, tidying: Promise<void>): Promise<void> {
    const ofPlan = this.#underWay.get(planId) ?? new Set();
    this.#underWay.set(planId, ofPlan.add(tidying));
    return tidying.finally(() => {
      ofPlan.delete(tidying);
      if (ofPlan.size === 0 && this.#underWay.get(planId) === ofPlan) this.#underWay.delete(planId);
    });
  }

  /** Resolves when the worktrees and branches that the plan's finished tasks no longer need are gone. */
  async tidied(planId: string): Promise<void> {
    const underWay = this.#underWay.get(planId);
    if (underWay !== undefined) await Promise.allSettled(underWay);
  }
}
