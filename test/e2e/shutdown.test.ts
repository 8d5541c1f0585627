/**
 * 7: however the engine is told to end and whatever is under way: nothing new starts, nothing is left running, work is on
 * its branches, and what comes next goes on without spending a retry. How long each end took is printed, not judged.
 */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type BetterSqlite3 from "better-sqlite3";
import { afterEach, describe, expect, test } from "vitest";
import { StandInClaude } from "../agents/stand-in-claude.ts";
import { DIST, Ground, quoted, type Fields, type Repo } from "./engine-support.ts";
import { commandLine, everyPid, isAlive, kill, parentOf, processesNaming, processesOf } from "../support/processes.js";
import { until } from "../support/until.js";

const Database = createRequire(import.meta.url)("better-sqlite3") as typeof BetterSqlite3;
const GRACE_SECONDS = 2;
/** What only this file's processes sleep. */
const SECONDS = `86397.${process.pid}${Math.floor(Math.random() * 1e9)}`;

let ground: Ground;
let repo: Repo;
afterEach(async () => {
  await ground.leave();
});

function open(config: Fields = {}): void {
  const { agents, ...rest } = config;
  ground = new Ground({
    providers: StandInClaude.providers,
    ...rest,
    agents: { killGraceSeconds: GRACE_SECONDS, ...(agents as Fields | undefined) },
  });
  repo = ground.main;
}

function trace(name: string): string {
  return quoted(join(ground.traces, name));
}

/** Until `second` is there: a shell that ignores TERM, with a child that does too and one in another session. */
function stubborn(): string {
  const children = `(trap '' TERM; sleep ${SECONDS}; true) & setsid sleep ${SECONDS} &`;
  return `[ -e ${trace("second")} ] || { trap '' TERM; ${children} echo x >> ${trace("ready")}; while :; do sleep 0.2; done; }`;
}

/** Measures from `begin` to the last breath of engine and guard; then nothing of the test may live. */
async function untilEnded(what: string, begin: () => unknown): Promise<void> {
  const pids = [repo.enginePid(), ...repo.guardPids()];
  const beganMs = performance.now();
  await begin();
  await until(
    `${what}: engine and guard have ended`,
    () => !pids.some(isAlive),
    () => repo.log().slice(-3000),
    60_000,
  );
  console.log(`${what}: ended after ${Math.round(performance.now() - beganMs)} ms, grace ${GRACE_SECONDS} s`);
  repo.closeClients();
  expect(processesNaming(SECONDS).map(commandLine)).toEqual([]);
}

async function expectGoesOn(plan: string, merged: readonly string[]): Promise<void> {
  // What the next engine begins must not be what the last one left.
  await until(
    "nothing of it lives",
    () => processesOf(ground.folder).length === 0,
    () => processesOf(ground.folder).map(commandLine).join("\n"),
  );
  repo.write("../traces/second", "");
  expect(await repo.settled(plan)).toBe("succeeded");
  expect(repo.merges()).toEqual(Object.fromEntries(merged.map((id) => [id, 1])));
  expect(repo.git("status", "--porcelain")).toBe("");
  const database = new Database(join(repo.stateDir, "state.db"), { readonly: true });
  const sql = "SELECT id FROM tasks WHERE ledger ->> '$.retries' + ledger ->> '$.continuations' > 0";
  const spent = database.prepare(sql).pluck().all();
  database.close();
  expect(spent).toEqual([]);
}

const term = (): void => kill(repo.enginePid(), "SIGTERM");

describe("7: TERM to the engine", () => {
  test("with twenty agents that ignore it: their work is committed, and none of those in line starts", async () => {
    open({ limits: { agents: 20 } });
    const ids = Array.from({ length: 22 }, (_, index) => `t${index}`);
    await repo.submit(
      "many",
      ids.map((id) => ({
        id,
        prompt: `echo ${id} >> ${trace("starts")}; echo half >> ${id}.txt; ${stubborn()}`,
        writes: [`${id}.txt`],
        merge: "none",
      })),
      { maxConcurrent: 20 },
    );
    await until(
      "twenty run",
      () => ground.trace("ready").length === 20,
      () => "",
      90_000,
    );
    await untilEnded("twenty agents", term);
    const started = ground.trace("starts");
    expect(started).toHaveLength(20);
    for (const id of started) expect(repo.git("show", `orchestrator/many/${id}:${id}.txt`)).toBe("half");
    await expectGoesOn("many", []);
  });

  test("while the checks of a merge run", async () => {
    open();
    await repo.submit("checked", [
      { id: "a", prompt: "echo a > a.txt", verify: [stubborn()] },
      { id: "b", prompt: "echo b > b.txt", dependsOn: ["a"] },
    ]);
    await until("they run", () => ground.trace("ready").length === 1);
    await untilEnded("verify", term);
    expect(repo.merges()).toEqual({});
    await expectGoesOn("checked", ["a", "b"]);
  });

  test("while a worktree is set up", async () => {
    open();
    ground.configure({ agents: { killGraceSeconds: GRACE_SECONDS }, worktree: { setup: [stubborn()] } });
    await repo.submit("set-up", [{ id: "a", prompt: "echo a > a.txt" }]);
    await until("it is", () => ground.trace("ready").length === 1);
    await untilEnded("worktree.setup", term);
    await expectGoesOn("set-up", ["a"]);
  });

  test("while the orchestrator role is asked", async () => {
    open({
      questions: { route: ["orchestrator", "human"] },
      agents: { orchestrator: { provider: "claude" } },
    });
    writeFileSync(join(ground.home, "answer-1.sh"), stubborn());
    await repo.submit("asked", [{ id: "a", prompt: `echo half > a.txt; orchestrator ask "Which one?" > b.txt` }]);
    await until(
      "it is",
      () => ground.trace("ready").length === 1,
      () => repo.log(),
    );
    await untilEnded("consultation", term);
    expect(repo.git("show", "orchestrator/asked/a:a.txt")).toBe("half");
    const ids = async (): Promise<string[]> =>
      (await repo.status({ plan: "asked" })).questions.map(({ question }) => question);
    await until("it is asked again", async () => (await ids()).length === 1);
    expect(await ids()).toEqual(["Which one?"]);
  });

  test("while a hook of the repository hangs after the merge: the merge stands", async () => {
    open();
    const hook = join(repo.path, ".git/hooks/post-merge");
    writeFileSync(hook, `#!/bin/sh\necho x >> ${trace("hook")}\n${stubborn()}\n`);
    chmodSync(hook, 0o755);
    await repo.submit("hooked", [
      { id: "a", prompt: "echo a > a.txt" },
      { id: "b", prompt: "echo b > b.txt", dependsOn: ["a"] },
    ]);
    await until("it hangs", () => ground.trace("ready").length === 1);
    await untilEnded("post-merge hook", term);
    expect(repo.merges()).toEqual({ a: 1 });
    await expectGoesOn("hooked", ["a", "b"]);
    expect(ground.trace("hook")).toHaveLength(2);
  });

  test("twice: ends at once, and the guard ends what ran", async () => {
    open({ agents: { killGraceSeconds: 60 } });
    await repo.submit("twice", [{ id: "a", prompt: `echo half > a.txt; ${stubborn()}` }]);
    await until("it runs", () => ground.trace("ready").length === 1);
    await untilEnded("a second TERM", async () => {
      term();
      await until("the first is heard", () => repo.log().includes("The engine ends: SIGTERM"));
      // As often as an impatient person: those within a moment of the first are the same one.
      await until("it has ended", () => {
        term();
        return !existsSync(`/proc/${repo.enginePid()}/fd/0`);
      });
    });
    repo.write("../traces/second", "");
    expect(await repo.settled("twice")).toBe("succeeded");
    expect(repo.merges()).toEqual({ a: 1 });
  });

  test("while it starts: it ends in order once it is up", async () => {
    open();
    await repo.submit("early", [{ id: "a", prompt: `echo half > a.txt; ${stubborn()}` }]);
    await until("it runs", () => ground.trace("ready").length === 1);
    await untilEnded("before", term);
    const main = join(DIST, "engine", "engine-main.js");
    const child = spawn(process.execPath, [main, "--common-dir", repo.commonDir], {
      env: { ...ground.environment, ORCHESTRATOR_ENGINE: "test" },
      stdio: "ignore",
    });
    const exitCode = new Promise((resolve) => child.on("exit", resolve));
    await until("it has begun", () => everyPid().some((pid) => parentOf(pid) === child.pid));
    child.kill("SIGTERM");
    expect(await exitCode).toBe(0);
    await expectGoesOn("early", ["a"]);
  });
});
