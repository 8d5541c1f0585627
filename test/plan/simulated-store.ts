/**
 * What survives the engine's death in the simulation: rows as text, written by commits alone. A crash brings back what is
 * in here and nothing else, so a change that the board forgot to tell is lost, as it would be in the real store.
 */
import { BUDGET_UNITS, type Amounts, type KnownAmounts } from "../../src/plan/budget.ts";
import type { PlanRecord, ProviderHealth, TaskKey, TaskRecord } from "../../src/plan/records.ts";
import type { TaskState } from "../../src/plan/task-state.ts";

/** Something that was said to a task's agent. */
export interface MessageRow {
  readonly task: TaskKey;
  readonly number: number;
  /** The attempt whose prompt has it, or that heard it. */
  carriedBy: number | null;
  isDelivered: boolean;
}

export interface AttemptRow {
  readonly task: TaskKey;
  readonly role: string;
  booked: Amounts;
  /** Null: it came to no end that says what its like use. */
  told: KnownAmounts | null;
}

export interface QuestionRow {
  readonly id: string;
  readonly task: TaskKey;
  /** Who asked: the step that its answer is for. */
  readonly step: number;
  readonly attempt: number;
  untilMs: number;
  state: "open" | "answered" | "expired" | "withdrawn";
  /** Its agent was told to end its turn: the task does not go on without the answer. */
  isParked: boolean;
  carriedBy: number | null;
  isDelivered: boolean;
}

/** Plain values, so that what was never committed can be taken back. */
export interface Rows {
  plans: Map<string, string>;
  tasks: Map<TaskKey, string>;
  /** States as the events tell them. */
  told: Map<TaskKey, TaskState>;
  health: Map<string, string>;
  messages: MessageRow[];
  questions: QuestionRow[];
  attempts: AttemptRow[];
}

export class SimulatedStore {
  rows: Rows = {
    plans: new Map(),
    tasks: new Map(),
    told: new Map(),
    health: new Map(),
    messages: [],
    questions: [],
    attempts: [],
  };

  /** What a plan's attempts were booked with, those that were cut off with what was set aside for them. */
  bookedOf(planId: string): Amounts {
    const sum = { usd: 0, tokens: 0, minutes: 0 };
    for (const { task, booked } of this.rows.attempts) {
      if (task.startsWith(`${planId}/`)) for (const unit of BUDGET_UNITS) sum[unit] += booked[unit];
    }
    return sum;
  }

  savePlan(plan: PlanRecord): void {
    this.rows.plans.set(plan.id, JSON.stringify(plan));
  }

  saveTask(task: TaskRecord): void {
    this.rows.tasks.set(keyOf(task), JSON.stringify(task));
  }

  insertTask(task: TaskRecord): void {
    this.saveTask(task);
    this.rows.told.set(keyOf(task), task.state);
  }

  removeTask(key: TaskKey): void {
    this.rows.tasks.delete(key);
    this.rows.told.delete(key);
  }

  saveHealth(health: ProviderHealth): void {
    this.rows.health.set(health.name, JSON.stringify(health));
  }

  /** Oldest first, as the real store lists them. */
  tasksOf(planId: string): TaskRecord[] {
    const texts = [...this.rows.tasks].filter(([key]) => key.startsWith(`${planId}/`));
    return texts
      .map(([, text]) => JSON.parse(text) as TaskRecord)
      .toSorted((left, right) => left.ordinal - right.ordinal);
  }

  planRecords(): PlanRecord[] {
    return [...this.rows.plans.values()].map((text) => JSON.parse(text) as PlanRecord);
  }

  healths(): ProviderHealth[] {
    return [...this.rows.health.values()].map((text) => JSON.parse(text) as ProviderHealth);
  }

  // --- mail ----------------------------------------------------------------------------------------------------------

  undelivered(task: TaskKey): MessageRow[] {
    return this.rows.messages.filter((row) => row.task === task && !row.isDelivered);
  }

  questionsOf(task: TaskKey): QuestionRow[] {
    return this.rows.questions.filter((row) => row.task === task);
  }

  openParked(task: TaskKey): QuestionRow[] {
    return this.questionsOf(task).filter(({ state, isParked }) => state === "open" && isParked);
  }

  /** Answers that its agent was told to wait for and has not had. */
  unheardAnswers(task: TaskKey): QuestionRow[] {
    return this.questionsOf(task).filter(
      ({ state, isParked, isDelivered }) => (state === "answered" || state === "expired") && isParked && !isDelivered,
    );
  }
}

function keyOf({ planId, id }: TaskRecord): TaskKey {
  return `${planId}/${id}`;
}
