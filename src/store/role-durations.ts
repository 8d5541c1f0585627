import type { Connection, Query } from "./connection.ts";
import { real, text } from "./table.ts";

/** How long each role took so far, for the order of the longest remaining path. */
export class RoleDurations {
  readonly #record: Query;
  readonly #means: Query;

  constructor(connection: Connection) {
    this.#record = connection.prepare(
      `INSERT INTO role_durations (role, count, total_ms) VALUES (?, 1, ?)
       ON CONFLICT (role) DO UPDATE SET count = count + 1, total_ms = total_ms + excluded.total_ms`,
    );
    this.#means = connection.prepare("SELECT role, total_ms / count FROM role_durations ORDER BY role");
  }

  recordDuration(role: string, durationMs: number): void {
    this.#record.run(text("role").encode(role), durationMs);
  }

  /** Mean milliseconds by role; roles that never ran are not in it. */
  meanDurations(): Map<string, number> {
    return new Map(this.#means.rows().map((row) => [text("role").decode(row[0]), real("mean").decode(row[1])]));
  }
}
