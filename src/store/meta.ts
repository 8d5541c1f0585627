import type { Connection, Query } from "./connection.ts";
import { text } from "./table.ts";

/** Single values of the engine, by name. */
export class Meta {
  readonly #connection: Connection;
  readonly #get: Query;
  readonly #set: Query;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#get = connection.prepare("SELECT value FROM meta WHERE key = ?");
    this.#set = connection.prepare(
      "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
  }

  get(key: string): string | null {
    const row = this.#get.row(text("key").encode(key));
    return row === undefined ? null : text("value").decode(row[0]);
  }

  set(key: string, value: string): void {
    this.#set.run(text("key").encode(key), text("value").encode(value));
  }

  /** The value of `key`; where there is none, `make()` is stored, once and for all. */
  ensure(key: string, make: () => string): string {
    return this.#connection.transaction(() => {
      const found = this.get(key);
      if (found !== null) return found;
      this.set(key, make());
      return this.get(key) ?? "";
    });
  }
}
