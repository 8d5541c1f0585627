import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { Guard } from "../../src/process/guard.ts";
import { decodeGuardMessage, encodeGuardMessage } from "../../src/process/guard-protocol.ts";
import { endLeftovers } from "../../src/process/leftovers.ts";
import { identityOf, readProcessTable, type ProcessRow } from "../../src/process/process-table.ts";
import { compileProcessLayer, marked, newEngineId, PATH, pidIn } from "./support.ts";
import { isAlive, kill } from "../support/processes.js";
import { until } from "../support/until.js";

let compiled: ReturnType<typeof compileProcessLayer> | undefined;
let guardFile: string;
beforeAll(() => {
  compiled = compileProcessLayer();
  guardFile = join(compiled.folder, "process", "guard-main.js");
});
afterAll(() => compiled?.remove());

let engineId: string;
let folder: string;
let toEnd: (number | null | undefined)[];
beforeEach(() => {
  engineId = newEngineId();
  folder = mkdtempSync(join(tmpdir(), "guard-test-"));
  toEnd = [];
});
afterEach(async () => {
  for (const pid of [...toEnd, ...(await guardsOf(engineId)).map((guard) => guard.pid)]) kill(pid);
  await endLeftovers(engineId);
  rmSync(folder, { recursive: true, force: true });
});

async function guardsOf(id: string): Promise<readonly ProcessRow[]> {
  const table = await readProcessTable({ marks: "all" });
  return [...table.values()].filter(({ isDead, marks }) => !isDead && marks?.guard === "1" && marks.engine === id);
}

/** A program that is what an engine is to its children: a manager with a guard. Starts `scripts` and stays. */
function startEngine(scripts: readonly string[]): ChildProcess {
  const program = join(compiled?.folder ?? "", "engine.mjs");
  writeFileSync(
    program,
    `import { ProcessManager } from "./process/process-manager.js";
     import { Guard } from "./process/guard.js";
     const [engineId, logFile, scripts] = process.argv.slice(2);
     const guard = new Guard({ engineId, logFile });
     guard.start();
     const manager = new ProcessManager({ engineId, onAttemptsChanged: (attempts) => guard.update(attempts) });
     JSON.parse(scripts).forEach((script, index) => manager.start({
       id: "a" + index, label: "", file: "sh", args: ["-c", script], cwd: "/", env: { PATH: process.env.PATH },
       stdin: null, deadlineMs: null, killGraceMs: 1000, outputDir: null,
     }));
     const keepAlive = setInterval(() => {
       const members = manager.attempts().flatMap(({ members }) => members.map(({ pid }) => pid));
       if (process.connected) process.send(members);
     }, 50);`,
  );
  const engine = spawn(process.execPath, [program, engineId, join(folder, "log"), JSON.stringify(scripts)], {
    detached: true,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: { PATH, ORCHESTRATOR_ENGINE: engineId },
  });
  toEnd.push(engine.pid);
  return engine;
}

/** Waits until the engine remembers all of `pids` as descendants. */
function remembered(engine: ChildProcess, pids: readonly number[]): Promise<void> {
  return new Promise((resolve) => {
    engine.on("message", (members) => {
      if (Array.isArray(members) && pids.every((pid) => members.includes(pid))) resolve();
    });
  });
}

const stubborn = (file: string): string => `trap "" TERM; echo $$ > ${file}; while :; do sleep 0.05; done`;

describe("no orphan: when the engine is killed by SIGKILL", () => {
  it("everything its attempts started dies: stubborn ones, own sessions, cleared environments", async () => {
    const file = (name: string): string => join(folder, name);
    const engine = startEngine([
      `sh -c '${stubborn(file("group"))}' & wait`,
      `setsid sh -c '${stubborn(file("session"))}' & wait`,
      `env -i PATH=${PATH} setsid sh -c '${stubborn(file("hidden"))}' & wait`,
      `(setsid sh -c '${stubborn(file("orphan"))}' &) ; exec sleep 1000`,
    ]);
    const pids = await Promise.all(["group", "session", "hidden", "orphan"].map((name) => pidIn(file(name))));
    await remembered(engine, pids.slice(0, 3));
    expect(await marked(engineId)).not.toEqual([]);
    expect(await guardsOf(engineId)).toHaveLength(1);
    kill(engine.pid);
    await until("the guard has done its work and left", async () => (await guardsOf(engineId)).length === 0);
    expect(await marked(engineId)).toEqual([]);
    for (const pid of pids) expect(isAlive(pid)).toBe(false);
    expect(readFileSync(file("log"), "utf8")).toMatch(/guard\[\d+\] the engine is gone; ended \d+ processes, 0 can't/);
  });

  it("also what was started in its last moment, of which the guard heard nothing but the id", async () => {
    const file = join(folder, "fresh");
    const engine = startEngine([`echo $$ > ${file}; exec sleep 1000`]);
    const pid = await pidIn(file);
    kill(engine.pid);
    await until("the guard has left", async () => (await guardsOf(engineId)).length === 0);
    expect(isAlive(pid)).toBe(false);
  });

  it("an engine of another repository that was started inside an attempt lives on, with its agents", async () => {
    const file = (name: string): string => join(folder, name);
    const agent = `env ORCHESTRATOR_ATTEMPT=other/a1 setsid sh -c "echo \\$\\$ > ${file("agent")}; exec sleep 1000" &`;
    const engine = startEngine([
      `env -u ORCHESTRATOR_ATTEMPT ORCHESTRATOR_ENGINE=other setsid sh -c '${agent} sh -c "echo \\$\\$ > ${file("git")}; exec sleep 1000" & echo $$ > ${file("other")}; wait' & wait`,
      `echo $$ > ${file("own")}; exec sleep 1000`,
    ]);
    const [other, agentPid, git, own] = await Promise.all(
      ["other", "agent", "git", "own"].map((name) => pidIn(file(name))),
    );
    toEnd.push(other, agentPid, git);
    kill(engine.pid);
    await until("the guard has left", async () => (await guardsOf(engineId)).length === 0);
    expect(isAlive(own ?? 0)).toBe(false);
    for (const pid of [other, agentPid, git]) expect(isAlive(pid ?? 0)).toBe(true);
  });

  it("and the guard with it in the same instant: the next start ends what is left", async () => {
    const file = join(folder, "left");
    const engine = startEngine([`setsid sh -c '${stubborn(file)}' & wait`]);
    const pid = await pidIn(file);
    const [guard] = await guardsOf(engineId);
    // The guard first: it would do its work.
    for (const end of [guard?.pid, engine.pid]) kill(end);
    await until("both are dead", async () => !isAlive(engine.pid ?? 0) && (await guardsOf(engineId)).length === 0);
    expect(isAlive(pid)).toBe(true);
    await endLeftovers(engineId);
    expect(isAlive(pid)).toBe(false);
  });
});

describe("the guard", () => {
  const startAgent = (): number => {
    const child = spawn("sleep", ["1000"], {
      detached: true,
      stdio: "ignore",
      env: { PATH, ORCHESTRATOR_ATTEMPT: `${engineId}/a1` },
    });
    toEnd.push(child.pid);
    return child.pid ?? 0;
  };

  it("is sent home without touching anything, waits for nothing, and close may be called twice", async () => {
    const agent = startAgent();
    const guard = new Guard({ engineId, guardFile });
    guard.start();
    guard.update([{ attemptId: "a1", root: identityOf(agent), members: [] }]);
    const { pid } = guard;
    await Promise.all([guard.close(), guard.close()]);
    expect(isAlive(pid ?? 0)).toBe(false);
    expect(isAlive(agent)).toBe(true);
    await guard.close();
  });

  it("is replaced when it dies, and the new one knows the attempts", async () => {
    const entries: string[] = [];
    const agent = startAgent();
    const guard = new Guard({ engineId, guardFile, log: ({ event }) => entries.push(event) });
    guard.start();
    guard.update([{ attemptId: "a1", root: identityOf(agent), members: [] }]);
    const first = guard.pid;
    kill(first);
    const second = await until("another runs", () => (guard.pid === first ? null : guard.pid));
    expect(await guardsOf(engineId)).toHaveLength(1);
    expect(entries).toEqual(["spawn", "error", "spawn"]);
    expect(second).not.toBe(first);
    await guard.close();
  });

  it("ignores Ctrl-C, TERM and HUP while attempts live, and takes them when none do", async () => {
    const guard = new Guard({ engineId, guardFile });
    guard.update([{ attemptId: "a1", root: identityOf(startAgent()), members: [] }]);
    guard.start();
    const pid = guard.pid ?? 0;
    await until("it handles signals", () => handlesSignals(pid));
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.kill(pid, signal);
    // It would be gone within some milliseconds.
    for (let look = 0; look < 20; look++) expect(isAlive(pid)).toBe(true);
    guard.update([]);
    await until("it takes TERM", async () => {
      terminate(pid);
      return !isAlive(pid);
    });
    await guard.close();
  });

  it("sees nothing of the engine's environment and sits in no group of ours", async () => {
    const guard = new Guard({ engineId, guardFile });
    guard.start();
    const pid = guard.pid ?? 0;
    const row = (await readProcessTable({ marks: "none" })).get(pid);
    expect(row).toMatchObject({ groupId: pid, sessionId: pid });
    const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").filter(Boolean);
    expect(environment.map((variable) => variable.split("=")[0] ?? "").toSorted(byText)).toEqual([
      "ORCHESTRATOR_ENGINE",
      "ORCHESTRATOR_GUARD",
      "PATH",
    ]);
    await guard.close();
  });

  it("whose program is missing is said, and costs nothing but that", async () => {
    const messages: string[] = [];
    const guard = new Guard({
      engineId,
      guardFile: join(folder, "none.js"),
      log: ({ message }) => messages.push(message),
    });
    guard.start();
    await until("it is said", () => messages.some((message) => message.includes("the guard ended (code 1)")));
    await guard.close();
  });

  it("takes half a line for no message: the engine may die while it writes", () => {
    const attempts = [{ attemptId: "a", root: { pid: 1, startTime: "t" }, members: [] }];
    const line = encodeGuardMessage({ type: "attempts", attempts });
    expect(decodeGuardMessage(line)).toEqual({ type: "attempts", attempts });
    for (let length = 0; length < line.length - 1; length++)
      expect(decodeGuardMessage(line.slice(0, length))).toBeNull();
    expect(decodeGuardMessage("null")).toBeNull();
    expect(decodeGuardMessage('{"type":"else"}')).toBeNull();
  });
});

function byText(one: string, other: string): number {
  return one < other ? -1 : 1;
}

/** Node itself catches INT and TERM from its start; HUP, bit 0 of the mask, is caught last and only by the guard. */
function handlesSignals(pid: number): boolean {
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${mask}`) & 1n) !== 0n;
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // Gone.
  }
}
