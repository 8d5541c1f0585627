/**
 * One life with a death in it: a plan of command agents and one scripted agent with a session, an engine that is killed
 * at a named place, and what must be true when the plan has ended. Effects are counted outside the repository.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type BetterSqlite3 from "better-sqlite3";
import { expect } from "vitest";
import { Ground, processesNaming, processesOf, quoted, until, type Fields, type Repo } from "./engine-support.ts";

const FAKE_CLAUDE = fileURLToPath(new URL("../agents/fake-claude.mjs", import.meta.url));
const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;

export const IDS = ["side", "first", "second", "third"] as const;

export class CrashScene {
  readonly ground: Ground;
  readonly repo: Repo;
  /** Sleeps that only this scene's agents sleep. */
  readonly seconds = `86398.${process.pid}${Math.floor(Math.random() * 1e9)}`;
  plan = "";
  branch = "main";

  constructor(config: Fields = {}) {
    this.ground = new Ground({ providers: { claude: { kind: "claude", command: FAKE_CLAUDE } }, ...config });
    this.repo = this.ground.main;
  }

  /** The engine dies at the first of these, the next one at the second, and so on. */
  dieAt(...lines: readonly string[]): void {
    writeFileSync(join(this.ground.home, "crash-points"), lines.map((line) => `${line}\n`).join(""));
  }

  deaths(): string[] {
    const file = join(this.ground.home, "crashed");
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  }

  async untilDead(count = 1): Promise<void> {
    await until(
      `the engine has died ${count} times`,
      () => this.deaths().length >= count,
      () => `It died at ${this.deaths().join(", ") || "nothing"}. ${this.repo.log().slice(-2500)}`,
      60_000,
    );
  }

  /** Lets `side` come to its end. */
  openGate(): void {
    this.repo.write("../traces/gate", "");
  }

  /** side ‖ first → second → third. `side` runs until the gate is open; `third` is an agent with a session. */
  async submit(more: Fields = {}): Promise<void> {
    const file = (id: string): string => quoted(join(this.ground.traces, id));
    const told = (id: string, what: string): string =>
      `echo ${id} >> ${file("starts")}; ${what} && echo ${id} >> ${file("ends")}`;
    const hidden = `(trap '' TERM; setsid sleep ${this.seconds} &) ; setsid sh -c "sleep ${this.seconds}; true" &`;
    this.talk(`echo third >> ${file("starts")}; echo third >> third.txt; echo third >> ${file("ends")}`);
    const tasks = [
      {
        id: "side",
        prompt: `${hidden}\n${told("side", `while [ ! -e ${file("gate")} ]; do sleep 0.05; done; echo side >> side.txt`)}`,
        writes: ["side.txt"],
      },
      { id: "first", prompt: told("first", "echo first >> first.txt"), writes: ["first.txt"] },
      {
        id: "second",
        prompt: told(
          "second",
          "echo half >> second.txt; git add -A; git commit -qm half; test -f first.txt && echo whole >> second.txt",
        ),
        writes: ["second.txt"],
        dependsOn: ["first"],
        verify: ["test -f first.txt && test -f second.txt"],
      },
      { id: "third", prompt: "PROMPT-3", agent: "coder", writes: ["third.txt", "draft.txt"], dependsOn: ["second"] },
    ];
    this.plan = await this.repo.submit("chain", tasks, more);
  }

  /** What the scripted agent does in each of its turns. */
  talk(text: string): void {
    for (const turn of [1, 2, 3, 4]) writeFileSync(join(this.ground.home, `turn-${turn}.sh`), text);
  }

  /** The turns of the agent with a session. */
  turns(): { sessionId: string; resumed: boolean; cwd: string; prompt: string }[] {
    const file = join(this.ground.home, "turns.ndjson");
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    return lines.map((line) => JSON.parse(line) as ReturnType<CrashScene["turns"]>[number]);
  }

  count(trace: "starts" | "ends", id: string): number {
    return this.ground.trace(trace).filter((line) => line === id).length;
  }

  /** The plan goes on to its end; then state, git, processes and folders agree that all of it was done once. */
  async expectDoneOnce(ids: readonly string[] = IDS, allowed: readonly string[] = ["engine-crash"]): Promise<void> {
    const { repo, ground, plan } = this;
    repo.closeClients();
    await repo.client();
    this.openGate();
    expect(await repo.settled(plan)).toBe("succeeded");
    expect(repo.merges(this.branch)).toEqual(Object.fromEntries(ids.map((id) => [id, 1])));
    for (const id of ids) {
      const { state, mergedSha, attempts } = await repo.task(`${plan}/${id}`);
      expect(state).toBe("succeeded");
      const causes = attempts.flatMap(({ cause }) => (cause === null ? [] : [cause]));
      expect(causes.filter((cause) => !allowed.includes(cause))).toEqual([]);
      expect(
        repo.git("show", "-s", "--format=%(trailers:key=Orchestrator-Task,valueonly)", mergedSha ?? "").trim(),
      ).toBe(id);
      repo.git("merge-base", "--is-ancestor", mergedSha ?? "", this.branch);
      const text = id === "second" ? "half\nwhole" : id;
      expect(repo.git("show", `${this.branch}:${id}.txt`)).toBe(text);
    }
    expect(repo.git("status", "--porcelain")).toBe("");
    await repo.call("stop_engine", {}).catch(() => undefined);
    await until("the engine has ended", () => !existsSync(join(repo.stateDir, "engine.json")));
    repo.closeClients();
    await until(
      "nothing that it started is alive",
      () => processesOf(ground.folder).length === 0,
      () => processesOf(ground.folder).join(" "),
    );
    expect(processesNaming(this.seconds)).toEqual([]);
    this.expectNothingLeft(ids);
    if (!allowed.includes("crashed")) this.expectNoRetry();
  }

  expectNoRetry(): void {
    const database = new Database(join(this.repo.stateDir, "state.db"), { readonly: true });
    const spent = database.prepare("SELECT id FROM tasks WHERE ledger ->> '$.retries' > 0").pluck().all();
    database.close();
    expect(spent).toEqual([]);
  }

  expectNothingLeft(ids: readonly string[]): void {
    const { repo, ground } = this;
    expect(repo.git("branch", "--list", "orchestrator/*")).toBe("");
    expect(repo.git("worktree", "list", "--porcelain").match(/^worktree /gm)).toHaveLength(1);
    const worktrees = join(ground.home, ".orchestrator", "worktrees");
    expect(existsSync(worktrees) ? readdirSync(worktrees, { recursive: true }) : []).toEqual([]);
    const refs = repo.git("for-each-ref", "--format=%(refname)", "refs/orchestrator").split("\n");
    expect(refs.filter((ref) => !ref.startsWith("refs/orchestrator/kept/"))).toEqual([
      `refs/orchestrator/before/${this.plan}`,
    ]);
    const database = new Database(join(repo.stateDir, "state.db"), { readonly: true });
    const number = (query: string): unknown => database.prepare(query).pluck().get();
    try {
      expect(number("SELECT count(*) FROM attempts WHERE state <> 'ended'")).toBe(0);
      expect(number("SELECT count(*) FROM merges WHERE state <> 'ended'")).toBe(0);
      expect(number("SELECT count(*) FROM merges WHERE outcome = 'merged'")).toBe(ids.length);
      expect(number("SELECT count(*) FROM tasks WHERE worktree IS NOT NULL")).toBe(0);
      expect(number("SELECT count(*) FROM plans WHERE ended_at_ms IS NULL")).toBe(0);
      expect(number("SELECT count(*) FROM events WHERE body ->> '$.type' = 'plan-created'")).toBe(1);
      expect(number("SELECT count(*) FROM events WHERE body LIKE '%outside its claim%'")).toBe(0);
      expect(number("PRAGMA integrity_check")).toBe("ok");
    } finally {
      database.close();
    }
    expect(repo.git("fsck", "--no-dangling", "--connectivity-only")).toBe("");
  }

  /** A hook of the user's that is run by the merge in their checkout. */
  hook(name: string, text: string): void {
    const file = join(this.repo.path, ".git", "hooks", name);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
  }

  async leave(): Promise<void> {
    await this.ground.leave();
  }
}
