/** What an agent may do in its own repository, however it hides that it is one, and what it starts elsewhere. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DIST, Ground, quoted, type Fields, type Repo } from "./engine-support.ts";
import { isAlive } from "../support/processes.js";
import { until } from "../support/until.js";

let ground: Ground;
let repo: Repo;
beforeEach(() => {
  ground = new Ground();
  repo = ground.main;
});
afterEach(async () => {
  await ground.leave();
});

/** What only an operator may ask. */
const OPERATOR_CALLS: readonly (readonly [string, Fields])[] = [
  ["create_plan", { tasks: [{ id: "evil", agent: "command", prompt: "touch evil" }] }],
  ["update_plan", { plan: "fence", drop: ["later"] }],
  ["spawn_agent", { agent: "command", prompt: "touch evil" }],
  ["task_status", {}],
  ["answer_question", { id: "q1", answer: "as I like it" }],
  ["list_questions", {}],
  ["control", { action: "cancel", plan: "fence" }],
  ["engine_info", {}],
  ["read_log", {}],
  ["stop_engine", {}],
];

function clientWords(of: Repo, place: string, calls: readonly (readonly [string, Fields])[]): string {
  const words = [process.execPath, ground.program, of.commonDir, place];
  for (const [name, input] of calls) words.push(name, JSON.stringify(input));
  return words.map(quoted).join(" ");
}

/** What a client program printed: its role, then a result for each call. */
function answersIn(text: string): Fields[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Fields);
}

function expectFenced(answers: readonly Fields[]): void {
  const [hello, ...results] = answers;
  expect(hello).toMatchObject({ role: "satellite" });
  expect(results.map(({ code }) => code)).toEqual(OPERATOR_CALLS.map(() => "NOT_ALLOWED"));
}

test("an agent in its own repository is a satellite by its mark, by its cwd and by its ancestors; operator calls refuse", async () => {
  const file = (name: string): string => quoted(join(ground.traces, name));
  const words = clientWords(repo, repo.path, OPERATOR_CALLS);
  const gate = file("gate");
  await repo.submit("fence", [
    {
      id: "agent",
      prompt: [
        `cd / && ${words} > ${file("by-mark")} 2>&1`,
        `cd "$OLDPWD" && env -u ORCHESTRATOR_ATTEMPT ${words} > ${file("by-cwd")} 2>&1`,
        `cd / && env -i HOME="$HOME" TMPDIR="$TMPDIR" setsid -w ${words} > ${file("by-ancestor")} 2>&1`,
        `touch ${file("asked")}; while [ ! -e ${gate} ]; do sleep 0.05; done`,
      ].join("\n"),
    },
    { id: "later", prompt: "true", dependsOn: ["agent"] },
  ]);
  await until(
    "the agent has asked",
    () => ground.trace("by-ancestor").length > OPERATOR_CALLS.length,
    () => repo.log(),
  );
  for (const name of ["by-mark", "by-cwd", "by-ancestor"]) expectFenced(answersIn(ground.trace(name).join("\n")));

  // From outside, with nothing but the folder it works in.
  const { worktree } = await repo.task("fence/agent");
  const args = [ground.program, repo.commonDir, repo.path];
  for (const [name, input] of OPERATOR_CALLS) args.push(name, JSON.stringify(input));
  const outside = spawnSync(process.execPath, args, {
    cwd: worktree ?? "/",
    env: ground.environment,
    encoding: "utf8",
  });
  expectFenced(answersIn(outside.stdout));

  repo.write("../traces/gate", "");
  expect(await repo.settled("fence")).toBe("succeeded");
  expect((await repo.status({ since: 0 })).plans.map(({ plan }) => plan)).toEqual(["fence"]);
});

test("11: an operator's verbs refuse in an agent's environment, also those that need no engine, and change nothing", async () => {
  const verbs = [
    "trust --yes",
    "init --yes",
    "config set limits.agents 9",
    "doctor",
    "demo",
    "serve",
    "stop",
    "status",
  ];
  const out = quoted(join(ground.traces, "codes"));
  const lines = verbs.map((verb) => `orchestrator ${verb} 2>> ${out}.err; echo $? >> ${out}`);
  await repo.submit("verbs", [{ id: "agent", prompt: [...lines, `orchestrator ask --help`].join("\n") }]);
  expect(await repo.settled("verbs")).toBe("succeeded");
  expect(ground.trace("codes")).toEqual(verbs.map(() => "3"));
  const told = ground.trace("codes.err");
  expect(told).toHaveLength(verbs.length);
  for (const line of told) expect(line).toContain("not for an agent that carries out a task");
  expect(repo.git("status", "--porcelain")).toBe("");
  expect(readFileSync(join(ground.home, ".orchestrator", "config.json"), "utf8")).not.toContain("limits");
});

test("an agent has its three tools: its report is kept; once its attempt has ended its mark opens nothing", async () => {
  const mark = quoted(join(ground.traces, "mark"));
  const report = { status: "succeeded", summary: "all is well" };
  const words = clientWords(repo, repo.path, [
    ["task_context", {}],
    ["report_result", report],
  ]);
  await repo.submit(
    "tools",
    [{ id: "agent", title: "Tell", prompt: `echo $ORCHESTRATOR_ATTEMPT > ${mark}; ${words}` }],
    {
      goal: "To see",
    },
  );
  expect(await repo.settled("tools")).toBe("succeeded");
  const detail = await repo.task("tools/agent", ["output"]);
  expect(detail.report).toMatchObject(report);
  const [, context] = answersIn(detail.output ?? "");
  expect(context).toMatchObject({
    ok: true,
    structured: { goal: "To see", task: { task: "tools/agent", title: "Tell" } },
  });
  const late = await repo.client({
    environment: { ...ground.environment, ORCHESTRATOR_ATTEMPT: ground.trace("mark")[0] },
  });
  expect(late.role).toBe("satellite");
  expect(await late.call("report_result", { ...report, summary: "I changed my mind" })).toMatchObject({
    code: "NOT_ALLOWED",
  });
  expect(await late.call("ask_orchestrator", { question: "May I?" })).toMatchObject({ code: "NOT_ALLOWED" });
  expect(await late.call("task_status", {})).toMatchObject({ code: "NOT_ALLOWED" });
});

test("an agent's MCP server offers the satellite tools alone", async () => {
  const requests = [
    {
      id: 0,
      method: "initialize",
      params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "x", version: "1" } },
    },
    { method: "notifications/initialized" },
    { id: 1, method: "tools/list" },
  ].map((message) => JSON.stringify({ jsonrpc: "2.0", ...message }));
  const out = quoted(join(ground.traces, "mcp"));
  const pipe = [process.execPath, join(DIST, "engine", "pipe-main.cjs"), "--repo", repo.path].map(quoted).join(" ");
  const lines = requests.map(quoted).join(" ");
  const prompt = `cd / && (printf '%s\\n' ${lines}; while ! grep -q inputSchema ${out}; do sleep 0.05; done) | env -u ORCHESTRATOR_ATTEMPT ${pipe} > ${out}`;
  await repo.submit("mcp", [{ id: "agent", prompt }]);
  expect(await repo.settled("mcp")).toBe("succeeded");
  const answer = answersIn(ground.trace("mcp").join("\n")).find(({ id }) => id === 1);
  const { tools } = (answer ?? {})["result"] as { tools: { name: string }[] };
  const names = tools.map(({ name }) => name);
  expect(names).toContain("report_result");
  expect(names.filter((name) => OPERATOR_CALLS.some(([operator]) => operator === name))).toEqual([]);
});

test("an engine first started from inside an agent outlives that attempt", async () => {
  const other = ground.repository("other");
  const gate = quoted(join(ground.traces, "gate"));
  const inner = {
    id: "inner",
    agent: "command",
    prompt: `while [ ! -e ${gate} ]; do sleep 0.05; done; echo x > x.txt`,
  };
  const words = clientWords(other, other.path, [["create_plan", { name: "inner", tasks: [inner] }]]);
  await repo.submit("outer", [{ id: "agent", prompt: words }]);
  expect(await repo.settled("outer")).toBe("succeeded");
  const { output } = await repo.task("outer/agent", ["output"]);
  expect(answersIn(output ?? "")).toMatchObject([{ role: "operator" }, { ok: true }]);
  const engine = other.enginePid();
  expect(isAlive(engine)).toBe(true);
  expect((await other.states("inner"))["inner"]).toBe("running");
  // Nor does the end of the engine of the agent that started it.
  repo.closeClients();
  await repo.killEngine();
  await repo.client();
  repo.write("../traces/gate", "");
  expect(await other.settled("inner")).toBe("succeeded");
  expect(other.enginePid()).toBe(engine);
});
