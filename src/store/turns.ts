import type { Connection, Query } from "./connection.ts";
import { cutText } from "./cut-text.ts";
import { integer, Table, text, word, type Columns } from "./table.ts";

/** What is kept of one entry of a conversation. */
const MAX_TURN_TEXT_BYTES = 16 * 1024;

export const TURN_KINDS = ["prompt", "text", "tool", "result", "note"] as const;
export type TurnKind = (typeof TURN_KINDS)[number];

/** One entry of what was said to and by an agent. */
export interface NewTurn {
  readonly attemptId: string;
  readonly planId: string;
  readonly taskId: string;
  readonly atMs: number;
  readonly kind: TurnKind;
  /** Cut to MAX_TURN_TEXT_BYTES when it is stored. */
  readonly text: string;
}

export interface TurnRow extends NewTurn {
  /** Grows with each entry; never reused. */
  readonly id: number;
}

const NEW_COLUMNS: Columns<NewTurn> = {
  attemptId: text("attempt_id"),
  planId: text("plan_id"),
  taskId: text("task_id"),
  atMs: integer("at_ms"),
  kind: word("kind", TURN_KINDS),
  text: text("text"),
};

const COLUMNS: Columns<TurnRow> = { id: integer("id"), ...NEW_COLUMNS };

/** The conversations with agents, entry by entry: append-only. */
export class Turns {
  readonly #newTable: Table<NewTurn, never>;
  readonly #table: Table<TurnRow, "id">;
  readonly #listByTask: Query;
  readonly #listByAttempt: Query;

  constructor(connection: Connection) {
    this.#newTable = new Table(connection, "turns", NEW_COLUMNS, []);
    this.#table = new Table(connection, "turns", COLUMNS, ["id"]);
    const select = `SELECT ${this.#table.columnList} FROM turns`;
    this.#listByTask = connection.prepare(
      `${select} WHERE plan_id = ? AND task_id = ? AND id < ? ORDER BY id DESC LIMIT ?`,
    );
    this.#listByAttempt = connection.prepare(`${select} WHERE attempt_id = ? AND id < ? ORDER BY id DESC LIMIT ?`);
  }

  /** Answers the entry as it was stored: with its id, its text cut. */
  append(turn: NewTurn): TurnRow {
    const cut = { ...turn, text: cutText(turn.text, MAX_TURN_TEXT_BYTES) };
    return { id: this.#newTable.insert(cut), ...cut };
  }

  /** The last `limit` entries of the task (with `beforeId`: before that one), in the order they were said. */
  listByTask(planId: string, taskId: string, page: TurnPage): TurnRow[] {
    const before = page.beforeId ?? Number.MAX_SAFE_INTEGER;
    return this.#table.all(this.#listByTask, planId, taskId, before, page.limit).toReversed();
  }

  listByAttempt(attemptId: string, page: TurnPage): TurnRow[] {
    const before = page.beforeId ?? Number.MAX_SAFE_INTEGER;
    return this.#table.all(this.#listByAttempt, attemptId, before, page.limit).toReversed();
  }
}

export interface TurnPage {
  readonly limit: number;
  readonly beforeId?: number;
}
