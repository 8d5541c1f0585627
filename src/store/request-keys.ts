import { z } from "zod";
import type { Clock } from "../clock.ts";
import { AppError } from "../errors.ts";
import type { Connection, Query } from "./connection.ts";
import { integer, json, Table, text, type Columns } from "./table.ts";

/** What was asked under a key, and what was answered. */
export interface RequestKeyRow {
  readonly key: string;
  readonly operation: string;
  readonly inputHash: string;
  /** JSON. */
  readonly response: unknown;
}

interface StoredKey extends RequestKeyRow {
  readonly createdAtMs: number;
}

const COLUMNS: Columns<StoredKey> = {
  key: text("key"),
  operation: text("operation"),
  inputHash: text("input_hash"),
  response: json("response", z.unknown()),
  createdAtMs: integer("created_at_ms"),
};

/**
 * A changing call is never done twice: its answer is stored under its key in the transaction that carries it out, so a
 * repeat gets the first answer. A key belongs to one operation and input for good; for another it is refused.
 */
export class RequestKeys {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #table: Table<StoredKey, "key">;
  readonly #get: Query;
  readonly #prune: Query;

  constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
    this.#table = new Table(connection, "request_keys", COLUMNS, ["key"]);
    this.#get = connection.prepare(`SELECT ${this.#table.columnList} FROM request_keys WHERE key = ?`);
    this.#prune = connection.prepare("DELETE FROM request_keys WHERE created_at_ms < ?");
  }

  /** The row of that key, whatever it was used for; null when it was not. */
  find(key: string): RequestKeyRow | null {
    const row = this.#table.one(this.#get, key);
    return row === null
      ? null
      : { key: row.key, operation: row.operation, inputHash: row.inputHash, response: row.response };
  }

  /**
   * The first answer as `{ response }`, when this very call was carried out before; null when the key is new. Throws
   * REQUEST_KEY_REUSED when the key was used for another operation or input.
   */
  findAnswer(key: string, operation: string, inputHash: string): { readonly response: unknown } | null {
    const row = this.find(key);
    if (row === null) return null;
    if (row.operation === operation && row.inputHash === inputHash) return { response: row.response };
    const what = row.operation === operation ? "with another input" : `for ${row.operation}`;
    throw new AppError(
      "REQUEST_KEY_REUSED",
      `the key ${key} was used before ${what}. Send the same call again to get its answer, or use a new key for a new call`,
      { details: { key, operation, usedFor: row.operation } },
    );
  }

  /** Stores the answer. Throws REQUEST_KEY_REUSED when the key is taken, by whatever call. */
  put(row: RequestKeyRow): void {
    this.#connection.transaction(() => {
      const taken = this.find(row.key);
      if (taken !== null) {
        throw new AppError("REQUEST_KEY_REUSED", `the key ${row.key} has an answer already (of ${taken.operation})`, {
          details: { key: row.key, operation: row.operation, usedFor: taken.operation },
        });
      }
      this.#table.insert({ ...row, createdAtMs: this.#clock.nowMs() });
    });
  }

  /** Forgets keys older than that; answers how many. */
  prune(maxAgeMs: number): number {
    return this.#prune.run(this.#clock.nowMs() - maxAgeMs).changes;
  }
}
