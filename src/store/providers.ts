import type { ProviderHealth } from "../plan/records.ts";
import type { Connection, Query } from "./connection.ts";
import { flag, integer, orNull, Table, text, type Columns } from "./table.ts";

const COLUMNS: Columns<ProviderHealth> = {
  name: text("name"),
  failuresInARow: integer("failures_in_a_row"),
  openUntilMs: orNull(integer("open_until_ms")),
  parkedUntilMs: orNull(integer("parked_until_ms")),
  isResetUnknown: flag("is_reset_unknown"),
  parkings: integer("parkings"),
  reason: orNull(text("reason")),
};

/** Providers' health, kept so that a restart does not run into the same limit again. */
export class Providers {
  readonly #table: Table<ProviderHealth, "name">;
  readonly #save: Query;
  readonly #loadAll: Query;

  constructor(connection: Connection) {
    this.#table = new Table(connection, "providers", COLUMNS, ["name"]);
    const names = Object.values(COLUMNS).map(({ name }) => name);
    this.#save = connection.prepare(
      `INSERT INTO providers (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})
       ON CONFLICT (name) DO UPDATE SET ${names.map((name) => `${name} = excluded.${name}`).join(", ")}`,
    );
    this.#loadAll = connection.prepare(`SELECT ${this.#table.columnList} FROM providers ORDER BY name`);
  }

  save(health: ProviderHealth): void {
    this.#save.run(...this.#table.encode(health));
  }

  loadAll(): ProviderHealth[] {
    return this.#table.all(this.#loadAll);
  }
}
