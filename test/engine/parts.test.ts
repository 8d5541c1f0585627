/** The engine's smaller parts, each by itself. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EngineCode } from "../../src/engine/engine-code.ts";
import type { EngineHost } from "../../src/engine/engine-host.ts";
import { openEngineLog, readLogTail } from "../../src/engine/engine-log.ts";
import { engineEnvironment, selectVariables } from "../../src/engine/environment.ts";
import { createLineSplitter } from "../../src/engine/lines.ts";
import { tryEngineLock } from "../../src/engine/lock.ts";
import { runEngine } from "../../src/engine/server.ts";
import { ensureStateFolder } from "../../src/engine/state-folder.ts";
import { compareVersions } from "../../src/engine/version.ts";
import { until } from "../support/until.js";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-parts-")));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["NFS", 0x6969, ""],
  ["SMB", 0xfe534d42, ""],
  ["CIFS", 0xff534d42, ""],
  ["9P", 0x01021997, ""],
  [
    "fuse.sshfs",
    0x65735546,
    "36 35 0:40 / / rw - ext4 /dev/x rw\n40 36 0:50 / /mnt/with\\040space rw - fuse.sshfs host: rw",
  ],
])("state on a network file system (%s) is refused with the reason, and nothing is made", (name, type, mounts) => {
  const path = name === "fuse.sshfs" ? "/mnt/with space/repo/.git" : join(folder, ".git");
  expect(() => ensureStateFolder(path, { type: () => type, mounts: () => mounts })).toThrow(
    expect.objectContaining({ code: "STATE_UNUSABLE", message: expect.stringContaining(name) }),
  );
  expect(existsSync(path)).toBe(false);
});

test.each([
  ["ext4", 0xef53, ""],
  ["a FUSE file system on a local disk", 0x65735546, "40 36 0:50 / / rw - fuse.ntfs-3g /dev/x rw"],
  ["FUSE without a mount table", 0x65735546, ""],
])("state on %s is fine", (_, type, mounts) => {
  expect(ensureStateFolder(folder, { type: () => type, mounts: () => mounts }).path).toBe(join(folder, "orchestrator"));
});

test("one holder of the lock at a time, in this process and over processes; the next after its release or death", async () => {
  const file = join(folder, "engine.lock");
  const lock = tryEngineLock(file);
  expect(lock).not.toBeNull();
  expect(tryEngineLock(file)).toBeNull();
  lock?.release();
  lock?.release();
  const program = `
    import Database from ${JSON.stringify(import.meta.resolve("better-sqlite3"))};
    const database = new Database(${JSON.stringify(file)});
    database.pragma("locking_mode = EXCLUSIVE");
    database.exec("BEGIN EXCLUSIVE");
    console.log("held");
    setInterval(() => undefined, 1000);`;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  expect(tryEngineLock(file)).toBeNull();
  holder.kill("SIGKILL");
  await new Promise((resolve) => holder.once("exit", resolve));
  const next = tryEngineLock(file);
  expect(next?.isInPlace()).toBe(true);
  rmSync(file);
  expect(next?.isInPlace()).toBe(false);
  writeFileSync(file, "");
  expect(next?.isInPlace()).toBe(false);
  next?.release();
});

test("a lock that can't be is an error with the reason, not a held one", () => {
  mkdirSync(join(folder, "engine.lock"));
  expect(() => tryEngineLock(join(folder, "engine.lock"))).toThrow(expect.objectContaining({ code: "STATE_UNUSABLE" }));
});

test("the log stays under twice its cap, one entry is one line, and an error is found by its id", () => {
  const file = join(folder, "engine.log");
  const log = openEngineLog(file, 10_000);
  for (let count = 0; count < 500; count++) log.write(`entry ${count} ${"x".repeat(100)}`);
  expect(statSync(file).size).toBeLessThan(21_000);
  expect(statSync(`${file}.1`).size).toBeLessThan(21_000);
  expect(readLogTail(file)).toContain("entry 499");
  log.write("two\nlines \u001b[31mred");
  const id = log.error("It failed", new Error("why", { cause: new Error("deeper") }));
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  expect(lines.at(-2)).toMatch(/two \| lines {2}\[31mred$/);
  expect(lines.at(-1)).toMatch(new RegExp(`\\[${id}\\] It failed: Error: why.*deeper`));
});

test("a log that can't be written stops nothing", () => {
  const log = openEngineLog(join(folder, "missing", "engine.log"));
  log.write("into the void");
  expect(log.error("also", "not an error")).toMatch(/^\w+$/);
  expect(readLogTail(join(folder, "missing", "engine.log"))).toBe("");
});

test("any cut of a stream gives the same lines; a line over the cap is told once and skipped", () => {
  const maxLineBytes = 20;
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "grapheme", maxLength: 30 }).map((text) => text.replace(/[\r\n]/g, ""))),
      fc.array(fc.nat(40)),
      (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
        const heard: (string | null)[] = [];
        const split = createLineSplitter({
          maxLineBytes: () => maxLineBytes,
          onLine: (line) => heard.push(line),
          onOversized: () => heard.push(null),
        });
        let start = 0;
        for (const cut of cuts) {
          split(bytes.subarray(start, start + cut));
          start += cut;
        }
        split(bytes.subarray(start));
        const expected = lines
          .filter((line) => line !== "")
          .map((line) => (Buffer.byteLength(line) > maxLineBytes ? null : line));
        expect(heard).toEqual(expected);
      },
    ),
  );
});

test("a line's carriage return is not part of it", () => {
  const heard: string[] = [];
  const split = createLineSplitter({
    maxLineBytes: () => 100,
    onLine: (line) => heard.push(line),
    onOversized: () => undefined,
  });
  split(Buffer.from("a\r\n\r\nb\rc\n"));
  expect(heard).toEqual(["a", "b\rc"]);
});

test("versions are compared by their numbers, a pre-release before its release", () => {
  const inOrder = [
    "0.9.0",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.2",
    "1.0.0-alpha.10",
    "1.0.0",
    "1.2.9",
    "1.10.0",
    "2.0.0",
  ];
  for (const [left, one] of inOrder.entries()) {
    for (const [right, other] of inOrder.entries()) {
      expect(Math.sign(compareVersions(one, other)), `${one} ${other}`).toBe(Math.sign(left - right));
    }
  }
  expect(compareVersions("v1.0.0+build.1", "1.0.0")).toBe(0);
});

test("an engine's environment has what describes the user and the machine, and its mark", () => {
  const source = {
    PATH: "/bin",
    LC_ALL: "C",
    XDG_DATA_HOME: "/x",
    NO_PROXY: "*",
    all_proxy: "p",
    HOMEBREW_X: "1",
    GIT_DIR: "g",
    CLAUDECODE: "1",
    LANGUAGE: "de",
  };
  expect(engineEnvironment(source, "abc")).toEqual({
    PATH: "/bin",
    LC_ALL: "C",
    XDG_DATA_HOME: "/x",
    NO_PROXY: "*",
    all_proxy: "p",
    ORCHESTRATOR_ENGINE: "abc",
  });
});

test("patterns ask for names and beginnings of names; never for everything, GIT_* or our own", () => {
  const source = { A: "1", AB: "2", ANTHROPIC_KEY: "3", GIT_DIR: "4", ORCHESTRATOR_ATTEMPT: "5", NUMBER: 7 };
  expect(selectVariables(source, ["A", "ANTHROPIC_*"])).toEqual({ A: "1", ANTHROPIC_KEY: "3" });
  expect(selectVariables(source, ["*", "GIT_*", "ORCHESTRATOR_ATTEMPT", "NUMBER"])).toEqual({});
});

test("a hello that never comes, or never ends, is answered with an error and the end", async () => {
  const engine = await runEngine({
    commonDir: folder,
    version: "1.0.0",
    environment: process.env,
    helloTimeoutMs: 50,
    loadCode: () =>
      Promise.resolve({ createHost: () => Promise.resolve(quietHost), serveMcp: () => undefined } satisfies EngineCode),
  });
  try {
    for (const beginning of ["", '{"hello":{"protocol":1,']) {
      const socket = connect({ path: engine?.socketPath ?? "" });
      socket.write(beginning);
      let heard = "";
      let isClosed = false;
      socket.on("data", (chunk: Buffer) => (heard += chunk.toString()));
      socket.on("close", () => (isClosed = true));
      await until("the engine closed", () => isClosed);
      expect(heard).toContain("did not come within 50 ms");
    }
  } finally {
    await engine?.stop("the test is over");
  }
  expect(existsSync(engine?.socketPath ?? "")).toBe(false);
  const lock = tryEngineLock(join(folder, "orchestrator", "engine.lock"));
  expect(lock).not.toBeNull();
  lock?.release();
});

const quietHost: EngineHost = {
  engineId: "quiet",
  identify: () => Promise.reject(new Error("nobody says hello here")),
  passEnvPatterns: () => [],
  takeEnvironment: () => undefined,
  tools: () => [],
  call: () => Promise.reject(new Error("nobody calls here")),
  canMove: () => false,
  isUnused: () => false,
  isStateInPlace: () => true,
  liveAgents: () => 0,
  openPlans: () => [],
  lastClientLeft: () => undefined,
  onLastClientExit: () => "continue",
  idleExitSeconds: () => 300,
  setRestartPending: () => undefined,
  stop: () => Promise.resolve(),
  onEvent: () => () => undefined,
  eventsAfter: () => [],
};
