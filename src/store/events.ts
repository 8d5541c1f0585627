import { z } from "zod";
import type { Clock } from "../clock.ts";
import type { EventBody, NewEvent, StoredEvent } from "../events/event.ts";
import type { Connection, Query, SqlValue } from "./connection.ts";
import { integer, json, orNull, Table, text, type Columns } from "./table.ts";

export interface EventFilter {
  readonly limit: number;
  readonly planId?: string;
  /** Task ids are unique within a plan: give `planId` too. */
  readonly taskId?: string;
}

// Checked no further than `type`: rows of an older version stay for good, and whoever shows an event must be able to
// pass over a type it does not know. Hence the cast: what we wrote was an EventBody of its time.
const bodySchema = z.looseObject({ type: z.string() }) as unknown as z.ZodType<EventBody>;

const COLUMNS: Columns<StoredEvent> = {
  seq: integer("seq"),
  atMs: integer("at_ms"),
  planId: orNull(text("plan_id")),
  taskId: orNull(text("task_id")),
  attemptId: orNull(text("attempt_id")),
  body: json("body", bodySchema),
};

/** What happened, append-only, each row in the transaction of the change it tells. */
export class Events {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #table: Table<StoredEvent, "seq">;
  readonly #append: Query;
  readonly #lastSeq: Query;
  readonly #tasksSince: Query;
  readonly #since = new Map<string, Query>();

  constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
    this.#table = new Table(connection, "events", COLUMNS, ["seq"]);
    this.#append = connection.prepare(
      "INSERT INTO events (at_ms, plan_id, task_id, attempt_id, body) VALUES (?, ?, ?, ?, ?)",
    );
    this.#lastSeq = connection.prepare("SELECT coalesce(max(seq), 0) FROM events");
    this.#tasksSince = connection.prepare(
      `SELECT id FROM tasks WHERE plan_id = ? AND EXISTS (
         SELECT 1 FROM events WHERE events.plan_id = tasks.plan_id AND events.task_id = tasks.id AND events.seq > ?)`,
    );
  }

  /**
   * Appends in the open transaction (or one of its own). The answer has its number already, but listeners hear of it
   * only when the transaction is committed, and nobody does when it is rolled back.
   */
  append(event: NewEvent): StoredEvent {
    return this.#connection.transaction(() => {
      const atMs = this.#clock.nowMs();
      const { lastId } = this.#append.run(
        COLUMNS.atMs.encode(atMs),
        COLUMNS.planId.encode(event.planId),
        COLUMNS.taskId.encode(event.taskId),
        COLUMNS.attemptId.encode(event.attemptId),
        COLUMNS.body.encode(event.body),
      );
      const stored: StoredEvent = {
        seq: lastId,
        atMs,
        planId: event.planId,
        taskId: event.taskId,
        attemptId: event.attemptId,
        body: event.body,
      };
      this.#connection.addPending(stored);
      return stored;
    });
  }

  /** The first `limit` events after `seq`, in order. */
  since(seq: number, filter: EventFilter): StoredEvent[] {
    const wanted: [string, SqlValue][] = [["seq > ?", seq]];
    if (filter.planId !== undefined) wanted.push(["plan_id = ?", filter.planId]);
    if (filter.taskId !== undefined) wanted.push(["task_id = ?", filter.taskId]);
    const where = wanted.map(([condition]) => condition).join(" AND ");
    let query = this.#since.get(where);
    if (query === undefined) {
      query = this.#connection.prepare(
        `SELECT ${this.#table.columnList} FROM events WHERE ${where} ORDER BY seq LIMIT ?`,
      );
      this.#since.set(where, query);
    }
    return this.#table.all(query, ...wanted.map(([, value]) => value), filter.limit);
  }

  /**
   * Which of a plan's tasks something happened to after `seq`. Costs the plan's tasks, not its events: a caller may ask
   * for all since the beginning of a repository that is years old.
   */
  tasksSince(planId: string, seq: number): string[] {
    return this.#tasksSince.rows(planId, seq).map((row) => text("id").decode(row[0]));
  }

  /** The number of the newest event; 0 when there is none. */
  lastSeq(): number {
    return integer("seq").decode(this.#lastSeq.row()?.[0]);
  }
}
