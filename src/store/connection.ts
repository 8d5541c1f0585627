/**
 * One open database: prepared statements whose failures speak our words, and transactions that hand their events on
 * once they are committed. better-sqlite3 itself is seen by this file, `open-database.ts` and `sqlite-error.ts` only.
 */
import type Database from "better-sqlite3";
import { AppError } from "../errors.ts";
import type { StoredEvent } from "../events/event.ts";
import { markSuspect } from "./open-database.ts";
import { isDamage, storeError } from "./sqlite-error.ts";

export type SqlValue = string | number | null;

/** A row as an array, in the order of the columns asked for. */
export type SqlRow = readonly unknown[];

export type CommitListener = (events: readonly StoredEvent[]) => void;

/** A prepared statement. All methods throw as `storeError` says. */
export interface Query {
  run(...values: readonly SqlValue[]): { readonly changes: number; readonly lastId: number };
  row(...values: readonly SqlValue[]): SqlRow | undefined;
  rows(...values: readonly SqlValue[]): SqlRow[];
}

export interface ConnectionHooks {
  readonly onListenerError: (thrown: unknown) => void;
  /** Before each outermost transaction. */
  readonly beforeWrite: () => void;
}

export class Connection {
  readonly file: string;
  readonly #database: Database.Database;
  readonly #atOnce: Database.Transaction<(work: () => unknown) => unknown>;
  readonly #listeners = new Set<CommitListener>();
  readonly #onListenerError: (thrown: unknown) => void;
  readonly #beforeWrite: () => void;
  /** Events of the open transaction; a transaction that is rolled back takes its own off again. */
  readonly #pending: StoredEvent[] = [];
  /** Committed and not yet handed on: a listener may itself commit, and its events come after. */
  readonly #committed: StoredEvent[][] = [];
  #isHandingOn = false;
  #depth = 0;

  constructor(database: Database.Database, file: string, { onListenerError, beforeWrite }: ConnectionHooks) {
    this.file = file;
    this.#database = database;
    this.#onListenerError = onListenerError;
    this.#beforeWrite = beforeWrite;
    this.#atOnce = database.transaction((work: () => unknown) => work());
  }

  /**
   * Runs `work` in one transaction, taken for writing from the start: read-then-write loses updates otherwise. Within
   * another it joins that one; when it throws, what it did itself is undone and the outer may go on. `work` must not
   * return a promise (it is rolled back and throws TypeError).
   */
  transaction<Result>(work: () => Result): Result {
    if (this.#depth === 0) this.#beforeWrite();
    const mark = this.#pending.length;
    this.#depth += 1;
    let result: Result;
    try {
      // The wrapper answers what `work` answers; its type can't say so for every call.
      result = this.#atOnce.immediate(work) as Result;
    } catch (thrown) {
      this.#pending.length = mark;
      throw this.#translateOwn(thrown);
    } finally {
      this.#depth -= 1;
    }
    if (this.#depth === 0) this.#handOn();
    return result;
  }

  /** Notes an event that was written in the open transaction. */
  addPending(event: StoredEvent): void {
    if (this.#depth === 0) throw new AppError("INTERNAL", "an event was appended outside a transaction");
    this.#pending.push(event);
  }

  onCommit(listener: CommitListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  prepare(sql: string): Query {
    const statement = this.#translating(() => this.#database.prepare<SqlValue[], SqlRow>(sql));
    if (statement.reader) statement.raw();
    return {
      run: (...values) =>
        this.#translating(() => {
          // Some failures (disk full) make SQLite roll back by itself. Going on would then write piece by piece.
          if (this.#depth > 0 && !this.#database.inTransaction) {
            throw new AppError("STATE_UNUSABLE", `${this.file}: an earlier failure has undone this transaction`);
          }
          const { changes, lastInsertRowid } = statement.run(...values);
          return { changes, lastId: Number(lastInsertRowid) };
        }),
      row: (...values) => this.#translating(() => statement.get(...values)),
      rows: (...values) => this.#translating(() => statement.all(...values)),
    };
  }

  /** Writes all that is stored to a file that does not exist or is empty; works also when our own file was removed. */
  copyTo(path: string): void {
    this.#translating(() => this.#database.prepare("VACUUM INTO ?").run(path));
  }

  /** Idempotent. The last one to close folds the log into the file. */
  close(): void {
    this.#translating(() => this.#database.close());
  }

  #handOn(): void {
    if (this.#pending.length > 0) this.#committed.push(this.#pending.splice(0));
    if (this.#isHandingOn) return;
    this.#isHandingOn = true;
    try {
      for (let events = this.#committed.shift(); events !== undefined; events = this.#committed.shift()) {
        for (const listener of this.#listeners) this.#tell(listener, events);
      }
    } finally {
      this.#isHandingOn = false;
    }
  }

  /** The change is committed: a listener that throws must not look like a transaction that failed. */
  #tell(listener: CommitListener, events: readonly StoredEvent[]): void {
    try {
      listener(events);
    } catch (thrown) {
      this.#onListenerError(thrown);
    }
  }

  #translating<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (thrown) {
      if (isDamage(thrown)) markSuspect(this.file);
      throw storeError(thrown, this.file);
    }
  }

  /** Only what SQLite says of BEGIN and COMMIT: what the work itself threw stays what it is. */
  #translateOwn(thrown: unknown): unknown {
    const isOurs = this.#database.open && !(thrown instanceof Error && thrown.name === "SqliteError");
    if (isOurs) return thrown;
    if (isDamage(thrown)) markSuspect(this.file);
    return storeError(thrown, this.file);
  }
}
