import type { Connection, Query } from "./connection.ts";
import { integer, orNull, Table, text, type Columns } from "./table.ts";

/** What somebody told an agent. */
export interface NewMessage {
  readonly planId: string;
  readonly taskId: string;
  /** Who said it, for the agent and for people. */
  readonly sender: string;
  readonly text: string;
  readonly createdAtMs: number;
}

export interface MessageRow extends NewMessage {
  /** Grows with each message; never reused. */
  readonly id: number;
  /** The attempt that had it in a turn that came to its end; null while it is to be told (again). */
  readonly deliveredBy: string | null;
}

const NEW_COLUMNS: Columns<NewMessage> = {
  planId: text("plan_id"),
  taskId: text("task_id"),
  sender: text("sender"),
  text: text("text"),
  createdAtMs: integer("created_at_ms"),
};

const COLUMNS: Columns<MessageRow> = {
  id: integer("id"),
  ...NEW_COLUMNS,
  deliveredBy: orNull(text("delivered_by")),
};

/** Messages to agents. One that was delivered stays as history. */
export class Messages {
  readonly #newTable: Table<NewMessage, never>;
  readonly #table: Table<MessageRow, "id">;
  readonly #listUndelivered: Query;
  readonly #listByTask: Query;

  constructor(connection: Connection) {
    this.#newTable = new Table(connection, "messages", NEW_COLUMNS, []);
    this.#table = new Table(connection, "messages", COLUMNS, ["id"]);
    const byTask = `SELECT ${this.#table.columnList} FROM messages WHERE plan_id = ? AND task_id = ?`;
    this.#listUndelivered = connection.prepare(`${byTask} AND delivered_by IS NULL ORDER BY id`);
    this.#listByTask = connection.prepare(`${byTask} ORDER BY id`);
  }

  append(message: NewMessage): MessageRow {
    return { id: this.#newTable.insert(message), ...message, deliveredBy: null };
  }

  /** In the order they were sent. */
  listUndelivered(planId: string, taskId: string): MessageRow[] {
    return this.#table.all(this.#listUndelivered, planId, taskId);
  }

  /** In the order they were sent, delivered ones too. */
  listByTask(planId: string, taskId: string): MessageRow[] {
    return this.#table.all(this.#listByTask, planId, taskId);
  }

  /** Repeating it is harmless: the attempt named last stands. */
  setDelivered(id: number, attemptId: string): void {
    this.#table.update({ id }, { deliveredBy: attemptId });
  }
}
