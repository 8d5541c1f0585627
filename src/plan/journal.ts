/** What changed on the board since somebody last looked: the scheduler stores it in the transaction of its cause. */
import type { FailureCause } from "./failure-cause.ts";
import type { ProviderHealth, TaskRecord } from "./records.ts";
import type { TaskState, Wait } from "./task-state.ts";

/** One step of a task's state, in order; the store writes the record and an event for each. */
export interface TaskChange {
  readonly task: TaskRecord;
  readonly from: TaskState;
  readonly to: TaskState;
  readonly wait: Wait | null;
  readonly cause: FailureCause | null;
  readonly message: string | null;
}

export class Journal {
  #changes: TaskChange[] = [];
  readonly #touched = new Set<TaskRecord>();
  readonly #providers = new Set<ProviderHealth>();

  /** Notes that the task's state was `from`, and is what its record says now. */
  step(task: TaskRecord, from: TaskState): void {
    const { state, wait, cause, message } = task;
    this.#changes.push({ task, from, to: state, wait, cause, message });
    this.#touched.add(task);
  }

  touch(task: TaskRecord): void {
    this.#touched.add(task);
  }

  touchProvider(health: ProviderHealth): void {
    this.#providers.add(health);
  }

  /** The task is no longer there: there is no row to write. */
  forget(task: TaskRecord): void {
    this.#touched.delete(task);
  }

  takeChanges(): TaskChange[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  takeTouched(): TaskRecord[] {
    const touched = [...this.#touched];
    this.#touched.clear();
    return touched;
  }

  takeProviders(): ProviderHealth[] {
    const providers = [...this.#providers];
    this.#providers.clear();
    return providers;
  }
}
