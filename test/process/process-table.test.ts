import { spawn, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";

import { parseEnvironment, parseStat } from "../../src/process/linux-process-table.ts";
import { parseMarks, parseRows } from "../../src/process/mac-process-table.ts";
import { ancestors, identityOf, isAlive, readMarks, readProcessTable } from "../../src/process/process-table.ts";
import { until } from "../support/until.js";

describe("the process table", () => {
  it("tells parent, group, session and marks of a real process", async () => {
    const child = spawn("sleep", ["1000"], {
      detached: true,
      stdio: "ignore",
      env: { PATH: "/usr/bin:/bin", ORCHESTRATOR_ATTEMPT: "e/a b=c", OTHER: "ORCHESTRATOR_ENGINE=no" },
    });
    const pid = child.pid ?? 0;
    try {
      const row = await until("it has become sleep", async () => {
        const found = (await readProcessTable({ marks: "all" })).get(pid);
        return found?.marks?.attempt === null ? null : found;
      });
      expect(row).toMatchObject({ pid, parentPid: process.pid, groupId: pid, sessionId: pid, isDead: false });
      expect(row.marks).toEqual({ attempt: "e/a b=c", engine: null, guard: null });
      expect((await readMarks([pid])).get(pid)).toEqual(row.marks);
      expect((await readProcessTable({ marks: "none" })).get(pid)?.marks).toBeNull();
      expect((await ancestors(pid))[0]).toEqual(identityOf(process.pid));
      expect((await ancestors(pid)).at(-1)?.pid).toBe(1);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("knows a process by pid and start time; a dead one, a zombie and another of its pid are not alive", async () => {
    const child = spawn("sleep", ["1000"], { stdio: "ignore" });
    const identity = identityOf(child.pid ?? 0) ?? { pid: 0, startTime: "" };
    expect(isAlive(identity)).toBe(true);
    expect(isAlive({ ...identity, startTime: "another time" })).toBe(false);
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    // Without a turn of the event loop Node can't have waited for it: once dead it is a zombie.
    const endsMs = performance.now() + 60_000;
    while (isAlive(identity) && performance.now() < endsMs) {
      // Waiting for the kernel, not for Node.
    }
    expect(process.kill(identity.pid, 0)).toBe(true);
    expect(isAlive(identity)).toBe(false);
    await gone;
    expect(isAlive(identity)).toBe(false);
    expect(identityOf(identity.pid)).toBeNull();
  });
});

describe("Linux: /proc/PID/stat (proc(5))", () => {
  const rest = "1 42 42 0 -1 4194304 127 0 0 0 12 3 40 5 20 0 1 0 98765 2830336 200 18446744073709551615";

  it("is read past any name a program gives itself", () => {
    const row = parseStat(`77 (evil) R 1 (\n) S ${rest} 0 0\n`, "boot");
    expect(row).toMatchObject({ pid: 77, parentPid: 1, groupId: 42, sessionId: 42, startTime: "boot:98765" });
    expect(row).toMatchObject({ cpuMs: 600, isDead: false });
  });

  it("counts a zombie as dead, but not one whose other threads run on; leaves kernel threads out", () => {
    expect(parseStat(`77 (a) Z ${rest} 0`, "boot")?.isDead).toBe(true);
    expect(parseStat(`77 (a) Z ${rest.replace("20 0 1 0", "20 0 3 0")} 0`, "boot")?.isDead).toBe(false);
    expect(parseStat(`2 (kthreadd) S ${rest.replace("4194304", "2129984")} 0`, "boot")).toBeNull();
    expect(parseStat("", "boot")).toBeNull();
  });

  it("finds marks only as variables of that very name", () => {
    expect(parseEnvironment("A=1\0ORCHESTRATOR_ENGINE=e\0XORCHESTRATOR_ATTEMPT=no\0")).toEqual({
      attempt: null,
      engine: "e",
      guard: null,
    });
    expect(parseEnvironment("A=ORCHESTRATOR_ATTEMPT=x/y\0")).toEqual({ attempt: null, engine: null, guard: null });
  });
});

describe("macOS: ps(1)", () => {
  it("rows with padded numbers, long times and both widths of the day", () => {
    const text = [
      "  501     1   501 Ss     0:03.27 Sat Nov 21 03:51:22 2026    ",
      "12345   501 12345 Z+   1-02:03:04 Mon Nov  2 13:01:02 2026",
      "garbage",
    ].join("\n");
    const rows = parseRows(text);
    expect([...rows.keys()]).toEqual([501, 12345]);
    expect(rows.get(501)).toMatchObject({ parentPid: 1, groupId: 501, sessionId: null, isDead: false, cpuMs: 3270 });
    expect(rows.get(501)?.startTime).toBe("Sat Nov 21 03:51:22 2026");
    expect(rows.get(12345)).toMatchObject({ isDead: true, cpuMs: 93_784_000, startTime: "Mon Nov 2 13:01:02 2026" });
  });

  it("marks out of the environment only, not out of the command's own words", () => {
    const plain = "  77 grep ORCHESTRATOR_ATTEMPT=e/a1 file\n  78 node agent.js\n  79 gone\n";
    const full =
      "  77 grep ORCHESTRATOR_ATTEMPT=e/a1 file PATH=/bin ORCHESTRATOR_ENGINE=x\n" +
      "  78 node agent.js HOME=/Users/a b ORCHESTRATOR_ATTEMPT=e/a2 PATH=/bin\n  79 other PATH=/bin\n";
    const marks = parseMarks(plain, full);
    expect(marks.get(77)).toEqual({ attempt: null, engine: "x", guard: null });
    expect(marks.get(78)).toEqual({ attempt: "e/a2", engine: null, guard: null });
    expect(marks.has(79)).toBe(false);
  });

  it("the same columns as a real ps prints", () => {
    const format = "pid=,ppid=,pgid=,stat=,time=,lstart=";
    const { stdout } = spawnSync("ps", ["-axww", "-o", format], {
      encoding: "utf8",
      env: { PATH: "/bin:/usr/bin", LC_ALL: "C" },
    });
    expect(parseRows(stdout).get(process.pid)).toMatchObject({ parentPid: process.ppid, isDead: false });
  });
});
