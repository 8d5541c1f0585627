import { AppError } from "../errors.ts";
import type { PlanRecord } from "../plan/records.ts";
import type { Connection, Query } from "./connection.ts";
import { budgetSchema } from "./plan-shapes.ts";
import { flag, integer, json, orNull, Table, text, type Columns } from "./table.ts";

/** A plan without its long texts. */
export interface PlanListRow extends PlanRecord {
  readonly endedAtMs: number | null;
  /** The file it was read from; null when it came from a tool call. */
  readonly file: string | null;
  /** The target's commit when the plan started. */
  readonly startSha: string | null;
}

export interface PlanRow extends PlanListRow {
  /** The plan as submitted, JSON. */
  readonly text: string;
  /** The config it was made with and keeps, JSON. */
  readonly config: string;
}

const LIST_COLUMNS: Columns<PlanListRow> = {
  id: text("id"),
  name: orNull(text("name")),
  goal: orNull(text("goal")),
  target: text("target"),
  maxConcurrent: integer("max_concurrent"),
  budget: json("budget", budgetSchema),
  createdAtMs: integer("created_at_ms"),
  paused: flag("paused"),
  endedAtMs: orNull(integer("ended_at_ms")),
  file: orNull(text("file")),
  startSha: orNull(text("start_sha")),
};

const COLUMNS: Columns<PlanRow> = { ...LIST_COLUMNS, text: text("text"), config: text("config") };

/** Plans are never deleted: an ended one is history. */
export class Plans {
  readonly #table: Table<PlanRow, "id">;
  readonly #listTable: Table<PlanListRow, "id">;
  readonly #get: Query;
  readonly #list: Query;
  readonly #listOpen: Query;
  readonly #any: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "plans", COLUMNS, ["id"]);
    this.#listTable = new Table(connection, "plans", LIST_COLUMNS, ["id"]);
    this.#get = connection.prepare(`SELECT ${this.#table.columnList} FROM plans WHERE id = ?`);
    this.#any = connection.prepare("SELECT 1 FROM plans LIMIT 1");
    this.#list = connection.prepare(`SELECT ${this.#listTable.columnList} FROM plans ORDER BY rowid`);
    this.#listOpen = connection.prepare(
      `SELECT ${this.#listTable.columnList} FROM plans WHERE ended_at_ms IS NULL ORDER BY +rowid`,
    );
  }

  /** True when no plan was ever made. */
  isEmpty(): boolean {
    return this.#any.row() === undefined;
  }

  insert(plan: PlanRow): void {
    this.#table.insert(plan);
  }

  /** Throws PLAN_NOT_FOUND. */
  update(id: string, changes: Partial<Omit<PlanRow, "id">>): void {
    if (this.#table.update({ id }, changes)) return;
    throw new AppError("PLAN_NOT_FOUND", `no plan has the id ${id}`, { details: { planId: id } });
  }

  get(id: string): PlanRow | null {
    return this.#table.one(this.#get, id);
  }

  /** All plans, oldest first, without `text` and `config`, which may be large. */
  list(): PlanListRow[] {
    return this.#listTable.all(this.#list);
  }

  /** The plans that have not ended, oldest first. */
  listOpen(): PlanListRow[] {
    return this.#listTable.all(this.#listOpen);
  }
}
