import { z } from "zod";
import { AppError } from "../errors.ts";
import { FAILURE_CAUSES } from "../plan/failure-cause.ts";
import { CONSENTS, type TaskRecord } from "../plan/records.ts";
import { TASK_STATES } from "../plan/task-state.ts";
import type { Connection, Query } from "./connection.ts";
import { ledgerSchema, nextTurnSchema, taskSpecSchema, waitSchema, workflowSchema } from "./plan-shapes.ts";
import { flag, integer, json, orNull, Table, text, word, type Columns } from "./table.ts";

/** What an agent reported of its work. Further keys are kept as they are. */
export interface TaskReport {
  readonly status: string;
  readonly summary: string;
  readonly verdict?: string;
  readonly [key: string]: unknown;
}

/** What the core does not need to decide: where the work is and what came of it. */
export interface TaskWork {
  readonly branch: string | null;
  /** Absolute path. */
  readonly worktree: string | null;
  readonly baseSha: string | null;
  readonly headSha: string | null;
  readonly report: TaskReport | null;
  readonly verifyOutput: string | null;
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
}

type Key = "planId" | "id";
interface KeyedWork extends TaskWork {
  readonly planId: string;
  readonly id: string;
}

const KEY_COLUMNS = { planId: text("plan_id"), id: text("id") };

const RECORD_COLUMNS: Columns<TaskRecord> = {
  ...KEY_COLUMNS,
  ordinal: integer("ordinal"),
  workflow: json("workflow", workflowSchema),
  step: integer("step"),
  provider: text("provider"),
  ruledOut: json("ruled_out", z.array(z.string())),
  state: word("state", TASK_STATES),
  wait: orNull(json("wait", waitSchema)),
  stage: word("stage", ["work", "merge"]),
  cause: orNull(word("cause", FAILURE_CAUSES)),
  message: orNull(text("message")),
  ledger: json("ledger", ledgerSchema),
  nextTurn: json("next_turn", nextTurnSchema),
  wish: orNull(word("wish", ["cancel", "pause", "skip"])),
  holdsClaims: flag("holds_claims"),
  consent: orNull(word("consent", CONSENTS)),
  mergedSha: orNull(text("merged_sha")),
  proposedBy: orNull(text("proposed_by")),
  spec: json("spec", taskSpecSchema),
};

export const reportSchema: z.ZodType<TaskReport> = z.looseObject({
  status: z.string(),
  summary: z.string(),
  verdict: z.exactOptional(z.string()),
});

const WORK_COLUMNS: Columns<KeyedWork> = {
  ...KEY_COLUMNS,
  branch: orNull(text("branch")),
  worktree: orNull(text("worktree")),
  baseSha: orNull(text("base_sha")),
  headSha: orNull(text("head_sha")),
  report: orNull(json("report", reportSchema)),
  verifyOutput: orNull(text("verify_output")),
  startedAtMs: orNull(integer("started_at_ms")),
  endedAtMs: orNull(integer("ended_at_ms")),
};

/**
 * Tasks, the work done for each, and the dependencies between them, which follow `spec.dependsOn`. A task is one row
 * with two halves: the record, written by `save`, and the work, written by `setWork`. Neither touches the other.
 */
export class Tasks {
  readonly #connection: Connection;
  readonly #records: Table<TaskRecord, Key>;
  readonly #works: Table<KeyedWork, Key>;
  readonly #save: Query;
  readonly #remove: Query;
  readonly #spec: Query;
  readonly #get: Query;
  readonly #listByPlan: Query;
  readonly #listOpen: Query;
  readonly #listUntidied: Query;
  readonly #getWork: Query;
  readonly #listWork: Query;
  readonly #nextOrdinal: Query;
  readonly #dependents: Query;
  readonly #addDependency: Query;
  readonly #clearDependencies: Query;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#records = new Table(connection, "tasks", RECORD_COLUMNS, ["planId", "id"]);
    this.#works = new Table(connection, "tasks", WORK_COLUMNS, ["planId", "id"]);
    const record = this.#records.columnList;
    const work = this.#works.columnList;
    const sets = Object.values(RECORD_COLUMNS).map(({ name }) => `${name} = ?`);
    this.#save = connection.prepare(`UPDATE tasks SET ${sets.join(", ")} WHERE plan_id = ? AND id = ?`);
    this.#remove = connection.prepare("DELETE FROM tasks WHERE plan_id = ? AND id = ?");
    this.#spec = connection.prepare("SELECT spec FROM tasks WHERE plan_id = ? AND id = ?");
    this.#get = connection.prepare(`SELECT ${record} FROM tasks WHERE plan_id = ? AND id = ?`);
    this.#listByPlan = connection.prepare(`SELECT ${record} FROM tasks WHERE plan_id = ? ORDER BY ordinal`);
    this.#listOpen = connection.prepare(
      `SELECT ${record} FROM plans JOIN tasks ON tasks.plan_id = plans.id
       WHERE plans.ended_at_ms IS NULL ORDER BY tasks.ordinal`,
    );
    this.#listUntidied = connection.prepare(
      `SELECT ${record} FROM tasks WHERE worktree IS NOT NULL AND state IN ('succeeded', 'skipped')`,
    );
    this.#getWork = connection.prepare(`SELECT ${work} FROM tasks WHERE plan_id = ? AND id = ?`);
    this.#listWork = connection.prepare(`SELECT ${work} FROM tasks WHERE plan_id = ? ORDER BY ordinal`);
    this.#nextOrdinal = connection.prepare("SELECT coalesce(max(ordinal), 0) + 1 FROM tasks");
    this.#dependents = connection.prepare(
      "SELECT task_id FROM dependencies WHERE plan_id = ? AND depends_on = ? ORDER BY task_id",
    );
    this.#addDependency = connection.prepare(
      "INSERT OR IGNORE INTO dependencies (plan_id, task_id, depends_on) VALUES (?, ?, ?)",
    );
    this.#clearDependencies = connection.prepare("DELETE FROM dependencies WHERE plan_id = ? AND task_id = ?");
  }

  /** All or none, in any order of their dependencies. A dependency that no task of the plan has is refused. */
  insertMany(tasks: readonly TaskRecord[]): void {
    this.#connection.transaction(() => {
      for (const task of tasks) {
        this.#records.insert(task);
        this.#addDependencies(task);
      }
    });
  }

  /** Throws TASK_NOT_FOUND. */
  save(task: TaskRecord): void {
    this.#connection.transaction(() => this.#saveOne(task));
  }

  /** All or none. Throws TASK_NOT_FOUND. */
  saveMany(tasks: readonly TaskRecord[]): void {
    this.#connection.transaction(() => {
      for (const task of tasks) this.#saveOne(task);
    });
  }

  /**
   * Removes a task that never started. One that another depends on, or that has attempts, sessions or merges, is
   * refused (at the end of the transaction, so that the dependents may be changed in it too). Throws TASK_NOT_FOUND.
   */
  remove(planId: string, id: string): void {
    if (this.#remove.run(planId, id).changes === 0) throw notFound(planId, id);
  }

  get(planId: string, id: string): TaskRecord | null {
    return this.#records.one(this.#get, planId, id);
  }

  /** Oldest first. */
  listByPlan(planId: string): TaskRecord[] {
    return this.#records.all(this.#listByPlan, planId);
  }

  /** All tasks, ended ones too, of the plans that have not ended; oldest first. */
  listOpen(): TaskRecord[] {
    return this.#records.all(this.#listOpen);
  }

  /** Done for good, of whatever plan, with a worktree that was not given back yet. */
  listUntidied(): TaskRecord[] {
    return this.#records.all(this.#listUntidied);
  }

  /** Ids of the tasks that name this one in `dependsOn`. */
  dependentsOf(planId: string, id: string): string[] {
    return this.#dependents.rows(planId, id).map((row) => text("task_id").decode(row[0]));
  }

  /** The first ordinal that is free. Ask and insert in one transaction. */
  nextOrdinal(): number {
    return integer("ordinal").decode(this.#nextOrdinal.row()?.[0]);
  }

  /** Sets what `changes` has, nothing else. Throws TASK_NOT_FOUND. */
  setWork(planId: string, id: string, changes: Partial<TaskWork>): void {
    if (!this.#works.update({ planId, id }, changes)) throw notFound(planId, id);
  }

  getWork(planId: string, id: string): TaskWork | null {
    const row = this.#works.one(this.#getWork, planId, id);
    return row === null ? null : workOf(row);
  }

  /** The work of each task of a plan, by task id; oldest first. */
  listWork(planId: string): Map<string, TaskWork> {
    return new Map(this.#works.all(this.#listWork, planId).map((row) => [row.id, workOf(row)]));
  }

  #saveOne(task: TaskRecord): void {
    const before = this.#spec.row(task.planId, task.id);
    if (before === undefined) throw notFound(task.planId, task.id);
    this.#save.run(...this.#records.encode(task), task.planId, task.id);
    // Nearly every save leaves the spec alone; the rows beside it are then right already.
    if (before[0] === RECORD_COLUMNS.spec.encode(task.spec)) return;
    this.#clearDependencies.run(task.planId, task.id);
    this.#addDependencies(task);
  }

  #addDependencies(task: TaskRecord): void {
    for (const dependency of task.spec.dependsOn) this.#addDependency.run(task.planId, task.id, dependency);
  }
}

function workOf({ planId: _planId, id: _id, ...work }: KeyedWork): TaskWork {
  return work;
}

function notFound(planId: string, id: string): AppError {
  return new AppError("TASK_NOT_FOUND", `plan ${planId} has no task ${id}`, { details: { planId, taskId: id } });
}
