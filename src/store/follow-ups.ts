import { z } from "zod";
import type { Connection, Query } from "./connection.ts";
import { integer, json, orNull, Table, text, word, type Columns } from "./table.ts";

/** due: to be started · started: as `planId` · refused: it can't be, for the reason in `message`. */
const FOLLOW_UP_STATES = ["due", "started", "refused"] as const;
const FOLLOW_UP_KINDS = ["merge", "commit"] as const;

/** An event on a branch that a rule answers. */
export interface FollowUpEvent {
  /** Names the rule by what it says, so that it stays the same when the config is reordered. */
  readonly rule: string;
  readonly branch: string;
  readonly kind: (typeof FOLLOW_UP_KINDS)[number];
  readonly baseSha: string;
  readonly tipSha: string;
  /** Oldest first. */
  readonly commits: readonly string[];
  /** 1 for what a person or a plan did, one more for each follow-up that led here. */
  readonly depth: number;
  /** The rules that led here, this one included. */
  readonly chain: readonly string[];
}

export interface FollowUpRow extends FollowUpEvent {
  readonly id: number;
  readonly state: (typeof FOLLOW_UP_STATES)[number];
  readonly planId: string | null;
  readonly startedAtMs: number | null;
  readonly message: string | null;
}

const COLUMNS: Columns<FollowUpRow> = {
  id: integer("id"),
  rule: text("rule"),
  branch: text("branch"),
  kind: word("kind", FOLLOW_UP_KINDS),
  baseSha: text("base_sha"),
  tipSha: text("tip_sha"),
  commits: json("commits", z.array(z.string()).readonly()),
  depth: integer("depth"),
  chain: json("chain", z.array(z.string()).readonly()),
  state: word("state", FOLLOW_UP_STATES),
  planId: orNull(text("plan_id")),
  startedAtMs: orNull(integer("started_at_ms")),
  message: orNull(text("message")),
};

/** What was seen on followed branches and what came of it. An event is stored once for each rule. */
export class FollowUpRows {
  readonly #table: Table<FollowUpRow, "id">;
  readonly #add: Query;
  readonly #listDue: Query;
  readonly #listByPlan: Query;
  readonly #lastStart: Query;
  readonly #branches: Query;
  readonly #setBranch: Query;
  readonly #dropBranch: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "follow_ups", COLUMNS, ["id"]);
    const select = `SELECT ${this.#table.columnList} FROM follow_ups`;
    this.#add = connection.prepare(
      `INSERT INTO follow_ups (rule, branch, kind, base_sha, tip_sha, commits, depth, chain, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'due') ON CONFLICT (rule, branch, tip_sha) DO NOTHING`,
    );
    this.#listDue = connection.prepare(`${select} WHERE state = 'due' ORDER BY id`);
    this.#listByPlan = connection.prepare(`${select} WHERE plan_id = ? ORDER BY id`);
    this.#lastStart = connection.prepare("SELECT max(started_at_ms) FROM follow_ups WHERE rule = ?");
    this.#branches = connection.prepare("SELECT branch, sha FROM followed_branches ORDER BY branch");
    this.#setBranch = connection.prepare(
      "INSERT INTO followed_branches (branch, sha) VALUES (?, ?) ON CONFLICT (branch) DO UPDATE SET sha = excluded.sha",
    );
    this.#dropBranch = connection.prepare("DELETE FROM followed_branches WHERE branch = ?");
  }

  /** False when this rule knows the event already. */
  add(event: FollowUpEvent): boolean {
    const { rule, branch, kind, baseSha, tipSha, commits, depth, chain } = event;
    const lists = [COLUMNS.commits.encode(commits), COLUMNS.depth.encode(depth), COLUMNS.chain.encode(chain)];
    const names = [rule, branch, kind, baseSha, tipSha].map((name) => text("").encode(name));
    return this.#add.run(...names, ...lists).changes > 0;
  }

  update(id: number, changes: Partial<Pick<FollowUpRow, "state" | "planId" | "startedAtMs" | "message">>): void {
    this.#table.update({ id }, changes);
  }

  /** In the order they were seen. */
  listDue(): FollowUpRow[] {
    return this.#table.all(this.#listDue);
  }

  /** The events that this plan follows; empty for any other plan. */
  listByPlan(planId: string): FollowUpRow[] {
    return this.#table.all(this.#listByPlan, planId);
  }

  lastStartMs(rule: string): number | null {
    const raw = this.#lastStart.row(text("").encode(rule))?.[0];
    return raw === null || raw === undefined ? null : integer("started_at_ms").decode(raw);
  }

  /** Followed branches, with the commit up to which each was looked at. */
  positions(): Map<string, string> {
    return new Map(
      this.#branches.rows().map((row) => [text("branch").decode(row[0]), text("sha").decode(row[1])] as const),
    );
  }

  setPosition(branch: string, sha: string | null): void {
    if (sha === null) this.#dropBranch.run(text("").encode(branch));
    else this.#setBranch.run(text("").encode(branch), sha);
  }
}
