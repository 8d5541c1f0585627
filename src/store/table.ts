/**
 * Rows in, plain objects out: a table is described once, column by column, and the compiler sees to it that no property
 * is forgotten. What comes out of the file is checked as anything from outside: it may have been changed by hand.
 */
import { inspect, toUSVString } from "node:util";
import type { z } from "zod";
import { AppError, messageOf } from "../errors.ts";
import type { Connection, Query, SqlRow, SqlValue } from "./connection.ts";

export interface Column<Value> {
  readonly name: string;
  readonly encode: (value: Value) => SqlValue;
  /** Throws an Error that says what was expected. */
  readonly decode: (raw: unknown) => Value;
}

export type Columns<Row> = { readonly [Property in keyof Row]-?: Column<Row[Property]> };

/**
 * Text, NUL and all. Half of a surrogate pair is no character and becomes U+FFFD, as everywhere outside JavaScript;
 * left to better-sqlite3 it would come back as three of them.
 */
export function text(name: string): Column<string> {
  return { name, encode: toUSVString, decode: (raw) => expected(typeof raw === "string", raw, "text") };
}

export function integer(name: string): Column<number> {
  return {
    name,
    encode: (value) => value,
    decode: (raw) => expected(Number.isSafeInteger(raw), raw, "a whole number"),
  };
}

export function real(name: string): Column<number> {
  return { name, encode: (value) => value, decode: (raw) => expected(typeof raw === "number", raw, "a number") };
}

export function flag(name: string): Column<boolean> {
  return {
    name,
    encode: (value) => (value ? 1 : 0),
    decode: (raw) => expected<number>(raw === 0 || raw === 1, raw, "0 or 1") === 1,
  };
}

/** One of a closed list of words. */
export function word<Word extends string>(name: string, words: readonly Word[]): Column<Word> {
  return {
    name,
    encode: (value) => value,
    decode: (raw) =>
      expected(
        words.some((known) => known === raw),
        raw,
        `one of ${words.join(", ")}`,
      ),
  };
}

/**
 * JSON text. Lone surrogates survive here: JSON escapes them. Rows one after the other that hold the same text share one
 * value, which nobody may change: of ten thousand tasks most have the same workflow, ledger and next turn.
 */
export function json<Value>(name: string, schema: z.ZodType<Value>): Column<Value> {
  let latest: { readonly raw: string; readonly value: Value } | null = null;
  return {
    name,
    encode: (value) => JSON.stringify(value) ?? "null",
    decode: (raw) => {
      if (latest !== null && raw === latest.raw) return latest.value;
      const text = expected<string>(typeof raw === "string", raw, "JSON text");
      const parsed = schema.safeParse(JSON.parse(text));
      if (parsed.success) {
        latest = { raw: text, value: parsed.data };
        return parsed.data;
      }
      const issue = parsed.error.issues[0];
      throw new Error(`${issue?.path.map(String).join(".") ?? ""}: ${issue?.message ?? "invalid"}`);
    },
  };
}

export function orNull<Value>(column: Column<Value>): Column<Value | null> {
  return {
    name: column.name,
    encode: (value) => (value === null ? null : column.encode(value)),
    decode: (raw) => (raw === null ? null : column.decode(raw)),
  };
}

function expected<Value>(isAsExpected: boolean, raw: unknown, expectation: string): Value {
  // `isAsExpected` is the check that `raw` is a Value.
  if (isAsExpected) return raw as Value;
  throw new Error(`expected ${expectation}, found ${raw === null ? "NULL" : inspect(raw).slice(0, 80)}`);
}

/** A table of an open database. `Key` are the properties that name a row. */
export class Table<Row extends object, Key extends keyof Row & string> {
  readonly name: string;
  /** The column list for a SELECT whose rows this table decodes. */
  readonly columnList: string;
  readonly #connection: Connection;
  readonly #columns: readonly (readonly [string, Column<unknown>])[];
  readonly #key: readonly Key[];
  readonly #insert: Query;
  readonly #updates = new Map<string, Query>();

  constructor(connection: Connection, name: string, columns: Columns<Row>, key: readonly Key[]) {
    this.name = name;
    this.#connection = connection;
    // Each column is only ever given values of its own property, which this array no longer says.
    this.#columns = Object.entries(columns) as unknown as readonly (readonly [string, Column<unknown>])[];
    this.#key = key;
    const names = this.#columns.map(([, column]) => column.name);
    this.columnList = names.map((column) => `${name}.${column}`).join(", ");
    this.#insert = connection.prepare(
      `INSERT INTO ${name} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
    );
  }

  /** Answers the rowid. */
  insert(row: Row): number {
    return this.#insert.run(...this.encode(row)).lastId;
  }

  /** Every column, in the order of `columnList`. */
  encode(row: Row): SqlValue[] {
    return this.#columns.map(([property, column]) => column.encode(row[property as keyof Row]));
  }

  /** Sets the columns of the properties that `changes` has. False when there is no such row. */
  update(key: Pick<Row, Key>, changes: Partial<Row>): boolean {
    const changed = this.#columns.filter(([property]) => changes[property as keyof Row] !== undefined);
    const keyColumns = this.#key.map((property) => this.#column(property));
    const keyValues = this.#key.map((property, index) => keyColumns[index]?.encode(key[property]) ?? null);
    const sets = changed.length > 0 ? changed.map(([, column]) => column.name) : keyColumns.map(({ name }) => name);
    const sql = `UPDATE ${this.name} SET ${sets.map((name) => `${name} = ?`).join(", ")} WHERE ${keyColumns
      .map(({ name }) => `${name} = ?`)
      .join(" AND ")}`;
    let query = this.#updates.get(sql);
    if (query === undefined) this.#updates.set(sql, (query = this.#connection.prepare(sql)));
    const values =
      changed.length > 0
        ? changed.map(([property, column]) => column.encode(changes[property as keyof Row]))
        : keyValues;
    return query.run(...values, ...keyValues).changes > 0;
  }

  one(query: Query, ...values: readonly SqlValue[]): Row | null {
    const row = query.row(...values);
    return row === undefined ? null : this.decode(row);
  }

  all(query: Query, ...values: readonly SqlValue[]): Row[] {
    return query.rows(...values).map((row) => this.decode(row));
  }

  /** Throws STATE_UNUSABLE that names file, table, row and column. */
  decode(raw: SqlRow): Row {
    const row: Record<string, unknown> = {};
    for (const [index, [property, column]] of this.#columns.entries()) {
      try {
        row[property] = column.decode(raw[index]);
      } catch (thrown) {
        throw this.#unreadable(raw, column.name, thrown);
      }
    }
    // `Columns<Row>` has a column for each property of Row, and each was decoded.
    return row as Row;
  }

  #column(property: string): Column<unknown> {
    const entry = this.#columns.find(([name]) => name === property);
    if (entry === undefined) throw new AppError("INTERNAL", `table ${this.name} has no property ${property}`);
    return entry[1];
  }

  #unreadable(raw: SqlRow, column: string, thrown: unknown): AppError {
    const row = this.#key
      .map((property) => String(raw[this.#columns.findIndex(([name]) => name === property)]).slice(0, 80))
      .join("/");
    const where = { file: this.#connection.file, table: this.name, row, column };
    return new AppError(
      "STATE_UNUSABLE",
      `${where.file}: table ${where.table}, row ${row}, column ${column} can't be read: ${messageOf(thrown)}. ` +
        `It was changed by something other than this version of orchestrator-mcp. Stop the engine with \`orchestrator stop\` and restore the file from a backup, or move it away to begin anew`,
      { cause: thrown, details: where },
    );
  }
}
