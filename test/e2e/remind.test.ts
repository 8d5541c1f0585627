/** The plugin's hooks for a parent's session: quick and silent where there is nothing to say, and never in the way. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DIST, Ground } from "./engine-support.ts";
import { until } from "../support/until.js";

const HOOK = fileURLToPath(new URL("../../hooks/remind", import.meta.url));
const COMMAND = join(DIST, "cli", "main.js");

let ground: Ground;
let server: Server | null = null;

beforeEach(() => {
  ground = new Ground();
});

afterEach(async () => {
  await closeStandIn();
  await ground.leave();
});

const sockets = new Set<Socket>();

async function closeStandIn(): Promise<void> {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => (server === null ? resolve(null) : server.close(resolve)));
  server = null;
}

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the hook as Claude Code does. */
function hook(
  event: string,
  options: { cwd?: string; input?: string | object; env?: NodeJS.ProcessEnv } = {},
): Promise<Said> {
  const { cwd = ground.main.path, input = { stop_hook_active: false } } = options;
  const child = spawn("sh", [HOOK, event], { cwd, env: { ...ground.environment, ...options.env } });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => undefined);
  child.stdin.end(typeof input === "string" ? input : JSON.stringify(input));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
}

const SILENT = { code: 0, stdout: "", stderr: "" };
const QUESTION = { id: "q1", task: "api/limiter", question: "Sliding or fixed?" };

/** An engine that answers one thing, whatever it is asked; `null` takes the connection and says nothing at all. */
async function standIn(status: object | null, role = "operator"): Promise<void> {
  const { stateDir } = ground.main;
  mkdirSync(join(stateDir, "bin"), { recursive: true, mode: 0o700 });
  writeFileSync(join(stateDir, "engine.json"), "{}");
  writeFileSync(join(stateDir, "bin", "orchestrator"), `#!/bin/sh\nexec '${process.execPath}' '${COMMAND}' "$@"\n`);
  chmodSync(join(stateDir, "bin", "orchestrator"), 0o755);
  const welcome = { engineId: "e", version: "9.9.9", protocol: 1, passEnv: [], role, restartPending: false };
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    if (status === null) return;
    createInterface({ input: socket }).on("line", (line) => {
      const { hello, id } = JSON.parse(line) as { hello?: object; id?: number };
      const result = { ok: true, structured: status, text: "" };
      if (hello !== undefined) socket.write(`${JSON.stringify({ welcome })}\n`);
      if (id !== undefined) socket.write(`${JSON.stringify({ id, result })}\n`);
    });
  });
  // The path of a socket is short; the folder's is not.
  const short = join(ground.folder, "s");
  symlinkSync(stateDir, short);
  await new Promise<void>((resolve) => server?.listen(join(short, "engine.sock"), resolve));
}

test("silent outside a repository, where no engine was, and where it has ended; nothing is started or made", async () => {
  for (const event of ["start", "stop"]) {
    expect(await hook(event, { cwd: ground.folder })).toEqual(SILENT);
    expect(await hook(event)).toEqual(SILENT);
  }
  expect(existsSync(ground.main.stateDir)).toBe(false);
  await standIn({});
  await closeStandIn();
  expect(await hook("start")).toEqual(SILENT);
  expect(await hook("stop")).toEqual(SILENT);
});

test("a session that begins is told where the plans stand, by the engine that runs", async () => {
  const blocked = join(ground.folder, "go");
  await ground.main.submit("told", [{ id: "a", prompt: `until test -e '${blocked}'; do sleep 0.1; done`, writes: [] }]);
  const said = await hook("start");
  expect(said).toMatchObject({ code: 0, stderr: "" });
  expect(said.stdout).toContain("told");
  expect(said.stdout).toContain("orchestrator-mcp has plans in this repository");
  // Nobody asks anything.
  expect(await hook("stop")).toEqual(SILENT);
  writeFileSync(blocked, "");
});

test("unanswered questions are told once before a turn ends", async () => {
  await standIn({ summary: "s", next: "", questions: [QUESTION], plans: [] });
  const said = await hook("stop");
  expect(said.code).toBe(0);
  expect(JSON.parse(said.stdout)).toMatchObject({
    decision: "block",
    reason: expect.stringContaining("question q1 from api/limiter: Sliding or fixed?"),
  });
  expect(await hook("stop", { input: { stop_hook_active: true } })).toEqual(SILENT);
});

test("X4: what a real agent asks reaches the parent before its turn ends, and no longer once it is answered", async () => {
  ground.configure({ questions: { route: ["memory", "human"] } });
  await ground.main.submit("asking", [
    { id: "a", prompt: 'orchestrator ask "Which?" --option red --option blue', writes: [] },
  ]);
  await until(
    "it asks",
    async () => ((await ground.main.call("task_status", {}))["questions"] as object[]).length === 1,
  );
  const said = await hook("stop");
  const { reason } = JSON.parse(said.stdout) as { reason: string };
  expect(reason).toMatch(/- question \S+ from asking\/a: Which\? \[red \| blue\]/);
  expect((await hook("start")).stdout).toContain("Which?");
  const id = /question (\S+) from/.exec(reason)?.[1];
  await ground.main.call("answer_question", { id, answer: "red" });
  expect(await hook("stop")).toEqual(SILENT);
});

test("whatever is wrong, the session goes on: exit 0 and no word", async () => {
  await standIn({ summary: "s", next: "", questions: [QUESTION], plans: [] });
  for (const input of ["", "no json", "[]", "{}", '{"stop_hook_active":"yes"}']) {
    expect(await hook("stop", { input }), input).toEqual(SILENT);
  }
  expect(await hook("nonsense")).toEqual(SILENT);
  // In an agent of ours, by its mark.
  expect(await hook("stop", { env: { ORCHESTRATOR_ATTEMPT: "e/1" } })).toEqual(SILENT);
});

test.each([
  ["a satellite's session", { questions: [QUESTION] }, "satellite"],
  ["an engine of another shape", { questions: 3 }, "operator"],
  ["an engine that hangs", null, "operator"],
])("%s: no word", async (_, status, role) => {
  await standIn(status, role);
  expect(await hook("stop")).toEqual(SILENT);
});
