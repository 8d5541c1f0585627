import { z } from "zod";
import { AppError } from "../errors.ts";
import { ANSWERED_BY, QUESTION_STAGES, type AnsweredBy, type QuestionStage } from "../plan/question.ts";
import type { Connection, Query } from "./connection.ts";
import { flag, integer, json, orNull, Table, text, word, type Column, type Columns } from "./table.ts";

const QUESTION_STATES = ["open", "answered", "expired", "withdrawn"] as const;
export type QuestionState = (typeof QUESTION_STATES)[number];

/** What an agent asked. The row is there before anyone waits for the answer, and stays for good. */
export interface QuestionRow {
  /** `q1`, `q2` …: short enough to type, unique in the engine. */
  readonly id: string;
  readonly planId: string;
  readonly taskId: string;
  /** The attempt that asked last. */
  readonly attemptId: string;
  readonly role: string;
  readonly text: string;
  readonly options: readonly string[];
  readonly context: string | null;
  /** Equal for questions that are the same but for case and spaces. */
  readonly sameness: string;
  /** The request that asked it; null when it carried no key. */
  readonly requestKey: string | null;
  readonly state: QuestionState;
  /** Who is asked now; null before the first and after the last. */
  readonly stage: QuestionStage | null;
  /** When the next is asked. */
  readonly stageUntilMs: number | null;
  /** The asker was told to end its turn: the task does not go on without the answer. */
  readonly isParked: boolean;
  readonly askedAtMs: number;
  readonly answer: string | null;
  readonly answeredBy: AnsweredBy | null;
  readonly answeredAtMs: number | null;
  /** The attempt that was given the answer, by its held call or in its prompt. It counts once that attempt ended well. */
  readonly carriedBy: string | null;
  readonly isDelivered: boolean;
}

/** `q12` outside, 12 in the file. */
function questionId(name: string): Column<string> {
  const number = integer(name);
  return { name, encode: (id) => Number(id.slice(1)), decode: (raw) => `q${number.decode(raw)}` };
}

const COLUMNS: Columns<QuestionRow> = {
  id: questionId("number"),
  planId: text("plan_id"),
  taskId: text("task_id"),
  attemptId: text("attempt_id"),
  role: text("role"),
  text: text("text"),
  options: json<readonly string[]>("options", z.array(z.string())),
  context: orNull(text("context")),
  sameness: text("sameness"),
  requestKey: orNull(text("request_key")),
  state: word("state", QUESTION_STATES),
  stage: orNull(word("stage", QUESTION_STAGES)),
  stageUntilMs: orNull(integer("stage_until_ms")),
  isParked: flag("is_parked"),
  askedAtMs: integer("asked_at_ms"),
  answer: orNull(text("answer")),
  answeredBy: orNull(word("answered_by", ANSWERED_BY)),
  answeredAtMs: orNull(integer("answered_at_ms")),
  carriedBy: orNull(text("carried_by")),
  isDelivered: flag("is_delivered"),
};

/** Questions are history: never deleted. */
export class Questions {
  readonly #table: Table<QuestionRow, "id">;
  readonly #last: Query;
  readonly #get: Query;
  readonly #byKey: Query;
  readonly #listOpen: Query;
  readonly #listByPlan: Query;
  readonly #listByTask: Query;
  readonly #listRecent: Query;
  readonly #due: Query;
  readonly #nextDue: Query;
  readonly #remembered: Query;
  readonly #undelivered: Query;
  readonly #carry: Query;
  readonly #deliver: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "questions", COLUMNS, ["id"]);
    const select = `SELECT ${this.#table.columnList} FROM questions`;
    this.#last = connection.prepare("SELECT coalesce(max(number), 0) FROM questions");
    this.#get = connection.prepare(`${select} WHERE number = ?`);
    this.#byKey = connection.prepare(`${select} WHERE request_key = ?`);
    this.#listOpen = connection.prepare(`${select} WHERE state = 'open' ORDER BY number`);
    this.#listByPlan = connection.prepare(`${select} WHERE plan_id = ? ORDER BY number`);
    this.#listByTask = connection.prepare(`${select} WHERE plan_id = ? AND task_id = ? ORDER BY number`);
    this.#listRecent = connection.prepare(`${select} ORDER BY number DESC LIMIT ?`);
    this.#due = connection.prepare(`${select} WHERE state = 'open' AND stage_until_ms <= ? ORDER BY number`);
    this.#nextDue = connection.prepare("SELECT min(stage_until_ms) FROM questions WHERE state = 'open'");
    this.#remembered = connection.prepare(
      `${select} WHERE plan_id = ? AND sameness = ? AND state = 'answered' ORDER BY answered_at_ms DESC, number DESC LIMIT 1`,
    );
    this.#undelivered = connection.prepare(
      `${select} WHERE plan_id = ? AND task_id = ? AND state IN ('answered', 'expired') AND is_delivered = 0 ORDER BY number`,
    );
    this.#carry = connection.prepare("UPDATE questions SET carried_by = ? WHERE number = ? AND is_delivered = 0");
    this.#deliver = connection.prepare("UPDATE questions SET is_delivered = 1 WHERE carried_by = ?");
  }

  /** Answers the row as it was stored, with the next id. */
  insert(question: Omit<QuestionRow, "id">): QuestionRow {
    const number = integer("number").decode(this.#last.row()?.[0]) + 1;
    const row = { ...question, id: `q${number}` };
    this.#table.insert(row);
    return row;
  }

  /** Sets what `changes` has, nothing else. Throws INTERNAL when there is no such question. */
  update(id: string, changes: Partial<Omit<QuestionRow, "id">>): void {
    if (!this.#table.update({ id }, changes)) throw new AppError("INTERNAL", `no question has the id ${id}`);
  }

  /** Null also for what is no id at all. */
  get(id: string): QuestionRow | null {
    return /^q[1-9]\d{0,14}$/.test(id) ? this.#table.one(this.#get, Number(id.slice(1))) : null;
  }

  findByKey(requestKey: string): QuestionRow | null {
    return this.#table.one(this.#byKey, requestKey);
  }

  /** All that wait for an answer, oldest first. */
  listOpen(): QuestionRow[] {
    return this.#table.all(this.#listOpen);
  }

  listByPlan(planId: string): QuestionRow[] {
    return this.#table.all(this.#listByPlan, planId);
  }

  listByTask(planId: string, taskId: string): QuestionRow[] {
    return this.#table.all(this.#listByTask, planId, taskId);
  }

  /** The latest, in whatever state, oldest first. */
  listRecent(limit: number): QuestionRow[] {
    return this.#table.all(this.#listRecent, limit).toReversed();
  }

  /** Open ones whose stage is over at that moment. */
  listDue(nowMs: number): QuestionRow[] {
    return this.#table.all(this.#due, nowMs);
  }

  /** When the next stage ends; null when none will. */
  nextDueMs(): number | null {
    return orNull(integer("stage_until_ms")).decode(this.#nextDue.row()?.[0] ?? null);
  }

  /** The latest answer that somebody gave to the same question in this plan. */
  findRemembered(planId: string, sameness: string): QuestionRow | null {
    return this.#table.one(this.#remembered, planId, sameness);
  }

  /** Answers of a task that no attempt is known to have taken in, oldest first. */
  listUndelivered(planId: string, taskId: string): QuestionRow[] {
    return this.#table.all(this.#undelivered, planId, taskId);
  }

  /** Notes which attempt is given these answers. */
  carry(ids: readonly string[], attemptId: string): void {
    for (const id of ids) this.#carry.run(attemptId, Number(id.slice(1)));
  }

  /** What that attempt was given has arrived. Until this is called the next attempt is told again. */
  markDelivered(attemptId: string): void {
    this.#deliver.run(attemptId);
  }
}
