import { chmodSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { describeEnd, ProcessManager } from "../../src/process/process-manager.ts";
import { readProcessTable } from "../../src/process/process-table.ts";
import { ManualClock, openBench, pidIn, type Bench } from "./support.ts";
import { isAlive, kill } from "../support/processes.js";
import { until } from "../support/until.js";

/** A clock that tells what it was asked to wait for. */
class WatchedClock extends ManualClock {
  readonly delaysMs: number[] = [];

  override schedule(delayMs: number, callback: () => void): () => void {
    this.delaysMs.push(delayMs);
    return super.schedule(delayMs, callback);
  }
}

let bench: Bench;
beforeEach(() => {
  bench = openBench();
});
afterEach(() => bench.close());

describe("P1: how a process ended", () => {
  it("is told by its exit event: finished, crashed by a code, crashed by a signal", async () => {
    const finished = await bench.manager.start(bench.spec("echo done")).exited;
    const failed = await bench.manager.start(bench.spec("echo words >&2; exit 7")).exited;
    const signalled = await bench.manager.start(bench.spec("kill -SEGV $$")).exited;
    expect(finished).toMatchObject({ outcome: "exited", exitCode: 0, signal: null, stopReason: null, error: null });
    expect(finished.stdoutTail).toBe("done\n");
    expect(failed).toMatchObject({ outcome: "exited", exitCode: 7, stderrTail: "words\n" });
    expect(signalled).toMatchObject({ outcome: "exited", exitCode: null, signal: "SIGSEGV" });
    expect([finished, failed, signalled].map(describeEnd)).toEqual(["finished", "crashed", "crashed"]);
  });

  it("is 'stopped', not a crash, when we ended it", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000"));
    const report = await child.stop("cancelled");
    expect(report).toMatchObject({ outcome: "stopped", stopReason: "cancelled", signal: "SIGTERM" });
    expect(describeEnd(report)).toBe("stopped");
    expect(isAlive(child.pid ?? 0)).toBe(false);
  });

  it("is 'stopped' with the code it chose when it takes TERM as a wish and ends in order", async () => {
    const child = bench.manager.start(
      bench.spec("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"),
    );
    await until("it is ready", () => child.lastOutputAtMs > child.startedAtMs);
    const report = await child.stop("paused");
    expect(report).toMatchObject({ outcome: "stopped", exitCode: 3, signal: null });
    expect(report.stdoutTail).toContain("bye");
  });

  it("is not 'stopped' when it had ended before anybody stopped it", async () => {
    const child = bench.manager.start(bench.spec("exit 4"));
    await child.exited;
    expect(await child.stop("cancelled")).toMatchObject({ outcome: "exited", exitCode: 4, stopReason: null });
  });
});

describe("P1: stopping", () => {
  it("ends one that ignores TERM by KILL, after its grace and not before", async () => {
    const child = bench.manager.start(
      bench.spec("trap '' TERM; echo ready; while :; do sleep 0.05; done", { killGraceMs: 300 }),
    );
    await until("it is ready", () => child.lastOutputAtMs > child.startedAtMs);
    const beforeMs = Date.now();
    const report = await child.stop("stalled");
    expect(report).toMatchObject({ outcome: "stopped", stopReason: "stalled", signal: "SIGKILL" });
    expect(report.endedAtMs - beforeMs).toBeGreaterThanOrEqual(290);
    const signals = bench.entries.filter(({ event }) => event === "signal").map(({ message }) => message);
    expect(signals).toEqual(["SIGTERM (stalled)", "SIGKILL (stalled)"]);
  });

  it("ends one that is stopped by SIGSTOP", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000"));
    process.kill(child.pid ?? 0, "SIGSTOP");
    expect(await child.stop("cancelled")).toMatchObject({ outcome: "stopped", signal: "SIGTERM" });
  });

  it("keeps the first reason, and gives the same report, when stopped twice", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000"));
    const [first, second] = await Promise.all([child.stop("timed-out"), child.stop("cancelled")]);
    expect(first).toBe(second);
    expect(first.stopReason).toBe("timed-out");
    expect(await child.stop("shutdown")).toBe(first);
  });

  it("takes its whole group with it, children that ignore TERM included", async () => {
    const file = join(bench.folder, "child.pid");
    const script = `sh -c 'trap "" TERM; echo $$ > ${file}; while :; do sleep 0.05; done' & wait`;
    const child = bench.manager.start(bench.spec(script, { killGraceMs: 300 }));
    const below = await pidIn(file);
    expect((await child.stop("cancelled")).straysKilled).toBeGreaterThanOrEqual(1);
    expect(isAlive(below)).toBe(false);
  });

  it("has one grace for all of the tree: no second one, whoever of it takes how long", async () => {
    const clock = new WatchedClock();
    // A second one would go on long after this test.
    const killGraceMs = 600_000;
    const clocked = openBench({ clock });
    const [go, pidFile] = ["go", "stray"].map((name) => join(clocked.folder, name));
    // A root that ends at the end of its grace, and one that must be killed; below each a process in a session of its
    // own that ignores TERM and holds the output open.
    const stray = `setsid sh -c "trap '' TERM; echo \\$\\$ > ${pidFile}-$1; while :; do sleep 0.1; done" &`;
    const roots = [`trap 'while [ ! -e ${go} ]; do sleep 0.05; done; exit' TERM`, "trap '' TERM"];
    try {
      const children = roots.map((root, index) => {
        const script = `${root}; ${stray.replace("$1", String(index))} while :; do sleep 0.1; done`;
        return clocked.manager.start(clocked.spec(script, { killGraceMs }));
      });
      const strays = await Promise.all(children.map((_, index) => pidIn(`${pidFile}-${index}`)));
      const stopped = clocked.manager.stopAll("shutdown");
      await until("each has its grace", () => clock.delaysMs.filter((ms) => ms === killGraceMs).length === 2);
      clock.jump(killGraceMs - 1);
      writeFileSync(go ?? "", "");
      await until("the one has ended within its grace", () => !isAlive(children[0]?.pid ?? 0));
      expect(isAlive(children[1]?.pid ?? 0)).toBe(true);
      clock.jump(1);
      const reports = await stopped;
      expect(reports.map(({ straysKilled }) => straysKilled > 0)).toEqual([true, true]);
      expect(strays.map(isAlive)).toEqual([false, false]);
    } finally {
      await clocked.close();
    }
  });

  it("asks what left its group together with the root, not after it", async () => {
    const [stray, asked, seen] = ["stray", "asked", "seen"].map((name) => join(bench.folder, name));
    const child = `setsid sh -c "trap 'echo > ${asked}; exit' TERM; echo \\$\\$ > ${stray}; while :; do sleep 0.05; done" &`;
    const root = `trap '' TERM; while :; do [ -e ${asked} ] && echo > ${seen}; sleep 0.05; done`;
    const running = bench.manager.start(bench.spec(`${child} ${root}`, { killGraceMs: 1_500 }));
    await pidIn(stray ?? "");
    await running.stop("shutdown");
    // The root lived to see it.
    expect(existsSync(seen ?? "")).toBe(true);
  });

  it("ends at once what was asked to end and has minutes for it: the root, and what a root that is gone left", async () => {
    const stray = join(bench.folder, "stray");
    const stubborn = `trap '' TERM; echo $$ > '${join(bench.folder, "root")}'; while :; do sleep 0.05; done`;
    const leaving = `setsid sh -c "trap '' TERM; echo \\$\\$ > '${stray}'; while :; do sleep 0.05; done" & trap exit TERM; while :; do sleep 0.05; done`;
    const children = [stubborn, leaving].map((script) =>
      bench.manager.start(bench.spec(script, { killGraceMs: 600_000 })),
    );
    await pidIn(join(bench.folder, "root"));
    const strayPid = await pidIn(stray);
    // Nobody asked them to end yet.
    for (const child of children) child.endNow();
    for (const child of children) expect(isAlive(child.pid ?? 0)).toBe(true);
    const ends = children.map((child) => child.stop("shutdown"));
    await until("the root to be gone", async () => !isAlive(children[1]?.pid ?? 0));
    for (const child of children) child.endNow();
    expect((await Promise.all(ends)).map(({ signal }) => signal)).toEqual(["SIGKILL", null]);
    expect(isAlive(strayPid)).toBe(false);
  });

  it("stops all at once, and starts nothing more after a shutdown", async () => {
    for (let count = 0; count < 3; count++) bench.manager.start(bench.spec("sleep 1000"));
    expect(bench.manager.list()).toHaveLength(3);
    const reports = await bench.manager.stopAll("shutdown");
    expect(reports.map(({ stopReason }) => stopReason)).toEqual(["shutdown", "shutdown", "shutdown"]);
    expect(bench.manager.list()).toEqual([]);
    expect(() => bench.manager.start(bench.spec("true"))).toThrow(expect.objectContaining({ code: "ENGINE_STOPPING" }));
  });
});

describe("P1: who runs", () => {
  it("is listed, found by id and by pid, until its report is there", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000", { label: "limiter, attempt 2" }));
    expect(bench.manager.list()).toEqual([child]);
    expect(child).toMatchObject({ label: "limiter, attempt 2", state: "running" });
    expect(child.identity?.pid).toBe(child.pid);
    expect(bench.manager.isRunning(child.id)).toBe(true);
    expect(bench.manager.find(child.id)).toBe(child);
    expect(bench.manager.findByPid(child.pid ?? 0)).toBe(child);
    expect(bench.manager.findByPid(process.pid)).toBeNull();
    await bench.manager.stop(child.id, "cancelled");
    expect(child.state).toBe("ended");
    expect(bench.manager.isRunning(child.id)).toBe(false);
    expect(bench.manager.findByPid(child.pid ?? 0)).toBeNull();
    expect(await bench.manager.stop(child.id, "cancelled")).toBeNull();
  });

  it("is found by a process somewhere below it", async () => {
    const pidFile = join(bench.folder, "below.pid");
    const child = bench.manager.start(bench.spec(`sh -c 'sh -c "echo \\$\\$ > ${pidFile}; sleep 1000" & wait' & wait`));
    expect(await bench.manager.findByDescendant(await pidIn(pidFile))).toBe(child);
    expect(await bench.manager.findByDescendant(process.pid)).toBeNull();
  });

  it("restarts with the same spec: one that lives is stopped first, one that crashed is started anew", async () => {
    const living = bench.manager.start(
      bench.spec("echo $GREETING; sleep 1000", { env: { PATH: process.env["PATH"] ?? "", GREETING: "hello" } }),
    );
    const again = await bench.manager.restart(living.id);
    expect((await living.exited).outcome).toBe("stopped");
    expect(again.pid).not.toBe(living.pid);
    await until("it greets", () => again.lastOutputAtMs > again.startedAtMs);
    process.kill(again.pid ?? 0, "SIGKILL");
    expect(describeEnd(await again.exited)).toBe("crashed");
    const third = await bench.manager.restart(living.id);
    await until("it greets again", () => third.lastOutputAtMs > third.startedAtMs);
    expect((await third.stop("cancelled")).stdoutTail).toBe("hello\n");
    await expect(bench.manager.restart("never-was")).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });

  it("refuses a second process of a living id, and ids that can't be marks", () => {
    const spec = bench.spec("sleep 1000");
    bench.manager.start(spec);
    expect(() => bench.manager.start(spec)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
    expect(() => bench.manager.start({ ...spec, id: "two words" })).toThrow(/white space/);
    expect(() => new ProcessManager({ engineId: "a/b" })).toThrow(/engine id/);
  });
});

describe("what can't be started is a value, in words", () => {
  it.each([
    ["a program that is not on PATH", { file: "no-such-program-4711" }, /ENOENT.*no-such-program-4711.*PATH/],
    ["a path that is not there", { file: "/nowhere/program" }, /ENOENT.*\/nowhere\/program/],
    ["a file without the right to be executed", { file: "/etc/passwd" }, /EACCES.*\/etc\/passwd.*chmod/],
    ["a folder", { file: "/tmp" }, /EACCES.*\/tmp/],
    ["a working folder that is not there", { cwd: "/nowhere" }, /ENOENT.*working folder \/nowhere does not exist/],
    ["arguments that are too long", { args: ["x".repeat(3_000_000)] }, /E2BIG.*\(3000\d{3} bytes\).*stdin/],
    ["an argument with a NUL", { args: ["a\0b"] }, /null byte/i],
  ])("%s", async (_, overrides, words) => {
    const child = bench.manager.start(bench.spec("true", overrides));
    const report = await child.exited;
    expect(child.pid).toBeNull();
    expect(report).toMatchObject({ outcome: "spawn-failed", pid: null, exitCode: null, stopReason: null });
    expect(report.error).toMatch(words);
    expect(describeEnd(report)).toBe("never started");
    expect(bench.manager.isRunning(child.id)).toBe(false);
  });

  it("a script whose interpreter is missing", async () => {
    const script = join(bench.folder, "script");
    writeFileSync(script, "#!/nowhere/interpreter\n");
    chmodSync(script, 0o755);
    const report = await bench.manager.start(bench.spec("", { file: script, args: [] })).exited;
    expect(report.error).toMatch(/interpreter/);
  });

  it("leaks no file descriptors, however often it happens", async () => {
    await bench.manager.start(bench.spec("true", { file: "/nowhere" })).exited;
    await bench.manager.start(bench.spec("true")).exited;
    const before = descriptorCount();
    for (let round = 0; round < 10; round++) {
      await bench.manager.start(bench.spec("true", { file: "/nowhere" })).exited;
      await bench.manager.start(bench.spec("true", { args: ["x".repeat(3_000_000)] })).exited;
      await bench.manager.start(bench.spec("true")).exited;
    }
    await until("descriptors are as before", () => descriptorCount() <= before);
  });
});

function descriptorCount(): number {
  return readdirSync(process.platform === "linux" ? "/proc/self/fd" : "/dev/fd").length;
}

describe("the environment", () => {
  it("is exactly what was given, and our mark; a mark that would make it an engine is taken out", async () => {
    const env = { PATH: "/usr/bin:/bin", ONE: "1", ORCHESTRATOR_ENGINE: "x", ORCHESTRATOR_GUARD: "1" };
    const child = bench.manager.start(bench.spec("", { file: "env", args: [], env }));
    const { stdoutTail } = await child.exited;
    expect(stdoutTail.trim().split("\n").toSorted()).toEqual([
      "ONE=1",
      `ORCHESTRATOR_ATTEMPT=${bench.engineId}/${child.id}`,
      "PATH=/usr/bin:/bin",
    ]);
  });

  it("lets ordinary scripts open /dev/stderr and /dev/stdout", async () => {
    const report = await bench.manager.start(
      bench.spec("echo one > /dev/stderr; echo two > /dev/stdout; echo three | tee /dev/stderr"),
    ).exited;
    expect(report).toMatchObject({ exitCode: 0, stderrTail: "one\nthree\n", stdoutTail: "two\nthree\n" });
  });

  it("where no pipes can be made: output comes all the same, and a grandchild that holds it is not waited for", async () => {
    const path = process.env["PATH"];
    // Looked up by the engine, not by the child.
    process.env["PATH"] = "/nowhere";
    try {
      const spec = bench.spec("sleep 1000 & echo out; echo err >&2", { file: "/bin/sh" });
      const report = await bench.manager.start(spec).exited;
      expect(report).toMatchObject({ exitCode: 0, stdoutTail: "out\n", stderrTail: "err\n", straysKilled: 1 });
    } finally {
      process.env["PATH"] = path;
    }
  });

  it("is a session and group of its own", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000"));
    const row = (await readProcessTable({ marks: "none" })).get(child.pid ?? 0);
    expect(row).toMatchObject({ groupId: child.pid, sessionId: child.pid });
  });
});

describe("B7: nothing is left", () => {
  it("after a normal end: a background child and one in its own session are ended before the report", async () => {
    const files = ["a", "b"].map((name) => join(bench.folder, name));
    const child = bench.manager.start(
      bench.spec(
        `sleep 1000 >/dev/null 2>&1 & echo $! > ${files[0]}
         setsid sh -c 'echo $$ > ${files[1]}; exec sleep 1000' >/dev/null 2>&1 &
         while [ ! -s ${files[1]} ]; do sleep 0.01; done`,
      ),
    );
    const report = await child.exited;
    expect(report).toMatchObject({ outcome: "exited", exitCode: 0 });
    expect(report.straysKilled).toBe(2);
    for (const file of files) expect(isAlive(await pidIn(file))).toBe(false);
  });

  it("after a normal end: one that left session, parent and environment, was seen earlier and ignores TERM", async () => {
    const pidFile = join(bench.folder, "hidden.pid");
    const go = join(bench.folder, "go");
    // The hidden one keeps its parent until the manager has looked; then the parent ends and the mark is long gone.
    const child = bench.manager.start(
      bench.spec(
        `env -i PATH=/usr/bin:/bin setsid sh -c 'trap "" TERM; echo $$ > ${pidFile}; while :; do sleep 0.05; done' >/dev/null 2>&1 &
         while [ ! -e ${go} ]; do sleep 0.02; done`,
        { killGraceMs: 300 },
      ),
    );
    const hidden = await pidIn(pidFile);
    await until("it is remembered", () =>
      bench.manager.attempts().some(({ members }) => members.some(({ pid }) => pid === hidden)),
    );
    writeFileSync(go, "");
    const report = await child.exited;
    expect(report.straysKilled).toBeGreaterThanOrEqual(1);
    expect(isAlive(hidden)).toBe(false);
  });

  it("after twelve runs in a row: no zombie, no process", async () => {
    for (let run = 0; run < 12; run++) await bench.manager.start(bench.spec("sleep 0.01 & exit 0")).exited;
    const below = [...(await readProcessTable({ marks: "none" })).values()].filter(
      ({ parentPid, isDead }) => parentPid === process.pid && isDead,
    );
    expect(below).toEqual([]);
    expect(bench.manager.attempts()).toEqual([]);
  });

  it("an engine that was started from inside an attempt, and what is below it, lives on", async () => {
    const enginePid = join(bench.folder, "engine.pid");
    const agentPid = join(bench.folder, "agent.pid");
    // Once detached, as engines are, and once in the attempt's own group.
    const engine = (name: string, start: string): string =>
      `env -u ORCHESTRATOR_ATTEMPT ORCHESTRATOR_ENGINE=another ${start} sh -c '
         (env -i sh -c "echo \\$\\$ > ${agentPid}.${name}; exec sleep 1000" &)
         sh -c "echo \\$\\$ > ${agentPid}.${name}.child; sleep 1000" &
         echo $$ > ${enginePid}.${name}; wait' >/dev/null 2>&1 &`;
    const child = bench.manager.start(
      bench.spec(`${engine("own", "setsid")} ${engine("shared", "")} sleep 1000`, { killGraceMs: 300 }),
    );
    const files = ["own", "shared"].flatMap((name) => [`${enginePid}.${name}`, `${agentPid}.${name}.child`]);
    const pids = await Promise.all(files.map((file) => pidIn(file)));
    const orphans = await Promise.all(["own", "shared"].map((name) => pidIn(`${agentPid}.${name}`)));
    try {
      const report = await child.stop("cancelled");
      expect(report.outcome).toBe("stopped");
      for (const pid of pids) expect(isAlive(pid)).toBe(true);
    } finally {
      const table = await readProcessTable({ marks: "none" });
      const below = [...table.values()].filter(({ parentPid }) => [...pids].includes(parentPid)).map(({ pid }) => pid);
      for (const pid of [...pids, ...orphans, ...below]) kill(pid);
    }
  });
});

describe("P6: a process's life is logged", () => {
  it("spawn, signal, exit, error, shutdown, each with what it was about", async () => {
    const child = bench.manager.start(bench.spec("sleep 1000", { label: "coder" }));
    await bench.manager.start(bench.spec("", { file: "/nowhere/x" })).exited;
    await bench.manager.stopAll("shutdown");
    expect(bench.entries.map(({ event }) => event)).toEqual(["spawn", "error", "shutdown", "signal", "exit"]);
    expect(bench.entries[0]).toMatchObject({ id: child.id, label: "coder", pid: child.pid });
    expect(bench.entries[4]).toMatchObject({ id: child.id, message: "stopped (shutdown), SIGTERM" });
  });

  it("a log that throws changes nothing", async () => {
    const manager = new ProcessManager({
      engineId: bench.engineId,
      log: () => {
        throw new Error("disk full");
      },
    });
    expect(await manager.start(bench.spec("exit 0")).exited).toMatchObject({ exitCode: 0 });
  });
});
