import { z } from "zod";
import { AppError } from "../errors.ts";
import type { Amounts } from "../plan/budget.ts";
import type { Connection, Query } from "./connection.ts";
import { cutText } from "./cut-text.ts";
import { integer, json, orNull, real, Table, text, word, type Columns } from "./table.ts";
import { amountsSchema, tokensSchema, totalsSchema, type StoredTokens, type StoredTotals } from "./usage-shapes.ts";

/** What is kept of a prompt and of an answer. */
const MAX_TEXT_BYTES = 64 * 1024;

/** `interrupted`: ended by us (a stop, an answer from elsewhere) or with the engine; its session is as good as before. */
const CONSULTATION_OUTCOMES = ["answered", "failed", "interrupted"] as const;
export type ConsultationOutcome = (typeof CONSULTATION_OUTCOMES)[number];

/** One turn of the orchestrator role for questions. The row is there before its process is. */
export interface ConsultationRow {
  readonly id: string;
  readonly planId: string;
  readonly provider: string;
  /** The backend's kind. */
  readonly kind: string;
  readonly questionIds: readonly string[];
  readonly prompt: string;
  readonly pid: number | null;
  readonly processStart: string | null;
  readonly sessionId: string | null;
  /** The session's counters at its end. */
  readonly totals: StoredTotals | null;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly outcome: ConsultationOutcome | null;
  readonly message: string | null;
  readonly answer: string | null;
  /** US dollars, of this turn alone. */
  readonly costUsd: number | null;
  readonly tokens: StoredTokens | null;
  /** As an attempt's. */
  readonly booked: Amounts;
}

const COLUMNS: Columns<ConsultationRow> = {
  id: text("id"),
  planId: text("plan_id"),
  provider: text("provider"),
  kind: text("kind"),
  questionIds: json<readonly string[]>("question_ids", z.array(z.string())),
  prompt: text("prompt"),
  pid: orNull(integer("pid")),
  processStart: orNull(text("process_start")),
  sessionId: orNull(text("session_id")),
  totals: orNull(json("totals", totalsSchema)),
  startedAtMs: integer("started_at_ms"),
  endedAtMs: orNull(integer("ended_at_ms")),
  outcome: orNull(word("outcome", CONSULTATION_OUTCOMES)),
  message: orNull(text("message")),
  answer: orNull(text("answer")),
  costUsd: orNull(real("cost_usd")),
  tokens: orNull(json("tokens", tokensSchema)),
  booked: json("booked", amountsSchema),
};

/** Consultations are history: never deleted. */
export class Consultations {
  readonly #table: Table<ConsultationRow, "id">;
  readonly #listOpen: Query;
  readonly #hasAny: Query;
  readonly #lastOwnEnd: Query;
  readonly #listByPlan: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "consultations", COLUMNS, ["id"]);
    const select = `SELECT ${this.#table.columnList} FROM consultations`;
    this.#listOpen = connection.prepare(`${select} WHERE ended_at_ms IS NULL ORDER BY +rowid`);
    this.#listByPlan = connection.prepare(`${select} WHERE plan_id = ? ORDER BY rowid`);
    this.#hasAny = connection.prepare(`${select} WHERE plan_id = ? LIMIT 1`);
    this.#lastOwnEnd = connection.prepare(
      `${select} WHERE plan_id = ? AND outcome IN ('answered', 'failed') ORDER BY rowid DESC LIMIT 1`,
    );
  }

  insert(row: ConsultationRow): void {
    this.#table.insert({ ...row, prompt: cutText(row.prompt, MAX_TEXT_BYTES) });
  }

  /** Sets what `changes` has, nothing else. Throws INTERNAL when there is no such consultation. */
  update(id: string, changes: Partial<Omit<ConsultationRow, "id">>): void {
    const { answer } = changes;
    const cut =
      answer === undefined || answer === null ? changes : { ...changes, answer: cutText(answer, MAX_TEXT_BYTES) };
    if (!this.#table.update({ id }, cut)) throw new AppError("INTERNAL", `no consultation has the id ${id}`);
  }

  /** Those without an end: at a start, what the last engine left under way. */
  listOpen(): ConsultationRow[] {
    return this.#table.all(this.#listOpen);
  }

  listByPlan(planId: string): ConsultationRow[] {
    return this.#table.all(this.#listByPlan, planId);
  }

  hasAny(planId: string): boolean {
    return this.#table.one(this.#hasAny, planId) !== null;
  }

  /** The plan's last turn that came to an end of its own. */
  lastOwnEnd(planId: string): ConsultationRow | null {
    return this.#table.one(this.#lastOwnEnd, planId);
  }
}
