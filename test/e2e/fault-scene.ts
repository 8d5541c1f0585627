/** An engine that is killed at named places, a scripted agent with sessions, and what must be true when all has ended. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type BetterSqlite3 from "better-sqlite3";
import { expect } from "vitest";
import { StandInClaude, type StandInTurn } from "../agents/stand-in-claude.ts";
import { Ground, type Fields, type Repo } from "./engine-support.ts";
import { processesOf } from "../support/processes.js";
import { until } from "../support/until.js";

const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;

export class FaultScene {
  readonly ground: Ground;
  readonly repo: Repo;
  readonly claude: StandInClaude;

  constructor(config: Fields = {}) {
    this.ground = new Ground({ providers: StandInClaude.providers, ...config });
    this.repo = this.ground.main;
    this.claude = new StandInClaude(this.ground.home);
  }

  /** The engine dies at the first of these, the next one at the second, and so on. */
  dieAt(...lines: readonly string[]): void {
    writeFileSync(join(this.ground.home, "crash-points"), lines.map((line) => `${line}\n`).join(""));
  }

  deaths(): string[] {
    return this.#linesOf("crashed");
  }

  async untilDead(count = 1): Promise<void> {
    await until(
      `the engine has died ${count} times`,
      () => this.deaths().length >= count,
      () => `It died at ${this.deaths().join(", ") || "nothing"}. ${this.repo.log().slice(-2500)}`,
      60_000,
    );
  }

  /** The engine is started again, by whoever comes next. */
  async restart(): Promise<void> {
    this.repo.closeClients();
    await this.repo.client();
  }

  /** What the scripted agent does in each of its turns. */
  talk(text: string): void {
    for (const turn of [1, 2, 3, 4, 5, 6, 7, 8]) this.claude.script(turn, text);
  }

  /** The turns of the agents with a session. */
  turns(): StandInTurn[] {
    return this.claude.turns();
  }

  /** The turns in which the scripted agent was asked for an answer in a form. */
  answers(): StandInTurn[] {
    return this.claude.answers();
  }

  /** A query on the engine's own state, which nobody writes meanwhile. */
  column(query: string, ...values: readonly string[]): unknown[] {
    const database = new Database(join(this.repo.stateDir, "state.db"), { readonly: true });
    try {
      return database
        .prepare(query)
        .pluck()
        .all(...values);
    } finally {
      database.close();
    }
  }

  async stopEngine(): Promise<void> {
    const { repo, ground } = this;
    await repo.call("stop_engine", {}).catch(() => undefined);
    await until("the engine has ended", () => !existsSync(join(repo.stateDir, "engine.json")));
    repo.closeClients();
    await until(
      "nothing that it started is alive",
      () => processesOf(ground.folder).length === 0,
      () => processesOf(ground.folder).join(" "),
    );
  }

  /** Rows agree that nothing is under way, that nothing was spent, and git that nothing is broken. Stop the engine first. */
  expectAllEnded(spent: "no-retry" | "retries-spent" = "no-retry"): void {
    expect(this.column("SELECT id FROM attempts WHERE state <> 'ended'")).toEqual([]);
    expect(this.column("SELECT id FROM merges WHERE state <> 'ended'")).toEqual([]);
    expect(this.column("SELECT id FROM consultations WHERE ended_at_ms IS NULL")).toEqual([]);
    const retried = this.column("SELECT id FROM tasks WHERE ledger ->> '$.retries' > 0");
    if (spent === "no-retry") expect(retried).toEqual([]);
    expect(this.column("PRAGMA integrity_check")).toEqual(["ok"]);
    expect(this.column("PRAGMA foreign_key_check")).toEqual([]);
    expect(this.repo.git("fsck", "--no-dangling", "--connectivity-only")).toBe("");
  }

  events(type: string): unknown[] {
    return this.column("SELECT body FROM events WHERE body ->> '$.type' = ?", type);
  }

  async leave(): Promise<void> {
    await this.ground.leave();
  }

  #linesOf(name: string): string[] {
    const file = join(this.ground.home, name);
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  }
}

/** One scene from its beginning to its end. */
export async function inScene<Scene extends FaultScene>(
  scene: Scene,
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  try {
    await work(scene);
  } finally {
    await scene.leave();
  }
}
