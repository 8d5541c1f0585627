import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { endLeftovers } from "../../src/process/leftovers.ts";
import { identityOf, type ProcessRow, type ProcessTable } from "../../src/process/process-table.ts";
import {
  endBelonging,
  findBelonging,
  remember,
  signalProcess,
  type Belonging,
  type KnownAttempt,
} from "../../src/process/strays.ts";
import { newEngineId, PATH, pidIn } from "./support.ts";
import { isAlive, kill } from "../support/processes.js";
import { until } from "../support/until.js";

type RowWords = Partial<Omit<ProcessRow, "marks">> & {
  readonly attempt?: string;
  readonly engine?: string;
};

/** A table from what matters of each row: by default an own group and session below process 1. */
function tableOf(rows: Readonly<Record<number, RowWords>>): ProcessTable {
  const table = new Map<number, ProcessRow>();
  for (const [name, { attempt, engine, ...row }] of Object.entries(rows)) {
    const pid = Number(name);
    table.set(pid, {
      pid,
      startTime: `t${pid}`,
      parentPid: 1,
      groupId: pid,
      sessionId: pid,
      isDead: false,
      cpuMs: 0,
      marks: { attempt: attempt ?? null, engine: engine ?? null, guard: null },
      ...row,
    });
  }
  return table;
}

const identity = (pid: number): { pid: number; startTime: string } => ({ pid, startTime: `t${pid}` });
const attemptOf = (rootPid: number, ...members: readonly number[]): KnownAttempt => ({
  attemptId: "a1",
  root: identity(rootPid),
  members: members.map(identity),
});
const pidsOf = (
  rows: Readonly<Record<number, RowWords>>,
  known: readonly KnownAttempt[],
  belonging: Partial<Belonging> = {},
): readonly number[] =>
  findBelonging(tableOf(rows), known, { engineId: "e", selfPid: 10, ...belonging }).map(({ pid }) => pid);

/** The engine of all cases: process 10, with its mark. */
const engine = { 10: { engine: "e" } };

describe("a process belongs to an attempt", () => {
  it("as its root, and by descent from it, whatever group or session it chose", () => {
    const rows = { ...engine, 20: { parentPid: 10 }, 21: { parentPid: 20 }, 22: { parentPid: 21 }, 30: {} };
    expect(pidsOf(rows, [attemptOf(20)])).toEqual([20, 21, 22]);
  });

  it("by the root's group or session after its parent is gone, and what is below such a one too", () => {
    const rows = {
      21: { groupId: 20, sessionId: 20 },
      22: { sessionId: 20 },
      23: { parentPid: 22, sessionId: 23 },
      24: {},
    };
    expect(pidsOf(rows, [attemptOf(20)])).toEqual([21, 22, 23]);
  });

  it("by its mark alone", () => {
    expect(pidsOf({ 20: { attempt: "e/a1" }, 21: { attempt: "e/a2" } }, [])).toEqual([20, 21]);
    expect(pidsOf({ 20: { attempt: "e/a1" }, 21: { attempt: "e/a2" } }, [], { attemptId: "a2" })).toEqual([21]);
  });

  it("because it was seen below it earlier, and by the group that such a one led", () => {
    const rows = { 25: {}, 26: { groupId: 27, sessionId: 27 } };
    expect(pidsOf(rows, [attemptOf(20, 25, 27)])).toEqual([25, 26]);
  });

  it("not when its pid was given to somebody else since", () => {
    const rows = {
      20: { startTime: "later" },
      25: { startTime: "later" },
      26: { groupId: 20, sessionId: 20 },
    };
    expect(pidsOf(rows, [attemptOf(20, 25)])).toEqual([]);
  });

  it("not when it is a zombie, or ourselves", () => {
    const rows = { 10: { attempt: "e/a1" }, 20: { isDead: true, attempt: "e/a1" } };
    expect(pidsOf(rows, [attemptOf(20)])).toEqual([]);
  });

  it("not by sharing a group or session with a marked process that does not lead it (a person's terminal)", () => {
    const rows = {
      30: {},
      31: { parentPid: 30, sessionId: 30, attempt: "e/a1" },
      32: { parentPid: 30, sessionId: 30 },
    };
    expect(pidsOf(rows, [])).toEqual([31]);
    const withoutLeader = { 31: rows[31], 32: { ...rows[32], parentPid: 1 } };
    expect(pidsOf(withoutLeader, [])).toEqual([31]);
  });
});

describe("never touched", () => {
  it("an engine started inside the attempt, and what is below it without our mark", () => {
    const rows = {
      ...engine,
      20: { parentPid: 10, attempt: "e/a1" },
      40: { parentPid: 20, groupId: 20, sessionId: 20, engine: "other" },
      41: { parentPid: 40, groupId: 20, sessionId: 20 },
      42: { parentPid: 41, attempt: "other/x" },
      43: { parentPid: 42 },
      44: { parentPid: 43, attempt: "e/a1" },
    };
    expect(pidsOf(rows, [attemptOf(20)])).toEqual([20, 44]);
  });

  it("an engine that was remembered as a descendant before it became one, and the group it leads", () => {
    const rows = { 40: { engine: "other" }, 41: { parentPid: 1, groupId: 40, sessionId: 40 } };
    expect(pidsOf(rows, [attemptOf(20, 40)])).toEqual([]);
  });

  it("our own engine and guard, whatever mark they carry besides", () => {
    expect(pidsOf({ 40: { engine: "e", attempt: "e/a1" } }, [attemptOf(20, 40)])).toEqual([]);
  });

  it("what another engine marked, even below our attempt, and one whose id only begins like ours", () => {
    const rows = { 20: { attempt: "e/a1" }, 21: { parentPid: 20, attempt: "f/a1" }, 22: { attempt: "e2/a1" } };
    expect(pidsOf(rows, [attemptOf(20)])).toEqual([20]);
  });

  it("what another engine marked in our group, or remembered by us, nor what is below it", () => {
    const rows = {
      20: { attempt: "e/a1" },
      21: { parentPid: 20, groupId: 20, sessionId: 20, attempt: "f/a1" },
      22: { parentPid: 21, groupId: 20, sessionId: 20 },
      25: { attempt: "f/a2" },
    };
    expect(pidsOf(rows, [attemptOf(20, 25)])).toEqual([20]);
  });

  it("another attempt's, when one attempt is asked for", () => {
    const rows = { 20: { attempt: "e/a1" }, 21: { parentPid: 20, attempt: "e/a2" } };
    expect(pidsOf(rows, [attemptOf(20)], { attemptId: "a1" })).toEqual([20]);
  });
});

describe("what is remembered", () => {
  it("grows by what was found, and forgets the dead save leaders of groups that still have members", () => {
    const table = tableOf({
      21: {},
      23: { groupId: 22, sessionId: 22 },
      24: { startTime: "later" },
      25: { isDead: true },
    });
    const found = [...table.values()].filter(({ pid }) => pid === 21);
    const { members } = remember(table, attemptOf(20, 22, 24, 25, 26), found);
    expect(new Set(members.map(({ pid }) => pid))).toEqual(new Set([21, 22]));
  });
});

describe("ending what belongs, with real processes", () => {
  let folder: string;
  let started: ChildProcess[];
  const engineId = newEngineId();
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "strays-test-"));
    started = [];
  });
  afterEach(() => {
    for (const { pid } of started) kill(pid);
    rmSync(folder, { recursive: true, force: true });
  });

  const start = (script: string, env: Readonly<Record<string, string>>): number => {
    const child = spawn("sh", ["-c", script], { detached: true, stdio: "ignore", env: { PATH, ...env } });
    started.push(child);
    return child.pid ?? 0;
  };
  const mark = (attemptId: string, engineOf = engineId): Record<string, string> => ({
    ORCHESTRATOR_ATTEMPT: `${engineOf}/${attemptId}`,
  });
  /** Exec has happened: the environment is the new one. */
  const ready = (pid: number): Promise<true> =>
    until("it runs", () => started.some((child) => child.pid === pid) && identityOf(pid) !== null);

  it("an engine's start ends what an earlier one of its id left, TERM or not, and nothing of anybody else's", async () => {
    const stubborn = start("trap '' TERM; while :; do sleep 0.05; done", mark("a1"));
    const file = join(folder, "below.pid");
    start(`setsid sh -c 'echo $$ > ${file}; exec sleep 1000' & wait`, mark("a2"));
    const below = await pidIn(file);
    const others = [
      start("exec sleep 1000", mark("a1", newEngineId())),
      start("exec sleep 1000", { ORCHESTRATOR_ENGINE: engineId }),
      start("exec sleep 1000", {}),
    ];
    await Promise.all([stubborn, ...others].map(ready));
    const { ended, survivors } = await endLeftovers(engineId);
    expect(survivors).toEqual([]);
    expect(ended.map(({ pid }) => pid)).toEqual(expect.arrayContaining([stubborn, below]));
    expect(isAlive(stubborn)).toBe(false);
    expect(isAlive(below)).toBe(false);
    for (const pid of others) expect(isAlive(pid)).toBe(true);
  });

  it("S3: after a restart of the machine nobody is taken for a process of before it; without one a dead root's group is ours", async () => {
    const [leader, member] = [join(folder, "leader.pid"), join(folder, "member.pid")];
    start(`setsid sh -c 'echo $$ > ${leader}; sleep 1000 & echo $! > ${member}'`, {});
    const pid = await pidIn(leader);
    const left = await pidIn(member);
    await until("the leader is gone", () => identityOf(pid) === null);
    const before = { attemptId: "a1", root: { pid, startTime: "an earlier boot:17" }, members: [] };
    expect((await endLeftovers(engineId, [before])).ended).toEqual([]);
    expect(isAlive(left)).toBe(true);
    const thisBoot = identityOf(process.pid)?.startTime.replace(/:\d+$/, ":17") ?? "";
    const { ended } = await endLeftovers(engineId, [{ ...before, root: { pid, startTime: thisBoot } }]);
    expect(ended.map((row) => row.pid)).toEqual([left]);
  });

  it("waits for an older guard that is still at work, so that it can't take the new engine's attempts for its own", async () => {
    const guard = start("exec sleep 1000", { ORCHESTRATOR_ENGINE: engineId, ORCHESTRATOR_GUARD: "1" });
    // Ours, by its parent: not waited for. An orphan's guard is one whose parent is gone.
    await endLeftovers(engineId);
    expect(isAlive(guard)).toBe(true);
    const file = join(folder, "guard.pid");
    start(
      `(ORCHESTRATOR_ENGINE=${engineId} ORCHESTRATOR_GUARD=1 setsid sh -c 'echo $$ > ${file}; exec sleep 1000' &)`,
      {},
    );
    const orphan = await pidIn(file);
    let isOver = false;
    const ending = endLeftovers(engineId).then(() => (isOver = true));
    try {
      // As long as it takes several times when there is no guard to wait for.
      for (let round = 0; round < 4; round++) await endBelongingOf("nobody");
      expect(isOver).toBe(false);
    } finally {
      kill(orphan);
    }
    await ending;
  });

  it("one that answers TERM by starting another is ended all the same", async () => {
    const file = join(folder, "hydra.pid");
    const script = `trap 'setsid sh -c "$SELF" & exit' TERM; echo $$ > ${file}; while :; do sleep 0.02; done`;
    start(`SELF='${script.replaceAll("'", `'"'"'`)}'; export SELF; eval "$SELF"`, mark("hydra"));
    await pidIn(file);
    const { ended, survivors } = await endBelongingOf("hydra");
    expect(ended.length).toBeGreaterThan(1);
    expect(survivors).toEqual([]);
    expect((await endBelongingOf("hydra")).ended).toEqual([]);
  });

  const endBelongingOf = (attemptId: string) =>
    endBelonging({ engineId, attemptId, known: [], graceMs: 300, giveUpMs: 10_000 });

  it("a signal never reaches a process that has the pid of another", async () => {
    const pid = start("exec sleep 1000", {});
    await ready(pid);
    const real = identityOf(pid);
    expect(signalProcess({ pid, startTime: "an earlier one's" }, "SIGKILL")).toBe(false);
    expect(isAlive(pid)).toBe(true);
    const known = [{ attemptId: "a1", root: { pid, startTime: "an earlier one's" }, members: [] }];
    expect((await endBelonging({ engineId, known, graceMs: 100, giveUpMs: 5000 })).ended).toEqual([]);
    expect(isAlive(pid)).toBe(true);
    expect(signalProcess(real ?? identity(0), "SIGKILL")).toBe(true);
    await until("it is dead", async () => !isAlive(pid));
  });
});
