import type { Connection, Query } from "./connection.ts";
import { flag, json, orNull, Table, text, type Columns } from "./table.ts";
import { totalsSchema, type StoredTotals } from "./usage-shapes.ts";

/** An agent CLI's own conversation, and what it takes to go on with it. */
export interface SessionRow {
  readonly planId: string;
  readonly taskId: string;
  readonly role: string;
  /** The backend's kind: another kind can't continue it. */
  readonly kind: string;
  readonly sessionId: string;
  /** Absolute path. A session continues only in the worktree it began in. */
  readonly worktree: string;
  /** The session's counters when it was last seen, so that the next turn's own use can be told. */
  readonly totals: StoredTotals | null;
  readonly lastAttemptId: string | null;
  /** False once it must not be continued: its context is full, its worktree is gone, the CLI no longer knows it. */
  readonly isUsable: boolean;
}

const COLUMNS: Columns<SessionRow> = {
  planId: text("plan_id"),
  taskId: text("task_id"),
  role: text("role"),
  kind: text("kind"),
  sessionId: text("session_id"),
  worktree: text("worktree"),
  totals: orNull(json("totals", totalsSchema)),
  lastAttemptId: orNull(text("last_attempt_id")),
  isUsable: flag("is_usable"),
};

export class Sessions {
  readonly #table: Table<SessionRow, "planId" | "taskId" | "role" | "kind" | "sessionId">;
  readonly #save: Query;
  readonly #latest: Query;
  readonly #listByTask: Query;

  constructor(connection: Connection) {
    const key = ["planId", "taskId", "role", "kind", "sessionId"] as const;
    this.#table = new Table(connection, "sessions", COLUMNS, key);
    const names = Object.values(COLUMNS).map(({ name }) => name);
    // The order of saving is a count, not a time: clocks are set back.
    this.#save = connection.prepare(
      `INSERT INTO sessions (${names.join(", ")}, saved_order)
       VALUES (${names.map(() => "?").join(", ")}, (SELECT coalesce(max(saved_order), 0) + 1 FROM sessions))
       ON CONFLICT (plan_id, task_id, role, kind, session_id) DO UPDATE SET
         worktree = excluded.worktree, totals = excluded.totals, last_attempt_id = excluded.last_attempt_id,
         is_usable = excluded.is_usable, saved_order = excluded.saved_order`,
    );
    const byTask = `SELECT ${this.#table.columnList} FROM sessions WHERE plan_id = ? AND task_id = ?`;
    this.#latest = connection.prepare(`${byTask} AND role = ? ORDER BY saved_order DESC LIMIT 1`);
    this.#listByTask = connection.prepare(`${byTask} ORDER BY saved_order`);
  }

  /** Makes the session the latest of its task and role. One that is there already is overwritten. */
  save(session: SessionRow): void {
    this.#save.run(...this.#table.encode(session));
  }

  /** The one saved last, usable or not. */
  latest(planId: string, taskId: string, role: string): SessionRow | null {
    return this.#table.one(this.#latest, planId, taskId, role);
  }

  /** All of a task, the one saved last at the end. */
  listByTask(planId: string, taskId: string): SessionRow[] {
    return this.#table.all(this.#listByTask, planId, taskId);
  }
}
