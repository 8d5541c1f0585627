import { appendFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { buildPackage, type PackageUnderTest } from "./package-under-test.ts";
import { openScene, type Fields, type RawClient, type Scene } from "./scene.ts";
import { isAlive } from "../support/processes.js";
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

const isError = (message: Fields): boolean => "error" in message;

/** A raw client of a running engine, past the handshake. */
async function shakenHands(hello: Fields = {}): Promise<RawClient> {
  await scene.client();
  const raw = await scene.dial();
  raw.hello({ cwd: scene.repository, place: scene.repository, ...hello });
  await raw.next((message) => "welcome" in message);
  raw.send({ env: {} });
  return raw;
}

async function refusal(raw: RawClient): Promise<Fields> {
  const { error } = await raw.next(isError);
  await until("the engine closed", () => raw.isClosed);
  return error as Fields;
}

test.each([
  ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00, 0x0a])],
  ["no JSON", "GET / HTTP/1.1\r\n"],
  ["JSON without a hello", '{"id":1,"call":"stop"}\n'],
  ["a list", "[1,2]\n"],
  ["a hello with a wrong protocol", '{"hello":{"protocol":"one"}}\n'],
  ["a hello without a pid", '{"hello":{"protocol":1,"version":"1.2.3","speaks":"mcp","cwd":"/"}}\n'],
  ["deep nesting", `${"[".repeat(100_000)}\n`],
])("garbage instead of a hello (%s) ends that connection alone", async (_, garbage) => {
  const other = await scene.client();
  const raw = await scene.dial();
  raw.socket.write(garbage);
  expect(await refusal(raw)).toMatchObject({ code: "INPUT_INVALID" });
  expect((await other.call("echo", {})).ok).toBe(true);
  expect(scene.enginePids()).toHaveLength(1);
});

test("a hello without an end is refused at its cap, not kept in memory", async () => {
  await scene.client();
  const raw = await scene.dial();
  raw.socket.write(Buffer.alloc(5 * 1024 * 1024, "x"));
  expect(await refusal(raw)).toMatchObject({ code: "INPUT_INVALID", message: expect.stringContaining("longer") });
});

test("a line over the cap ends the connection, a long one under it does not", async () => {
  const raw = await shakenHands();
  raw.send({ id: 1, call: "big", input: { bytes: 1, padding: "x".repeat(20_000_000) }, key: null });
  await raw.next((message) => message["id"] === 1);
  const chunk = Buffer.alloc(8 * 1024 * 1024, "x");
  for (let count = 0; count < 9; count++) raw.socket.write(chunk);
  expect(await refusal(raw)).toMatchObject({ message: expect.stringContaining("too long") });
});

test.each([
  ["no JSON", "{\n"],
  ["no id", '{"call":"echo"}\n'],
  ["nothing to do", '{"id":1}\n'],
  ["a negative id", '{"id":-1,"call":"echo"}\n'],
  ["a key that is no text", '{"id":1,"call":"echo","key":{}}\n'],
])("a request that does not fit (%s) is answered with an error and the end", async (_, line) => {
  const raw = await shakenHands();
  raw.socket.write(line);
  expect(await refusal(raw)).toMatchObject({ code: "INPUT_INVALID" });
});

test("an id that is under way can't be used again", async () => {
  const raw = await shakenHands();
  raw.send({ id: 1, call: "wait", input: {} });
  raw.send({ id: 1, call: "echo", input: {} });
  expect(await refusal(raw)).toMatchObject({ message: expect.stringContaining("under way") });
});

test("a client that hears the welcome must send its variables before anything else", async () => {
  await scene.client();
  const raw = await scene.dial();
  raw.hello();
  await raw.next((message) => "welcome" in message);
  raw.send({ id: 1, call: "change", input: {}, key: "k" });
  expect(await refusal(raw)).toMatchObject({ code: "INPUT_INVALID" });
  expect(scene.journal("change")).toHaveLength(0);
});

test("a host that can't tell who calls ends that client alone, with an id that is in the log", async () => {
  const other = await scene.client();
  const raw = await scene.dial();
  raw.hello({ place: "/identify-throws" });
  const { code, message } = await refusal(raw);
  expect(code).toBe("INTERNAL");
  const id = /error (\w+);/.exec(String(message))?.[1] ?? "no id";
  expect(scene.log()).toContain(`[${id}]`);
  expect((await other.call("echo", {})).ok).toBe(true);
});

test("a bug in an operation, or outside of any, does not end the engine and is in the log", async () => {
  const client = await scene.client();
  const result = await client.call("throw", {});
  expect(result).toMatchObject({
    ok: false,
    code: "INTERNAL",
    message: expect.not.stringContaining("a bug in the fake"),
  });
  if (!result.ok) expect(scene.log()).toContain(`[${String(result.details["id"])}]`);
  await client.call("uncaught", {});
  await until("it is logged", () => scene.log().includes("thrown outside of any call"));
  expect((await client.call("echo", {})).ok).toBe(true);
  expect(scene.enginePids()).toHaveLength(1);
});

test("variables that providers need reach the host, no others do, and no log has them", async () => {
  const environment = {
    ...process.env,
    PROVIDER_KEY: "secret-1",
    ANTHROPIC_API_KEY: "secret-2",
    OTHER: "secret-3",
    GIT_DIR: "x",
  };
  const client = await scene.client({ environment });
  const result = await client.call("environment", {});
  const { taken } = (result.ok ? result.structured["value"] : {}) as { taken: Fields };
  expect(taken).toEqual({ PROVIDER_KEY: "secret-1", ANTHROPIC_API_KEY: "secret-2" });
  for (const name of ["engine.log", "engine.json", "journal.jsonl"]) {
    expect(readFileSync(join(scene.stateDir, name), "utf8")).not.toContain("secret-");
  }
});

test("what a client sends unasked is not taken as a provider's variable", async () => {
  const raw = await shakenHands();
  const other = await scene.dial();
  other.hello();
  await other.next((message) => "welcome" in message);
  other.send({ env: { PROVIDER_KEY: "asked", LD_PRELOAD: "unasked", ANTHROPIC_X: 7 } });
  other.send({ id: 1, call: "echo", input: {} });
  await other.next((message) => message["id"] === 1);
  raw.send({ id: 1, call: "environment", input: {} });
  const { result } = await raw.next((message) => message["id"] === 1);
  expect((result as { structured: { value: { taken: Fields } } }).structured.value.taken).toEqual({
    PROVIDER_KEY: "asked",
  });
});

test("a satellite's environment is not asked for and not taken", async () => {
  const environment = { ...process.env, ORCHESTRATOR_ATTEMPT: "e/1", PROVIDER_KEY: "changed by an agent" };
  const satellite = await scene.client({ environment });
  expect(satellite.role).toBe("satellite");
  const { taken } = (await environmentSeen()) as { taken: Fields };
  expect(taken).toEqual({});
});

async function environmentSeen(): Promise<unknown> {
  const result = await (await scene.client({ environment: {} })).call("environment", {});
  return result.ok ? result.structured["value"] : result;
}

test("a satellite can't subscribe to the events of all tasks", async () => {
  const satellite = await scene.client({ environment: { ...process.env, ORCHESTRATOR_ATTEMPT: "e/1" } });
  await expect(satellite.subscribe(0, () => undefined).ended).rejects.toMatchObject({ code: "NOT_ALLOWED" });
});

test("an older protocol is told how to update", async () => {
  await scene.client();
  const raw = await scene.dial();
  raw.hello({ protocol: 0, version: "0.9.0", speaks: "mcp" });
  expect(await refusal(raw)).toMatchObject({
    code: "ENGINE_OUTDATED",
    message: expect.stringContaining("orchestrator-mcp@1.2.3"),
  });
});

test("an older CLI is told how to update, an older pipe is served", async () => {
  await scene.client();
  const older = built.withVersion("1.2.2");
  await expect(scene.client({}, older)).rejects.toMatchObject({
    code: "ENGINE_OUTDATED",
    message: expect.stringMatching(/1\.2\.2.*1\.2\.3.*Update/),
  });
  const pipe = scene.pipe({ from: older });
  await pipe.initialize();
  pipe.call(1, "echo", { a: 1 });
  expect(await pipe.value(1)).toEqual({ a: 1 });
  expect(scene.enginePids()).toHaveLength(1);
});

test("an idle older engine hands over to a newer client's; open pipes follow, and nothing is done twice", async () => {
  scene.set({ hang: true });
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.call(1, "change_then_hang");
  await until("it is done", () => scene.journal("change").length === 1);
  const [older = 0] = scene.enginePids();
  scene.set({});
  const newer = await scene.client({}, built.withVersion("1.10.0"));
  expect(newer.engineVersion).toBe("1.10.0");
  expect(isAlive(older)).toBe(false);
  expect(await pipe.value(1)).toMatchObject({ done: 1 });
  pipe.call(2, "echo", { still: "here" });
  expect(await pipe.value(2)).toEqual({ still: "here" });
  expect(scene.journal("change")).toHaveLength(1);
  expect(scene.journal("started").map((entry) => entry["version"])).toEqual(["1.2.3", "1.10.0"]);
});

test("a host that lists tools again is told when another version took over", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  await scene.client({}, built.withVersion("1.3.0"));
  await until("it is told", () =>
    pipe.messages.some((message) => message["method"] === "notifications/tools/list_changed"),
  );
});

test("a busy older engine serves on, says that a restart is pending, and makes room when its agents are done", async () => {
  scene.set({ liveAgents: 1 });
  await scene.client();
  const newerVersion = built.withVersion("2.0.0");
  const newer = await scene.client({}, newerVersion);
  expect(newer).toMatchObject({ engineVersion: "1.2.3", isRestartPending: true });
  expect(scene.journal("restartPending").at(-1)).toMatchObject({ version: "2.0.0" });
  const pipe = scene.pipe({ from: newerVersion });
  await pipe.initialize();
  pipe.call(1, "wait");
  await until("it waits", () => scene.journal("waiting").length === 1);
  scene.set({ liveAgents: 0 });
  await until("the newer engine runs", () => scene.journal("started").at(-1)?.["version"] === "2.0.0");
  await until("the waiting call was asked again", () => scene.journal("waiting").length === 2);
  expect(scene.livingEngines()).toHaveLength(1);
});

test("a newer protocol that a busy engine can't speak is refused with what to do", async () => {
  scene.set({ liveAgents: 2 });
  await scene.client();
  const raw = await scene.dial();
  raw.hello({ protocol: 9, version: "9.0.0", takesOver: true });
  expect(await refusal(raw)).toMatchObject({
    code: "ENGINE_OUTDATED",
    message: expect.stringContaining("2 of its agents"),
  });
});

test("a newer satellite does not end the engine", async () => {
  await scene.client();
  const pids = scene.enginePids();
  await scene.client({ environment: { ...process.env, ORCHESTRATOR_ATTEMPT: "e/1" } }, built.withVersion("3.0.0"));
  expect(scene.enginePids()).toEqual(pids);
});

test("a client that can't start an engine does not make one give way", async () => {
  await scene.client();
  const newer = await scene.client({ mayStart: false }, built.withVersion("3.0.0"));
  expect(newer.engineVersion).toBe("1.2.3");
});

test("events come once and in order, the stored ones first, over a restart too", async () => {
  const client = await scene.client();
  await client.call("emit", { name: "a", count: 450 });
  const heard: number[] = [];
  const subscription = (await scene.client()).subscribe(3, (event) => heard.push(event.seq));
  await until("the history is told", () => heard.length === 447);
  await client.call("emit", { name: "b", count: 3 });
  await until("the new ones are told", () => heard.length === 450);
  expect(heard).toEqual(Array.from({ length: 450 }, (_, index) => index + 4));
  subscription.close();
  await subscription.ended;
  await client.call("emit", { name: "c" });
  await client.call("echo", {});
  expect(heard).toHaveLength(450);
});

test("a slow listener holds up nobody and misses nothing", async () => {
  const client = await scene.client();
  const slow = await scene.dial();
  slow.hello();
  await slow.next((message) => "welcome" in message);
  slow.send({ env: {} });
  slow.send({ id: 1, subscribe: { since: 0 } });
  slow.socket.pause();
  for (let count = 0; count < 10; count++) await client.call("emit", { name: "x".repeat(20_000), count: 100 });
  expect((await client.call("echo", {})).ok).toBe(true);
  slow.socket.resume();
  await until("it has heard all", () => slow.messages.filter((message) => "event" in message).length === 1000);
});

test("a client that asks and does not read is paused, not kept in memory", async () => {
  const greedy = await shakenHands();
  greedy.socket.pause();
  for (let id = 1; id <= 40; id++) greedy.send({ id, call: "big", input: { bytes: 1_000_000 } });
  const other = await scene.client();
  expect((await other.call("echo", {})).ok).toBe(true);
  greedy.socket.resume();
  await until("it gets all of it", () => greedy.messages.filter((message) => "result" in message).length === 40);
});

test("calls of a client that leaves are aborted; so is a cancelled one", async () => {
  const leaver = await shakenHands();
  leaver.send({ id: 1, call: "wait", input: {} });
  await until("it waits", () => scene.journal("waiting").length === 1);
  leaver.close();
  await until("it is aborted", () => scene.journal("aborted").length === 1);

  const abort = new AbortController();
  const cancelled = (await scene.client()).call("wait", {}, { signal: abort.signal });
  await until("it waits", () => scene.journal("waiting").length === 2);
  abort.abort();
  expect(await cancelled).toMatchObject({ ok: false, code: "CANCELLED" });
  await until("it is aborted", () => scene.journal("aborted").length === 2);
});

test("progress reaches the caller before the result", async () => {
  const heard: string[] = [];
  const result = await (await scene.client()).call("steps", {}, { onProgress: (message) => heard.push(message) });
  expect(heard).toEqual(["step 1", "step 2", "step 3"]);
  expect(result.ok).toBe(true);
});

test("an engine killed in a changing call: the client asks the next one, and it is done once", async () => {
  scene.set({ hang: true });
  const client = await scene.client();
  const answer = client.call("change_then_hang", { n: 1 });
  await until("it is done but not answered", () => scene.journal("change").length === 1);
  scene.set({});
  process.kill(scene.enginePids()[0] ?? 0, "SIGKILL");
  expect(await answer).toMatchObject({ ok: true, structured: { value: { done: 1 } } });
  expect(scene.journal("change")).toHaveLength(1);
  expect(scene.enginePids()).toHaveLength(2);
});

test("an engine that dies of each try is given up on", async () => {
  const client = await scene.client();
  expect(await client.call("crash", {})).toMatchObject({ ok: false, code: "ENGINE_UNREACHABLE" });
  expect(scene.enginePids().length).toBeLessThanOrEqual(3);
});

test("an engine that is stopped answers what is under way, tells its clients, and is not started again by them", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.call(1, "wait");
  await until("it waits", () => scene.journal("waiting").length === 1);
  const client = await scene.client();
  expect(await client.call("stop", {})).toMatchObject({ ok: true });
  const answer = await pipe.answer(1);
  expect(answer["result"]).toMatchObject({
    isError: true,
    content: [{ text: expect.stringContaining("ENGINE_STOPPING") }],
  });
  await until("it is gone", () => scene.livingEngines().length === 0);
  expect(existsSync(scene.socketPath)).toBe(false);
  expect(existsSync(join(scene.stateDir, "engine.json"))).toBe(false);
  expect(scene.journal("stopped")).toEqual([{ what: "stopped", reason: "asked to" }]);
  // A sign of life of the host is no request; its next call is.
  pipe.send({ id: 2, method: "ping" });
  await pipe.answer(2);
  expect(scene.enginePids()).toHaveLength(1);
  pipe.call(3, "echo", { again: true });
  expect(await pipe.value(3)).toEqual({ again: true });
  expect(scene.enginePids()).toHaveLength(2);
});

test.each(["SIGTERM", "SIGINT"] as const)("%s ends the engine in order", async (signal) => {
  await scene.client();
  const [pid = 0] = scene.enginePids();
  process.kill(pid, "SIGHUP");
  process.kill(pid, signal);
  await until("it is gone", () => !isAlive(pid));
  expect(scene.journal("stopped")).toEqual([{ what: "stopped", reason: signal }]);
  expect(existsSync(scene.socketPath)).toBe(false);
});

test("an engine with nothing to do leaves when nobody is there, not before", async () => {
  scene.set({ idleExitSeconds: 0 });
  const client = await scene.client();
  const pid = scene.enginePids()[0] ?? 0;
  // Longer than its look around: with a client it stays.
  await client.call("echo", {});
  scene.set({ idleExitSeconds: 0, canMove: true });
  client.close();
  await until("the client's leaving was seen", () => scene.journal("lastClientLeft").length === 1);
  scene.set({ idleExitSeconds: 0, canMove: false });
  await until("it is gone", () => !isAlive(pid));
  expect(scene.journal("stopped")[0]).toMatchObject({ reason: expect.stringContaining("nothing is left to do") });
});

test("an engine in which nothing was ever planned leaves with its last client, and nothing of it stays", async () => {
  scene.set({ isUnused: true });
  const first = await scene.client();
  const second = await scene.client();
  const pid = scene.enginePids()[0] ?? 0;
  first.close();
  expect((await second.call("echo", {})).ok).toBe(true);
  second.close();
  await until("it is gone", () => !isAlive(pid));
  expect(existsSync(scene.stateDir)).toBe(false);
});

test("engine.onLastClientExit `stop` ends it with the last operator, whatever could still move", async () => {
  scene.set({ canMove: true, onLastClientExit: "stop" });
  const client = await scene.client();
  const satellite = await scene.client({ environment: { ...process.env, ORCHESTRATOR_ATTEMPT: "e/1" } });
  client.close();
  await until("it is gone", () => scene.livingEngines().length === 0);
  expect(scene.journal("stopped")[0]).toMatchObject({ reason: expect.stringContaining("last client") });
  satellite.close();
});

test("a socket file removed under the engine comes back", async () => {
  await scene.client();
  rmSync(scene.socketPath);
  await until("it is back", () => existsSync(scene.socketPath));
  expect(statSync(scene.socketPath).mode & 0o777).toBe(0o600);
  expect((await (await scene.client({ mayStart: false })).call("echo", {})).ok).toBe(true);
  expect(scene.enginePids()).toHaveLength(1);
});

test("an engine whose state folder was moved away ends instead of being a second one", async () => {
  await scene.client();
  const [pid = 0] = scene.enginePids();
  renameSync(scene.stateDir, `${scene.stateDir}-moved`);
  await until("it is gone", () => !isAlive(pid));
  renameSync(`${scene.stateDir}-moved`, scene.stateDir);
});

test("engine.log is cut at its cap, its older half kept beside it", async () => {
  scene.set({});
  const file = join(scene.stateDir, "engine.log");
  writeFileSync(file, "old line\n".repeat(700_000));
  appendFileSync(file, "the last old line\n");
  await scene.client();
  expect(statSync(file).size).toBeLessThan(100_000);
  expect(readFileSync(`${file}.1`, "utf8")).toContain("the last old line");
  expect(scene.log()).toContain("listens on");
});
