/** A state that can't be used, met by the real commands: from a newer version, damaged, or where nothing may be written. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { attemptsBelow, Ground, type Repo } from "./engine-support.ts";
import { callTool, canMount, SmallDisk } from "./machine-faults.ts";
import { runCli } from "./run-cli.ts";
import { isAlive, kill } from "../support/processes.js";
import { until } from "../support/until.js";

const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;

let ground: Ground;
let repo: Repo;
let disk: SmallDisk | null = null;

beforeEach(() => {
  ground = new Ground({ engine: { minFreeMegabytes: 0 } });
  repo = ground.main;
});

afterEach(async () => {
  disk?.remove();
  disk = null;
  await ground.leave();
});

const file = (): string => join(repo.stateDir, "state.db");

/** Name and content of the state's files. */
function fingerprint(): string[] {
  return readdirSync(repo.stateDir)
    .filter((name) => name.startsWith("state.db"))
    .toSorted()
    .map(
      (name) =>
        `${name} ${createHash("sha256")
          .update(readFileSync(join(repo.stateDir, name)))
          .digest("hex")}`,
    );
}

/** All in the file, nothing in its log. */
function foldLogIn(): void {
  const database = new Database(file());
  database.pragma("wal_checkpoint(TRUNCATE)");
  database.close();
}

/** A plan whose agent runs, and an engine that died with its guard: nothing was closed in order. */
async function killedEngine(): Promise<number[]> {
  await repo.submit("old", [{ id: "a", prompt: "sleep 300", writes: [] }]);
  const engine = repo.enginePid();
  await until("the agent runs", () => attemptsBelow(engine).length > 0);
  const agents = attemptsBelow(engine);
  const both = [engine, ...repo.guardPids()];
  for (const pid of both) kill(pid, "SIGSTOP");
  for (const pid of both) kill(pid, "SIGKILL");
  await until("they are dead", () => !both.some(isAlive));
  repo.closeClients();
  return agents;
}

test("from a newer version: every way in says which versions and what to do, and not a byte is changed", async () => {
  await repo.submit("done", [{ id: "a", prompt: "true", writes: [] }]);
  await repo.settled("done");
  repo.closeClients();
  await runCli(repo, ["stop"]);
  const database = new Database(file());
  database.pragma("user_version = 9999");
  database.close();
  const before = fingerprint();
  repo.write("../plan.json", JSON.stringify({ tasks: [{ id: "x", agent: "command", prompt: "true" }] }));
  for (const args of [["status"], ["run", "../plan.json"]]) {
    const ran = await runCli(repo, args);
    expect(ran.code).toBe(3);
    expect(ran.stderr).toMatch(/newer orchestrator-mcp \(schema 9999, this one knows up to \d+\)\. Update/);
  }
  const answer = await callTool(repo, "task_status", {});
  expect(answer).toMatchObject({ isError: true, text: expect.stringContaining("schema 9999") });
  expect(fingerprint()).toEqual(before);
});

const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  "cut short": (path) => truncateSync(path, 5000),
  "with a header that is none": (path) => writeFileSync(path, "garbage ".repeat(4000)),
  "overwritten in the middle": (path) => {
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096);
    writeFileSync(path, bytes);
  },
};

/** Of what is committed last, and at first all, is in the log alone. */
const LOG_DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  "its log overwritten": (path) => writeFileSync(`${path}-wal`, "garbage ".repeat(40_000)),
  "its log removed": (path) => rmSync(`${path}-wal`),
};

test.each([...Object.entries(DAMAGES), ...Object.entries(LOG_DAMAGES)])(
  "%s: kept aside with its name told; the next start is empty, says so, and ends what the lost state's agents left",
  async (name, damage) => {
    const agents = await killedEngine();
    if (name in DAMAGES) foldLogIn();
    damage(file());
    const first = await runCli(repo, ["status"]);
    expect(first.code).toBe(3);
    expect(first.stderr).toMatch(/was damaged: .*kept as .*state\.db\.damaged-.*Start again/s);
    const kept = readdirSync(repo.stateDir).filter((name) => /^state\.db\.damaged-[^-]+$/.test(name));
    expect(kept).toHaveLength(1);
    const second = await runCli(repo, ["status"]);
    expect(second.code).toBe(0);
    expect(second.stdout).toContain(kept[0]);
    expect((await runCli(repo, ["doctor"])).stdout).toContain(`is kept as ${join(repo.stateDir, kept[0] ?? "")}`);
    expect(agents.some(isAlive)).toBe(false);
    expect(repo.git("branch", "--list", "orchestrator/old/*")).not.toBe("");
  },
);

test("a folder in the place of the state is refused with its name, and stays", async () => {
  mkdirSync(file(), { recursive: true });
  const ran = await runCli(repo, ["status"]);
  expect(ran.code).toBe(3);
  expect(ran.stderr).toContain("state.db");
  expect(readdirSync(repo.stateDir)).toContain("state.db");
});

test("nonsense in engine.json and engine.lock keeps no engine from starting", async () => {
  mkdirSync(repo.stateDir, { recursive: true });
  writeFileSync(join(repo.stateDir, "engine.json"), '{"pid":"x","engineId":"../../etc"');
  writeFileSync(join(repo.stateDir, "engine.lock"), "nonsense ".repeat(1000));
  await repo.submit("p", [{ id: "a", prompt: "true", writes: [] }]);
  expect(await repo.settled("p")).toBe("succeeded");
});

test.skipIf(!canMount)(
  "mounted read-only: exit 3 with the reason, from doctor too, and agents that ran are ended",
  async () => {
    disk = new SmallDisk(repo.stateDir, 20_000);
    await repo.submit("p", [{ id: "a", prompt: "sleep 300", writes: [] }]);
    const engine = repo.enginePid();
    await until("the agent runs", () => attemptsBelow(engine).length > 0);
    const agents = attemptsBelow(engine);
    await repo.killEngine();
    repo.closeClients();
    await until("its agents are ended", () => !agents.some(isAlive));
    await until("nothing holds the disk", () => {
      try {
        disk?.setReadOnly(true);
        return true;
      } catch {
        return false;
      }
    });
    const ran = await runCli(repo, ["status"]);
    expect(ran.code).toBe(3);
    expect(ran.stderr).toMatch(/read-only/i);
    expect((await runCli(repo, ["doctor"])).stdout).toMatch(/read-only/);
    disk.setReadOnly(false);
    expect((await runCli(repo, ["status"])).stdout).toContain("p was interrupted");
  },
);

test("the whole state folder deleted while an agent runs: the engine ends, its agent with it; the next start is empty", async () => {
  await repo.submit("p", [{ id: "a", prompt: "sleep 300", writes: [] }]);
  const engine = repo.enginePid();
  await until("the agent runs", () => attemptsBelow(engine).length > 0);
  const agents = attemptsBelow(engine);
  rmSync(repo.stateDir, { recursive: true });
  await until("engine and agent are gone", () => ![engine, ...agents].some(isAlive));
  repo.closeClients();
  expect((await runCli(repo, ["status"])).stdout).toContain("There are no plans");
});
