import { z } from "zod";
import { AppError } from "../errors.ts";
import type { Amounts, KnownAmounts } from "../plan/budget.ts";
import { FAILURE_CAUSES, type FailureCause } from "../plan/failure-cause.ts";
import { TURN_KINDS, type TurnKind } from "../plan/records.ts";
import type { Connection, Query } from "./connection.ts";
import { cutText } from "./cut-text.ts";
import { integer, json, orNull, real, Table, text, word, type Columns } from "./table.ts";
import { reportSchema, type TaskReport } from "./tasks.ts";
import { amountsSchema, tokensSchema, type StoredTokens, type StoredTotals } from "./usage-shapes.ts";

/** What is kept of an agent's last words; the whole is in `attempts/<id>/`. */
const MAX_FINAL_TEXT_BYTES = 64 * 1024;

export const ATTEMPT_STATES = ["starting", "running", "ended"] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];

export const ATTEMPT_OUTCOMES = ["succeeded", "asked", "failed"] as const;
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

/** One try at a task. The row is there before its process is, so that a start after a kill knows what to look for. */
export interface AttemptRow {
  readonly id: string;
  readonly planId: string;
  readonly taskId: string;
  /** Counted from 1 within the task. */
  readonly number: number;
  /** The workflow's step, counted from 0. */
  readonly step: number;
  readonly role: string;
  readonly provider: string;
  /** The backend's kind. */
  readonly kind: string;
  readonly model: string | null;
  readonly state: AttemptState;
  readonly pid: number | null;
  /** Tells the process from another that got its pid later. */
  readonly processStart: string | null;
  readonly sessionId: string | null;
  readonly turnKind: TurnKind;
  readonly startedAtMs: number;
  /** Null while it is under way, or was when the engine died. */
  readonly endedAtMs: number | null;
  readonly outcome: AttemptOutcome | null;
  readonly cause: FailureCause | null;
  readonly message: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** US dollars, of this turn alone. */
  readonly costUsd: number | null;
  readonly tokens: StoredTokens | null;
  /** Against its plan's budget: while it runs, and when nobody ever told its end, what was set aside for it. */
  readonly booked: Amounts;
  /** Cut to MAX_FINAL_TEXT_BYTES when it is stored. */
  readonly finalText: string | null;
  /** Tools that were denied, as `name: what`. */
  readonly denials: readonly string[];
  readonly straysKilled: number;
  /** What its agent reported, a verdict included; null when it did not. */
  readonly report: TaskReport | null;
  /** The branch's tip when it ended; null when that is not known. */
  readonly headSha: string | null;
}

/** What is still to come of an attempt when its row is written. */
export const NOTHING_YET = {
  state: "starting",
  pid: null,
  processStart: null,
  endedAtMs: null,
  outcome: null,
  cause: null,
  message: null,
  exitCode: null,
  signal: null,
  costUsd: null,
  tokens: null,
  finalText: null,
  denials: [],
  straysKilled: 0,
  report: null,
  headSha: null,
} as const satisfies Partial<AttemptRow>;

const COLUMNS: Columns<AttemptRow> = {
  id: text("id"),
  planId: text("plan_id"),
  taskId: text("task_id"),
  number: integer("number"),
  step: integer("step"),
  role: text("role"),
  provider: text("provider"),
  kind: text("kind"),
  model: orNull(text("model")),
  state: word("state", ATTEMPT_STATES),
  pid: orNull(integer("pid")),
  processStart: orNull(text("process_start")),
  sessionId: orNull(text("session_id")),
  turnKind: word("turn_kind", TURN_KINDS),
  startedAtMs: integer("started_at_ms"),
  endedAtMs: orNull(integer("ended_at_ms")),
  outcome: orNull(word("outcome", ATTEMPT_OUTCOMES)),
  cause: orNull(word("cause", FAILURE_CAUSES)),
  message: orNull(text("message")),
  exitCode: orNull(integer("exit_code")),
  signal: orNull(text("signal")),
  costUsd: orNull(real("cost_usd")),
  tokens: orNull(json("tokens", tokensSchema)),
  booked: json("booked", amountsSchema),
  finalText: orNull(text("final_text")),
  denials: json<readonly string[]>("denials", z.array(z.string())),
  straysKilled: integer("strays_killed"),
  report: orNull(json("report", reportSchema)),
  headSha: orNull(text("head_sha")),
};

export interface AttemptUse {
  readonly role: string;
  readonly provider: string;
  readonly model: string | null;
  readonly told: KnownAmounts;
}

/** Attempts are history: never deleted. A task has at most one that has not ended; a second is refused (INTERNAL). */
export class Attempts {
  readonly #table: Table<AttemptRow, "id">;
  readonly #get: Query;
  readonly #listByTask: Query;
  readonly #listOpen: Query;
  readonly #usage: Query;
  readonly #booked: Query;
  readonly #latestUses: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "attempts", COLUMNS, ["id"]);
    const select = `SELECT ${this.#table.columnList} FROM attempts`;
    this.#get = connection.prepare(`${select} WHERE id = ?`);
    this.#listByTask = connection.prepare(`${select} WHERE plan_id = ? AND task_id = ? ORDER BY number, rowid`);
    // The sign keeps SQLite from reading all of the table in its order: the few open ones have an index.
    this.#listOpen = connection.prepare(`${select} WHERE ended_at_ms IS NULL ORDER BY +rowid`);
    const sums = ["inputTokens", "outputTokens", "cachedInputTokens"].map(
      (name) => `coalesce(sum(tokens ->> '$.${name}'), 0)`,
    );
    this.#usage = connection.prepare(
      `SELECT coalesce(sum(cost_usd), 0.0), ${sums.join(", ")} FROM (
         SELECT plan_id, cost_usd, tokens FROM attempts UNION ALL SELECT plan_id, cost_usd, tokens FROM consultations
       ) WHERE plan_id = ?`,
    );
    const booked = ["usd", "tokens", "minutes"].map((unit) => `coalesce(sum(booked ->> '$.${unit}'), 0.0)`);
    // An attempt that is open when a plan is put on the board has no process any more; a consultation may have one.
    this.#booked = connection.prepare(
      `SELECT ${booked.join(", ")} FROM (
         SELECT plan_id, booked FROM attempts
         UNION ALL SELECT plan_id, booked FROM consultations WHERE ended_at_ms IS NOT NULL
       ) WHERE plan_id = ?`,
    );
    // Those that told something: an end that was never told says nothing of the next one. Where hardly any did, what is
    // older by far is not searched for more.
    this.#latestUses = connection.prepare(
      `SELECT role, provider, model, cost_usd, tokens ->> '$.inputTokens' + tokens ->> '$.outputTokens',
         booked ->> '$.minutes'
       FROM attempts WHERE rowid > (SELECT coalesce(max(rowid), 0) FROM attempts) - ${MOST_SEARCHED}
         AND ended_at_ms IS NOT NULL AND (outcome <> 'failed' OR tokens ->> '$.outputTokens' > 0)
       ORDER BY rowid DESC LIMIT ?`,
    );
  }

  insert(attempt: AttemptRow): void {
    this.#table.insert({ ...attempt, finalText: cutFinalText(attempt.finalText) });
  }

  /** Sets what `changes` has, nothing else. Throws INTERNAL when there is no such attempt. */
  update(id: string, changes: Partial<Omit<AttemptRow, "id">>): void {
    const { finalText } = changes;
    const cut = finalText === undefined ? changes : { ...changes, finalText: cutFinalText(finalText) };
    if (!this.#table.update({ id }, cut)) throw new AppError("INTERNAL", `no attempt has the id ${id}`);
  }

  get(id: string): AttemptRow | null {
    return this.#table.one(this.#get, id);
  }

  /** By number. */
  listByTask(planId: string, taskId: string): AttemptRow[] {
    return this.#table.all(this.#listByTask, planId, taskId);
  }

  /** Those without an end, oldest first: at a start, what the last engine left under way. */
  listOpen(): AttemptRow[] {
    return this.#table.all(this.#listOpen);
  }

  /** What all attempts and consultations of a plan used up, as far as their CLIs told: what a budget is held against. */
  usageOf(planId: string): StoredTotals & { readonly costUsd: number } {
    const [costUsd = 0, inputTokens = 0, outputTokens = 0, cachedInputTokens = 0] =
      this.#usage.row(planId)?.map(Number) ?? [];
    return { costUsd, tokens: { inputTokens, outputTokens, cachedInputTokens } };
  }

  /** What a plan's budget has been charged with: all its attempts, and the consultations that ended. */
  bookedOf(planId: string): Amounts {
    const [usd = 0, tokens = 0, minutes = 0] = this.#booked.row(planId)?.map(Number) ?? [];
    return { usd, tokens, minutes };
  }

  /** What the latest attempts of all plans told of their use, the oldest of them first. */
  latestUses(limit: number): AttemptUse[] {
    const known = (value: unknown): number | null => (value === null ? null : Number(value));
    return this.#latestUses
      .rows(limit)
      .map(([role, provider, model, usd, tokens, minutes]) => ({
        role: text("role").decode(role),
        provider: text("provider").decode(provider),
        model: orNull(text("model")).decode(model),
        told: { usd: known(usd), tokens: known(tokens), minutes: known(minutes) },
      }))
      .toReversed();
  }
}

const MOST_SEARCHED = 5_000;

function cutFinalText(finalText: string | null): string | null {
  return finalText === null ? null : cutText(finalText, MAX_FINAL_TEXT_BYTES);
}
