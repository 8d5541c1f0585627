import { AppError } from "../errors.ts";
import type { Connection, Query } from "./connection.ts";
import { integer, orNull, Table, text, word, type Columns } from "./table.ts";

export const MERGE_STATES = ["building", "verifying", "moving", "ended"] as const;
export type MergeState = (typeof MERGE_STATES)[number];

/** The outcome of a merge whose candidate is on the target. Other outcomes are the merge queue's own words. */
const MERGED = "merged";

/** One way of a branch through the merge queue. The row is there before git is touched. */
export interface MergeRow {
  readonly id: string;
  readonly planId: string;
  readonly taskId: string;
  readonly target: string;
  readonly strategy: string;
  readonly branchSha: string;
  readonly state: MergeState;
  /** The target's commit on which the candidate stands. */
  readonly targetSha: string | null;
  readonly candidateSha: string | null;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly outcome: string | null;
  readonly message: string | null;
  readonly verifyOutput: string | null;
}

const COLUMNS: Columns<MergeRow> = {
  id: text("id"),
  planId: text("plan_id"),
  taskId: text("task_id"),
  target: text("target"),
  strategy: text("strategy"),
  branchSha: text("branch_sha"),
  state: word("state", MERGE_STATES),
  targetSha: orNull(text("target_sha")),
  candidateSha: orNull(text("candidate_sha")),
  startedAtMs: integer("started_at_ms"),
  endedAtMs: orNull(integer("ended_at_ms")),
  outcome: orNull(text("outcome")),
  message: orNull(text("message")),
  verifyOutput: orNull(text("verify_output")),
};

export class Merges {
  readonly #table: Table<MergeRow, "id">;
  readonly #get: Query;
  readonly #listOpen: Query;
  readonly #listByTask: Query;
  readonly #mergedOf: Query;
  readonly #planOf: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "merges", COLUMNS, ["id"]);
    const select = `SELECT ${this.#table.columnList} FROM merges`;
    this.#get = connection.prepare(`${select} WHERE id = ?`);
    this.#listOpen = connection.prepare(`${select} WHERE state <> 'ended' ORDER BY +rowid`);
    this.#listByTask = connection.prepare(`${select} WHERE plan_id = ? AND task_id = ? ORDER BY rowid`);
    this.#planOf = connection.prepare("SELECT plan_id FROM merges WHERE candidate_sha = ? ORDER BY rowid DESC LIMIT 1");
    this.#mergedOf = connection.prepare(
      `${select} WHERE plan_id = ? AND state = 'ended' AND outcome = '${MERGED}' ORDER BY rowid`,
    );
  }

  /** The plan whose queue made that commit; null when none did. */
  planOfCommit(sha: string): string | null {
    const row = this.#planOf.row(sha);
    return row === undefined ? null : text("plan_id").decode(row[0]);
  }

  insert(merge: MergeRow): void {
    this.#table.insert(merge);
  }

  /** Sets what `changes` has, nothing else. Throws INTERNAL when there is no such merge. */
  update(id: string, changes: Partial<Omit<MergeRow, "id">>): void {
    if (!this.#table.update({ id }, changes)) throw new AppError("INTERNAL", `no merge has the id ${id}`);
  }

  get(id: string): MergeRow | null {
    return this.#table.one(this.#get, id);
  }

  /** Those that have not ended, oldest first: at a start, what the last engine left under way. */
  listOpen(): MergeRow[] {
    return this.#table.all(this.#listOpen);
  }

  /** Oldest first. */
  listByTask(planId: string, taskId: string): MergeRow[] {
    return this.#table.all(this.#listByTask, planId, taskId);
  }

  /** The merges of a plan that are on its target (outcome MERGED), in the order they were begun. */
  mergedOf(planId: string): MergeRow[] {
    return this.#table.all(this.#mergedOf, planId);
  }
}
