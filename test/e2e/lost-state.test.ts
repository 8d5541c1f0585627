/** The state is damaged, removed or exchanged under an engine that runs: what who asks is told, and what is left after it. */
import { closeSync, cpSync, openSync, readdirSync, rmSync, statSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { attemptsBelow, Ground, quoted, type Repo } from "./engine-support.ts";
import { callTool } from "./machine-faults.ts";
import { runCli } from "./run-cli.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;

let ground: Ground;
let repo: Repo;

beforeEach(() => {
  ground = new Ground({ engine: { minFreeMegabytes: 0 } });
  repo = ground.main;
});

afterEach(async () => {
  await ground.leave();
});

const file = (): string => join(repo.stateDir, "state.db");

interface Running {
  readonly engine: number;
  readonly agents: readonly number[];
}

/** One agent ends when the gate is opened, one by itself never. */
async function twoAgents(): Promise<Running> {
  const gate = quoted(join(ground.traces, "gate"));
  const begun = (id: string): string => `echo ${id} >> ${quoted(join(ground.traces, "starts"))}`;
  await repo.submit("p", [
    {
      id: "short",
      prompt: `${begun("short")}; echo work > work.txt; while [ ! -e ${gate} ]; do sleep 0.05; done`,
      writes: ["work.txt"],
    },
    { id: "long", prompt: `${begun("long")}; sleep 300`, writes: [] },
  ]);
  await until("both agents run", () => ground.trace("starts").length === 2);
  // An agent can be faster than the note of its start; after that note the engine writes nothing by itself.
  await until("both starts are stored", () => storedStarts() === 2);
  const engine = repo.enginePid();
  return { engine, agents: attemptsBelow(engine) };
}

function storedStarts(): number {
  const database = new Database(file(), { readonly: true });
  try {
    const started = database.prepare("SELECT count(*) FROM events WHERE body ->> 'type' = 'attempt-started'");
    return started.pluck().get() as number;
  } finally {
    database.close();
  }
}

/** All pages but the first, and in a way that the engine does not go on from what it has in memory. */
function overwritePages(): void {
  const database = new Database(file());
  database.exec("CREATE TABLE strange (a)");
  database.pragma("wal_checkpoint(TRUNCATE)");
  const bytes = Buffer.alloc(statSync(file()).size - 4096, 0xff);
  const descriptor = openSync(file(), "r+");
  writeSync(descriptor, bytes, 0, bytes.length, 4096);
  closeSync(descriptor);
  database.close();
}

test("S1: pages overwritten: who asks is told, an agent's end ends the engine with all it ran, and the next start keeps the file aside", async () => {
  const { engine, agents } = await twoAgents();
  overwritePages();
  for (const args of [["status"], ["pause", "p"]]) {
    const ran = await runCli(repo, args);
    expect(ran).toMatchObject({ code: 3, stderr: expect.stringMatching(/state\.db is damaged .*orchestrator stop/) });
  }
  expect(await callTool(repo, "task_status", {})).toMatchObject({
    isError: true,
    text: expect.stringContaining("STATE_UNUSABLE"),
  });
  repo.write("../traces/gate", "");
  await until("nothing of it runs", () => ![engine, ...agents].some(isAlive));
  repo.closeClients();
  expect((await runCli(repo, ["status"])).stderr).toMatch(/was damaged: .*kept as .*state\.db\.damaged-/s);
  expect((await runCli(repo, ["status"])).stdout).toContain("the state of before was damaged");
  expect(repo.git("worktree", "list")).toContain("short");
});

test("B7: pages overwritten, then stop: it answers once nothing that the engine ran is alive", async () => {
  const { engine, agents } = await twoAgents();
  overwritePages();
  expect((await runCli(repo, ["stop"])).code).toBe(0);
  expect([engine, ...agents].filter(isAlive)).toEqual([]);
  repo.closeClients();
  expect((await runCli(repo, ["status"])).stderr).toMatch(/was damaged: .*kept as/s);
});

/** All of it, as who wants to begin anew would. */
function removeState(): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(file() + suffix);
}

test("S1: the state file removed: the engine ends in order, keeps all that was stored, and it can be put back", async () => {
  const { engine, agents } = await twoAgents();
  removeState();
  await until("nothing of it runs", () => ![engine, ...agents].some(isAlive));
  repo.closeClients();
  const kept = readdirSync(repo.stateDir).filter((name) => name.startsWith("state.db"));
  expect(kept).toEqual([expect.stringMatching(/^state\.db\.removed-\d+T\d+Z$/)]);
  const copy = join(repo.stateDir, kept[0] ?? "");
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  const status = await runCli(repo, ["status"]);
  expect(status.stdout).toContain(`the state of before was removed`);
  expect(status.stdout).toContain(copy);
  const doctor = await runCli(repo, ["doctor"]);
  expect(doctor.stdout).toContain(`a removed state is kept as ${copy}`);
  // As doctor says.
  await runCli(repo, ["stop"]);
  cpSync(copy, file());
  repo.write("../traces/gate", "");
  await repo.untilState("p/short", "succeeded");
  expect(repo.merges()).toEqual({ short: 1 });
  expect(ground.trace("starts").filter((id) => id === "short")).toHaveLength(2);
});

test("S1: only the log of the state removed: the engine ends in order, and the next start goes on with everything", async () => {
  const { engine, agents } = await twoAgents();
  rmSync(`${file()}-wal`);
  await until("nothing of it runs", () => ![engine, ...agents].some(isAlive));
  repo.closeClients();
  repo.write("../traces/gate", "");
  await repo.untilState("p/short", "succeeded");
  expect(repo.merges()).toEqual({ short: 1 });
});

test("the state removed while no engine runs: what agents said stays though no plan is known", async () => {
  await repo.submit("p", [{ id: "a", prompt: "echo said", writes: [] }]);
  await repo.settled("p");
  repo.closeClients();
  await runCli(repo, ["stop"]);
  const attempts = readdirSync(join(repo.stateDir, "attempts"));
  expect(attempts).toHaveLength(1);
  rmSync(file());
  for (let count = 0; count < 2; count += 1) {
    expect((await runCli(repo, ["status"])).stdout).toContain("There are no plans");
  }
  expect(readdirSync(join(repo.stateDir, "attempts"))).toEqual(attempts);
});
