import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { buildPackage, type PackageUnderTest } from "./package-under-test.ts";
import { openScene, type Fields, type Scene } from "./scene.ts";
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

function killEngine(): void {
  process.kill(scene.livingEngines()[0] ?? 0, "SIGKILL");
}

const textOf = (answer: Fields): string =>
  ((answer["result"] as { content?: { text: string }[] } | undefined)?.content ?? [])
    .map(({ text }) => text)
    .join("\n");

test("an engine killed in a changing call: the pipe asks the next one, and it is done and answered once", async () => {
  scene.set({ hang: true });
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.call(1, "change_then_hang", { n: 1 });
  await until("it is done but not answered", () => scene.journal("change").length === 1);
  scene.set({});
  killEngine();
  expect(await pipe.value(1)).toMatchObject({ done: 1 });
  pipe.call(2, "change", { n: 2 });
  expect(await pipe.value(2)).toMatchObject({ done: 2 });
  expect(scene.journal("change")).toHaveLength(2);
  expect(scene.enginePids()).toHaveLength(2);
  expect(pipe.answersTo(1)).toHaveLength(1);
  // The replayed handshake's answer is nobody's business.
  expect(pipe.answersTo(0)).toHaveLength(1);
  expect(
    pipe.messages.every((message) => message["id"] === undefined || [0, 1, 2].includes(message["id"] as number)),
  ).toBe(true);
});

test("an engine that dies with nothing under way is there again at the next call, and knows the client", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  killEngine();
  pipe.call(1, "who");
  expect(await pipe.value(1)).toMatchObject({ caller: { role: "operator", clientName: "test-host" } });
});

test("each call has a key of its own, also when a client uses an id twice or sends a key itself", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.call(1, "change");
  await pipe.answer(1);
  pipe.messages.length = 0;
  pipe.call(1, "change", {}, { "orchestrator/requestKey": scene.journal("change")[0]?.["key"], progressToken: 7 });
  await pipe.answer(1);
  const keys = scene.journal("change").map((entry) => String(entry["key"]));
  expect(new Set(keys).size).toBe(2);
  for (const key of keys) expect(key).toMatch(/^[0-9a-f-]{36}:\d+$/);
  const other = scene.pipe();
  await other.initialize();
  other.call(1, "change");
  await other.answer(1);
  expect(scene.journal("change")).toHaveLength(3);
});

test("what the host sends before the engine is there is answered in the end", async () => {
  const pipe = scene.pipe();
  const clientInfo = { name: "hasty", version: "1" };
  pipe.send({ id: "a", method: "initialize", params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo } });
  pipe.send({ method: "notifications/initialized" });
  pipe.send({ id: "b", method: "tools/list" });
  pipe.call("c", "who");
  expect(await pipe.value("c")).toMatchObject({ caller: { clientName: "hasty" } });
  expect(((await pipe.answer("b"))["result"] as { tools: unknown[] }).tools.length).toBeGreaterThan(3);
  expect((await pipe.answer("a"))["result"]).toMatchObject({
    serverInfo: { name: "orchestrator-mcp", version: "1.2.3" },
  });
});

test("a probe, an unknown method and a line that is no message get an error at once", async () => {
  const pipe = scene.pipe();
  pipe.send({ id: 1, method: "server/discover", params: {} });
  pipe.send({ id: 2, method: "tasks/list" });
  pipe.child.stdin.write("no json\n[]\n");
  expect((await pipe.answer(1))["error"]).toMatchObject({ code: -32601 });
  expect((await pipe.answer(2))["error"]).toMatchObject({ code: -32601 });
  await until("both lines are refused", () => pipe.messages.filter((message) => message["id"] === null).length === 2);
  pipe.child.stdin.write(
    '{"id":3,"method":"ping-pong"}\n{"jsonrpc":"2.0","id":4,"method":"tools/call","params":"x"}\n',
  );
  expect((await pipe.answer(3))["error"]).toMatchObject({ code: -32600 });
  expect((await pipe.answer(4))["error"]).toBeDefined();
});

test("a probe is answered without an engine", async () => {
  scene.set({ failToStart: true });
  const pipe = scene.pipe();
  pipe.send({ id: 1, method: "server/discover" });
  expect((await pipe.answer(1))["error"]).toMatchObject({ code: -32601 });
});

test.each([0, 1, "zero"])(
  "a cancelled call (id %j) is aborted, not answered, and not asked of the next engine",
  async (id) => {
    const pipe = scene.pipe();
    pipe.call(id, "wait");
    await until("it waits", () => scene.journal("waiting").length === 1);
    pipe.send({ method: "notifications/cancelled", params: { requestId: id, reason: "test" } });
    await until("it is aborted", () => scene.journal("aborted").length === 1);
    killEngine();
    pipe.call(2, "echo");
    await pipe.answer(2);
    expect(scene.journal("waiting")).toHaveLength(1);
    expect(pipe.answersTo(id)).toHaveLength(0);
  },
);

test("150 changing calls over two engines killed at work: each done once, each answered once", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  const ids = Array.from({ length: 150 }, (_, index) => index + 1);
  for (const id of ids) pipe.call(id, "change", { id });
  await until("the first ones are done", () => scene.journal("change").length > 20);
  killEngine();
  await until("the next engine works", () => scene.enginePids().length === 2 && scene.journal("change").length > 60);
  killEngine();
  await Promise.all(ids.map((id) => pipe.answer(id)));
  const done = scene.journal("change").map((entry) => (entry["answer"] as { input: { id: number } }).input.id);
  expect(done.toSorted((left, right) => left - right)).toEqual(ids);
  expect(ids.every((id) => pipe.answersTo(id).length === 1)).toBe(true);
});

test.each(["SIGINT", "SIGTERM"] as const)("%s ends the pipe at once, with calls under way", async (signal) => {
  const pipe = scene.pipe();
  pipe.call(1, "wait");
  await until("it waits", () => scene.journal("waiting").length === 1);
  pipe.child.kill(signal);
  expect(await pipe.exited).toMatchObject({ signal });
  await until("the engine noticed", () => scene.journal("aborted").length === 1);
  expect(scene.livingEngines()).toHaveLength(1);
});

test("the end of input ends the pipe at once, also while an engine starts", async () => {
  const waiting = scene.pipe();
  waiting.call(1, "wait");
  await until("it waits", () => scene.journal("waiting").length === 1);
  waiting.child.stdin.end();
  expect(await waiting.exited).toEqual({ code: 0, signal: null });
  const starting = scene.pipe();
  starting.child.stdin.end();
  expect(await starting.exited).toEqual({ code: 0, signal: null });
});

test("a host that closes its end of the output ends the pipe", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.child.stdout.destroy();
  pipe.call(1, "echo");
  expect(await pipe.exited).toEqual({ code: 0, signal: null });
});

test("an engine that each call kills is not started for ever: the call answers with the end of the log", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.call(1, "crash");
  const answer = await pipe.answer(1);
  expect(answer["result"]).toMatchObject({ isError: true });
  expect(textOf(answer)).toMatch(/ENGINE_UNREACHABLE[^]*3 times/);
  pipe.call(2, "echo", { fine: true });
  expect(await pipe.value(2)).toEqual({ fine: true });
});

test("an engine that can't start: the host has its tools, each says why, and the next call tries again", async () => {
  scene.set({ failToStart: true });
  const pipe = scene.pipe();
  await pipe.initialize();
  pipe.send({ id: 1, method: "tools/list" });
  expect(((await pipe.answer(1))["result"] as { tools: unknown[] }).tools.length).toBeGreaterThan(3);
  pipe.call(2, "echo");
  expect(textOf(await pipe.answer(2))).toContain("the fake app was told not to start");
  scene.set({});
  pipe.call(3, "echo", { mended: true });
  expect(await pipe.value(3)).toEqual({ mended: true });
  expect(pipe.answersTo(0)).toHaveLength(1);
});

test("no repository: the host has its tools, each says what is missing, and `git init` is enough", async () => {
  const elsewhere = join(scene.folder, "elsewhere");
  mkdirSync(elsewhere);
  const pipe = scene.pipe({ cwd: elsewhere });
  const { result } = await pipe.initialize();
  expect(result).toMatchObject({ capabilities: { tools: {} }, instructions: expect.stringContaining("Turns a goal") });
  pipe.send({ id: 1, method: "tools/list" });
  expect(((await pipe.answer(1))["result"] as { tools: unknown[] }).tools.length).toBeGreaterThan(3);
  pipe.call(2, "echo");
  const answer = await pipe.answer(2);
  expect(answer["result"]).toMatchObject({ isError: true });
  expect(textOf(answer)).toMatch(/NOT_A_REPOSITORY.*git init.*--repo/s);
  pipe.send({ id: 3, method: "no/such/method" });
  expect((await pipe.answer(3))["error"]).toMatchObject({ code: -32601 });

  execFileSync("git", ["init", "-q", elsewhere]);
  const log = join(elsewhere, ".git", "orchestrator", "engine.json");
  pipe.call(4, "who");
  expect(await pipe.value(4)).toMatchObject({ caller: { role: "operator", cwd: elsewhere, clientName: "test-host" } });
  const pid = (JSON.parse(execFileSync("cat", [log], { encoding: "utf8" })) as { pid: number }).pid;
  process.kill(pid, "SIGKILL");
});

test("the repository is found by --repo, else cwd, else CLAUDE_PROJECT_DIR", async () => {
  const elsewhere = join(scene.folder, "elsewhere");
  mkdirSync(elsewhere);
  for (const options of [
    { cwd: elsewhere, args: ["--repo", scene.repository] },
    { cwd: elsewhere, args: [`--repo=../repo`] },
    { cwd: scene.repository, env: { CLAUDE_PROJECT_DIR: elsewhere } },
    { cwd: elsewhere, env: { CLAUDE_PROJECT_DIR: scene.repository } },
  ]) {
    const pipe = scene.pipe(options);
    await pipe.initialize();
    pipe.call(1, "who");
    expect(await pipe.value(1)).toMatchObject({ caller: { cwd: scene.repository } });
  }
  expect(scene.enginePids()).toHaveLength(1);
});

test("--repo that names no repository is an error, whatever cwd is", async () => {
  const pipe = scene.pipe({ args: ["--repo", scene.folder] });
  await pipe.initialize();
  pipe.call(1, "echo");
  expect(textOf(await pipe.answer(1))).toContain(`--repo ${scene.folder}`);
});

test("where nothing else names a repository, the client's single root does", async () => {
  const elsewhere = join(scene.folder, "elsewhere");
  mkdirSync(elsewhere);
  const pipe = scene.pipe({ cwd: elsewhere });
  await pipe.initialize({ roots: {} });
  const isRootsRequest = (message: Fields): boolean => message["method"] === "roots/list";
  await until("it is asked", () => pipe.messages.some(isRootsRequest));
  // Waits for the answer instead of being refused.
  pipe.call(1, "who");
  const { id } = pipe.messages.find(isRootsRequest) ?? {};
  pipe.send({ id, result: { roots: [{ uri: pathToFileURL(scene.repository).href, name: "working_directory" }] } });
  expect(await pipe.value(1)).toMatchObject({ caller: { cwd: scene.repository } });
  expect(pipe.messages.filter(isRootsRequest)).toHaveLength(1);
});

test("several roots, or none, leave it at what is missing; changed ones are asked for again", async () => {
  const elsewhere = join(scene.folder, "elsewhere");
  mkdirSync(elsewhere);
  const pipe = scene.pipe({ cwd: elsewhere });
  await pipe.initialize({ roots: { listChanged: true } });
  const asked = (): Fields[] => pipe.messages.filter((message) => message["method"] === "roots/list");
  await until("it is asked", () => asked().length === 1);
  const uri = pathToFileURL(scene.repository).href;
  pipe.send({ id: asked()[0]?.["id"], result: { roots: [{ uri }, { uri: "file:///" }] } });
  pipe.call(1, "echo");
  expect(textOf(await pipe.answer(1))).toContain("2 roots");
  pipe.send({ method: "notifications/roots/list_changed" });
  await until("it is asked again", () => asked().length === 2);
  pipe.send({ id: asked()[1]?.["id"], result: { roots: [{ uri }] } });
  pipe.call(2, "echo", { found: true });
  expect(await pipe.value(2)).toEqual({ found: true });
});

test("a client that fails to list its roots is told what is missing", async () => {
  const elsewhere = join(scene.folder, "elsewhere");
  mkdirSync(elsewhere);
  const pipe = scene.pipe({ cwd: elsewhere });
  await pipe.initialize({ roots: {} });
  await until("it is asked", () => pipe.messages.some((message) => message["method"] === "roots/list"));
  const { id } = pipe.messages.find((message) => message["method"] === "roots/list") ?? {};
  pipe.send({ id, error: { code: -32603, message: "no" } });
  pipe.call(1, "echo");
  expect(textOf(await pipe.answer(1))).toContain("NOT_A_REPOSITORY");
});

test("a working folder that was removed does not stop the pipe", async () => {
  const gone = join(scene.folder, "gone");
  mkdirSync(gone);
  const pipe = scene.pipe({ cwd: gone, env: { CLAUDE_PROJECT_DIR: scene.repository } });
  rmSync(gone, { recursive: true });
  await pipe.initialize();
  pipe.call(1, "echo", { a: 1 });
  expect(await pipe.value(1)).toEqual({ a: 1 });
});

test("large messages pass both ways, with any characters", async () => {
  const pipe = scene.pipe();
  await pipe.initialize();
  const text = "ü€😀\u2028\n".repeat(400_000);
  pipe.call(1, "echo", { text });
  expect(await pipe.value(1)).toEqual({ text });
});

test.each([
  [["--help"], 0, /Usage: orchestrator-mcp/],
  [["--version"], 0, /^1\.2\.3$/m],
  [["--wrong"], 2, /Unknown argument: --wrong/],
  [["--repo"], 2, /--repo needs a folder/],
])("%j is answered on the command line", async (args, code, output) => {
  const pipe = scene.pipe({ args });
  let printed = "";
  pipe.child.stdout.removeAllListeners("data");
  pipe.child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  expect((await pipe.exited).code).toBe(code);
  expect(`${printed}${pipe.errors}`).toMatch(output);
  expect(scene.enginePids()).toHaveLength(0);
});
