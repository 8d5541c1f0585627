import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { buildPackage, type PackageUnderTest } from "./package-under-test.ts";
import { openScene, type Fields, type Scene } from "./scene.ts";
import { isAlive, processesNaming, statOf } from "../support/processes.js";
import { until } from "../support/until.js";

let built: PackageUnderTest;
let scene: Scene;
beforeAll(async () => {
  built = await buildPackage();
});
afterAll(() => built.remove());
beforeEach(() => {
  scene = openScene(built);
});
afterEach(() => scene.leave());

async function engineEnvironmentSeen(): Promise<{ process: Fields; taken: Fields; cwd: string }> {
  const result = await (await scene.client()).call("environment", {});
  if (!result.ok) throw new Error(result.message);
  return result.structured["value"] as { process: Fields; taken: Fields; cwd: string };
}

test.each([2, 10])("%i starts at once give one engine, which serves them all", async (count) => {
  const clients = await Promise.all(Array.from({ length: count }, () => scene.client()));
  const answers = await Promise.all(clients.map((client) => client.call("who", {})));
  const pids = new Set(answers.map((answer) => (answer.ok ? (answer.structured["value"] as Fields)["pid"] : answer)));
  expect([...pids]).toEqual(scene.enginePids());
  expect(scene.enginePids()).toHaveLength(1);
  await until("the losers are gone", () => processesNaming(scene.commonDir).length === 1);
});

test("ten engine processes at once: one takes the lock, the others step back", async () => {
  mkdirSync(scene.stateDir);
  const program = join(built.path, "dist", "engine", "engine-main.js");
  const engines = Array.from({ length: 10 }, () =>
    spawn(process.execPath, [program, "--common-dir", scene.commonDir], { stdio: "ignore" }),
  );
  const codes: (number | null)[] = [];
  for (const engine of engines) engine.once("exit", (code) => codes.push(code));
  await until("nine have stepped back", () => codes.length === 9);
  expect(codes.every((code) => code === 0)).toBe(true);
  expect(scene.enginePids()).toHaveLength(1);
  expect((await (await scene.client({ mayStart: false })).call("echo", {})).ok).toBe(true);
});

test("starts from separate processes at once give one engine", async () => {
  const pipes = Array.from({ length: 6 }, () => scene.pipe());
  await Promise.all(pipes.map((pipe) => pipe.initialize()));
  expect(scene.enginePids()).toHaveLength(1);
});

test("clients that come while an engine starts wait for it and start none of their own", async () => {
  const first = scene.connect();
  await until("the first client has begun", () => existsSync(join(scene.stateDir, "engine.starting")));
  const others = Promise.all(Array.from({ length: 20 }, () => scene.connect()));
  let most = 0;
  let isDone = false;
  void others.finally(() => (isDone = true));
  await until("all are connected", () => {
    most = Math.max(most, processesNaming(scene.commonDir).length);
    return isDone;
  });
  await Promise.all([first, others]);
  // A launcher and its engine.
  expect(most).toBeLessThanOrEqual(2);
});

test("a start that was given up long ago holds up nobody", async () => {
  mkdirSync(scene.stateDir);
  writeFileSync(join(scene.stateDir, "engine.starting"), "");
  utimesSync(join(scene.stateDir, "engine.starting"), 1, 1);
  await scene.client();
  expect(existsSync(join(scene.stateDir, "engine.starting"))).toBe(false);
});

test("50 clients at once are served by one engine", async () => {
  const clients = await Promise.all(Array.from({ length: 50 }, () => scene.client()));
  const results = await Promise.all(
    clients.flatMap((client, index) => [client.call("change", { index }), client.call("echo", { index })]),
  );
  expect(results.every((result) => result.ok)).toBe(true);
  expect(scene.journal("change")).toHaveLength(50);
  expect(scene.enginePids()).toHaveLength(1);
});

test("a socket file that nobody listens on is replaced", async () => {
  mkdirSync(scene.stateDir);
  const killed = spawn(
    process.execPath,
    ["-e", `require("net").createServer().listen(${JSON.stringify(scene.socketPath)}, () => console.log("up"))`],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await new Promise((resolve) => killed.stdout.once("data", resolve));
  killed.kill("SIGKILL");
  await new Promise((resolve) => killed.once("exit", resolve));
  expect(statSync(scene.socketPath).isSocket()).toBe(true);
  expect((await (await scene.client()).call("echo", { a: 1 })).ok).toBe(true);
});

test.each([
  ["an empty file", ""],
  ["something that is no SQLite file", "left over by something else\n".repeat(100)],
])("a lock file that nobody holds (%s) is no engine", async (_, content) => {
  mkdirSync(scene.stateDir);
  writeFileSync(join(scene.stateDir, "engine.lock"), content);
  writeFileSync(
    join(scene.stateDir, "engine.json"),
    JSON.stringify({ pid: process.pid, socket: "/nowhere", version: "1.2.3" }),
  );
  expect((await (await scene.client()).call("echo", {})).ok).toBe(true);
  expect(scene.enginePids()).toHaveLength(1);
});

test("kill -9 frees the lock: the next start is an engine", async () => {
  await scene.client();
  const [first = 0] = scene.enginePids();
  process.kill(first, "SIGKILL");
  await until("it is dead", () => !isAlive(first));
  expect((await (await scene.client()).call("echo", {})).ok).toBe(true);
  expect(scene.enginePids()).toHaveLength(2);
});

test("the socket and all other files of the state folder are the user's alone", async () => {
  await scene.client();
  expect(statSync(scene.socketPath).mode & 0o777).toBe(0o600);
  expect(statSync(scene.stateDir).mode & 0o777).toBe(0o700);
  for (const name of ["engine.json", "engine.log"]) {
    expect(statSync(join(scene.stateDir, name)).mode & 0o077, name).toBe(0);
  }
});

test("engine.json tells people which process listens where", async () => {
  await scene.client();
  const facts = JSON.parse(readFileSync(join(scene.stateDir, "engine.json"), "utf8")) as Fields;
  expect(facts).toMatchObject({
    pid: scene.enginePids()[0],
    version: "1.2.3",
    protocol: 1,
    socket: scene.socketPath,
    engineId: "fake-engine",
  });
  expect(facts["startedAtMs"]).toBeTypeOf("number");
});

test("an engine inherits nothing of what started it: no GIT_*, no CLAUDE*, no mark, no keys", async () => {
  const dirty = {
    GIT_DIR: "/elsewhere",
    GIT_INDEX_FILE: "x",
    CLAUDECODE: "1",
    CLAUDE_PROJECT_DIR: scene.repository,
    ORCHESTRATOR_ATTEMPT: "engine/attempt",
    PROVIDER_KEY: "secret",
    ANTHROPIC_API_KEY: "secret",
    NODE_OPTIONS: "--no-warnings",
    LC_TIME: "C",
    https_proxy: "http://proxy:1",
    XDG_CONFIG_HOME: "/config",
    ORCHESTRATOR_HOME: "/home/of/ours",
  };
  const pipe = scene.pipe({ env: dirty });
  await pipe.initialize();
  const { process: seen, cwd } = await engineEnvironmentSeen();
  for (const name of Object.keys(seen)) {
    expect(name).toMatch(
      /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|ORCHESTRATOR_HOME|ORCHESTRATOR_ENGINE)$/,
    );
  }
  expect(seen).toMatchObject({ LC_TIME: "C", https_proxy: "http://proxy:1", ORCHESTRATOR_HOME: "/home/of/ours" });
  expect(seen["ORCHESTRATOR_ENGINE"]).toMatch(/^[0-9a-f]{24}$/);
  expect(cwd).toBe(scene.commonDir);
});

test.runIf(process.platform === "linux")(
  "an engine is nobody's descendant and survives the group and session of what started it",
  async () => {
    const pipe = spawn(process.execPath, [built.pipeProgram], {
      cwd: scene.repository,
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
    });
    pipe.stdin.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n');
    await new Promise((resolve) => pipe.stdout.once("data", resolve));
    const [engine = 0] = scene.enginePids();
    const family = statOf(engine);
    expect(family.session).toBe(engine);
    expect(family.group).toBe(engine);
    expect([pipe.pid, process.pid]).not.toContain(family.parent);
    process.kill(-(pipe.pid ?? 0), "SIGKILL");
    await new Promise((resolve) => pipe.once("exit", resolve));
    expect((await (await scene.client()).call("echo", {})).ok).toBe(true);
    expect(scene.enginePids()).toEqual([engine]);
  },
);

test("an engine that can't start says why, and its log has more", async () => {
  scene.set({ failToStart: true });
  await expect(scene.client()).rejects.toMatchObject({
    code: "ENGINE_UNREACHABLE",
    message: expect.stringContaining("the fake app was told not to start"),
  });
  expect(scene.log()).toContain("the fake app was told not to start");
  scene.set({});
  expect((await (await scene.client()).call("echo", {})).ok).toBe(true);
});

test("an engine that dies while it starts is told with the end of its log", async () => {
  const broken = built.withVersion("1.2.4");
  writeFileSync(join(broken.path, "dist", "app.js"), 'console.error("last words"); process.exit(7);');
  await expect(scene.client({}, broken)).rejects.toMatchObject({
    code: "ENGINE_UNREACHABLE",
    message: expect.stringMatching(/ended while it started[^]*last words/),
  });
});

test("a state folder that can't be made is refused with the reason", async () => {
  writeFileSync(scene.stateDir, "a file is in the way");
  await expect(scene.client()).rejects.toMatchObject({
    code: "STATE_UNUSABLE",
    message: expect.stringContaining(scene.stateDir),
  });
  rmSync(scene.stateDir);
});

test("without leave to start one, no engine is started", async () => {
  await expect(scene.client({ mayStart: false })).rejects.toMatchObject({ code: "ENGINE_UNREACHABLE" });
  expect(scene.enginePids()).toHaveLength(0);
});

test("a path too long for a socket gets one in the runtime folder, which every client finds", async () => {
  const long = openScene(built, join(...Array.from({ length: 6 }, () => "a-very-long-folder-name")));
  try {
    const runtime = join(long.folder, "run");
    mkdirSync(runtime, { mode: 0o700 });
    const pipe = long.pipe({ env: { XDG_RUNTIME_DIR: runtime } });
    await pipe.initialize();
    const { socket } = JSON.parse(readFileSync(join(long.stateDir, "engine.json"), "utf8")) as { socket: string };
    expect(socket.startsWith(runtime)).toBe(true);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(runtime, "orchestrator")).mode & 0o777).toBe(0o700);
    // A server that Codex starts has no XDG_RUNTIME_DIR.
    const { XDG_RUNTIME_DIR: _, ...environment } = process.env;
    const client = await long.client({ environment });
    expect((await client.call("echo", {})).ok).toBe(true);
    expect(long.enginePids()).toHaveLength(1);
  } finally {
    await long.leave();
  }
});

test("a runtime folder that others can write to is refused", async () => {
  const long = openScene(built, join(...Array.from({ length: 6 }, () => "a-very-long-folder-name")));
  try {
    const runtime = join(long.folder, "run");
    mkdirSync(join(runtime, "orchestrator"), { recursive: true, mode: 0o777 });
    execFileSync("chmod", ["777", join(runtime, "orchestrator")]);
    await expect(long.client({ environment: { ...process.env, XDG_RUNTIME_DIR: runtime } })).rejects.toMatchObject({
      code: "STATE_UNUSABLE",
      message: expect.stringContaining("open to other users"),
    });
  } finally {
    await long.leave();
  }
});

test("a socket that is not an engine's does not hang a client", async () => {
  mkdirSync(scene.stateDir);
  const impostor = createServer((socket) => socket.resume().write("hello?\n"));
  await new Promise<void>((resolve) => impostor.listen(scene.socketPath, resolve));
  await expect(scene.client()).rejects.toMatchObject({ code: "ENGINE_UNREACHABLE" });
  await new Promise((resolve) => impostor.close(resolve));
});
