/**
 * Claude Code, Codex and Goose as the parent: each with our server registered as README says, each with a scripted model
 * that does nothing but follow `next`, so that what the answers say is enough to bring a plan to its end.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { CLI_NAMES, jsonIn, type CliName, type ModelAct, type ModelScript, type ModelTurn } from "./support/models.ts";
import { PIPE, PROGRAMS, World, type Finished } from "./support/world.ts";
import { until } from "../support/until.js";

let world: World;

afterEach(async () => {
  await world.leave();
});

const OPERATOR_TOOLS = ["answer_question", "control", "create_plan", "spawn_agent", "task_status", "update_plan"];
const SATELLITE_TOOLS = ["report_result", "task_context", "ask_orchestrator"];

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** A block of README's as it stands there, `npx -y orchestrator-mcp` being this build. */
function fromReadme(language: string, begin: string): string {
  const blocks = [...README.matchAll(/^```(\w+)\n([^]*?)^```$/gm)];
  const block = blocks.find(([, name, text]) => name === language && text?.startsWith(begin))?.[2];
  if (block === undefined) throw new Error(`README has no ${language} that begins with ${begin}`);
  const built = block
    .replace("npx -y orchestrator-mcp", `node '${PIPE}'`)
    .replace(/"npx"|(?<=cmd: )npx/, '"node"')
    .replace('["-y", "orchestrator-mcp"]', `[${JSON.stringify(PIPE)}]`);
  expect(built).toContain(PIPE);
  return built;
}

/** Registers the server with a CLI by copy and paste. `without`: a setting of Codex that is left out. */
async function register(cli: CliName, without?: string): Promise<void> {
  switch (cli) {
    case "claude": {
      const command = fromReadme("sh", "claude mcp add").replace("claude", `'${PROGRAMS.claude}'`);
      const added = await world.run("/bin/sh", ["-c", command]);
      expect(added.exitCode, added.stderr).toBe(0);
      return;
    }
    case "codex": {
      const table = fromReadme("toml", "[mcp_servers.orchestrator-mcp]");
      const setting = new RegExp(`^${without ?? "$^"} = (?:\\[[^\\]]*\\]|.*)\n`, "m");
      if (without !== undefined) expect(table).toMatch(setting);
      world.put("home/.codex/config.toml", `${world.model("codex").codexConfig()}\n${table.replace(setting, "")}`);
      return;
    }
    case "goose":
      world.put("home/.config/goose/config.yaml", fromReadme("yaml", "extensions:"));
  }
}

const CLAUDE_MAY = "--allowedTools=mcp__orchestrator-mcp";

/** A headless turn of the parent. */
function ask(cli: CliName, prompt: string, claudeMay = [CLAUDE_MAY]): Promise<Finished> {
  const args: Readonly<Record<CliName, readonly string[]>> = {
    claude: ["--print", ...claudeMay],
    codex: ["exec", "-"],
    goose: ["run", "--instructions=-"],
  };
  return world.run(PROGRAMS[cli], args[cli], { stdin: prompt });
}

/** What an answer says is to be done next, as a call; null when there is nothing. */
function nextCall(cli: CliName, result: string): Extract<ModelAct, { tool: string }> | null {
  // Claude and Codex show their model the structure, Goose the text.
  const told: unknown = cli === "goose" ? /^next: (.*)$/m.exec(result)?.[1] : jsonIn(result)["next"];
  const next = typeof told === "string" ? told : "";
  const [, tool, input] = /^(\w+) (\{.*\})/.exec(next) ?? [];
  if (tool === undefined || input === undefined) return null;
  return { tool, input: JSON.parse(input) as Record<string, unknown> };
}

/** Makes `first`, then follows `next` until nothing is left, then does `after` one by one. */
function follower(cli: CliName, first: ModelAct, after: readonly ModelAct[] = []): ModelScript {
  let done = 0;
  return ({ results }) => {
    // Codex shows a server's tools to its model when that looks for them.
    if (cli === "codex" && results.length === 0) return { search: "orchestrator plan status control agent" };
    const last = results[results.length - 1];
    if (last === undefined || results.length === (cli === "codex" ? 1 : 0)) return first;
    const next = done === 0 ? nextCall(cli, last) : null;
    if (next !== null) return next;
    done += 1;
    return after[done - 1] ?? { say: "All is merged." };
  };
}

function made(id: string, dependsOn: readonly string[] = []): object {
  return { id, agent: "command", prompt: `echo ${id} > ${id}.txt`, dependsOn, writes: [`${id}.txt`] };
}

const PLAN = { name: "parented", goal: "THE-GOAL", tasks: [made("one"), made("two", ["one"]), made("three", ["one"])] };
/** Fifty tasks with the notes that agents write. */
const BIG = {
  name: "big",
  start: false,
  tasks: Array.from({ length: 50 }, (_, index) => ({ ...made(`task-${index}`), title: `Do part ${index} of it` })),
};

/** Characters that our tools take in a request, with what the CLI puts around them. */
function costOfTools(cli: CliName, turn: ModelTurn | undefined): number {
  if (cli === "codex") {
    const found = JSON.parse(turn?.results[0] ?? "[]") as { readonly name: string }[];
    return JSON.stringify(found.find(({ name }) => name === "mcp__orchestrator_mcp")).length;
  }
  const { tools } = JSON.parse(turn?.everything ?? "{}") as { tools: unknown[] };
  const ours = tools.map((tool) => JSON.stringify(tool)).filter((tool) => tool.includes("orchestrator-mcp__"));
  expect(ours).toHaveLength(OPERATOR_TOOLS.length);
  return ours.join("").length;
}

test.each(CLI_NAMES)("M1, M2: %s as the parent drives a plan to its end by following `next`", async (cli) => {
  world = await World.open({ clis: [cli] });
  await register(cli);
  const model = world.model(cli);
  const first = { tool: "create_plan", input: { ...PLAN, start: false } };
  const after = [
    { tool: "create_plan", input: BIG },
    { tool: "task_status", input: { plan: "big" } },
  ];
  model.setScript(follower(cli, first, after));
  const run = await ask(cli, "Make three files, by a plan.");
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  expect(model.errors).toEqual([]);
  for (const id of ["one", "two", "three"]) expect(world.git("show", `main:${id}.txt`)).toBe(id);

  const results = (model.turns.at(-1)?.results ?? []).slice(cli === "codex" ? 1 : 0);
  const [created = "", resumed = ""] = results;
  expect(created).toContain("Plan parented is ready and paused: 3 tasks into main.");
  expect(resumed).toContain("resume: plan parented");
  const ended = results.findIndex((result) => result.includes("parented succeeded: 3 of 3 tasks done"));
  // One call for the plan, one to start it, and no more than one for each task that ended.
  expect(ended).toBeGreaterThan(1);
  expect(ended).toBeLessThanOrEqual(2 + PLAN.tasks.length);
  if (cli !== "goose") {
    expect(jsonIn(created)).toMatchObject({ plan: "parented", outcome: "created", target: "main", total: 3 });
    const status = jsonIn(results[ended] ?? "");
    expect(status["plans"]).toMatchObject([{ plan: "parented", state: "succeeded", counts: { succeeded: 3 } }]);
  }
  // What fifty tasks cost a parent's context.
  expect(results.at(-1)).toContain("task-49");
  expect(results.at(-1)?.length).toBeLessThan(cli === "goose" ? 2_500 : 4_500);

  // Codex lists what it found in the result of the search, the others offer all from the start.
  const offered =
    cli === "codex" ? (model.turns.at(-1)?.results[0] ?? "") : (model.turns.at(-1)?.tools.join("\n") ?? "");
  // What they cost each of its requests, as they really reach it; Codex's model sees them when it searches.
  expect(costOfTools(cli, model.turns.at(-1))).toBeLessThan(11_000);
  for (const tool of OPERATOR_TOOLS) expect(offered).toMatch(new RegExp(`\\b(?:[a-z_-]+__)?${tool}\\b`));
  for (const tool of SATELLITE_TOOLS) expect(offered).not.toContain(tool);
});

test("README's word: a headless Claude that is allowed no tool of ours is denied it, and ends as if all were well", async () => {
  world = await World.open({ clis: ["claude"] });
  expect(README).toContain(CLAUDE_MAY);
  await register("claude");
  const model = world.model("claude");
  model.setScript(({ results }) => (results.length === 0 ? { tool: "create_plan", input: PLAN } : { say: "denied" }));
  expect((await ask("claude", "go", [])).exitCode).toBe(0);
  expect(model.turns.at(-1)?.results[0]).toMatch(/permission/i);
  expect(await plans()).toEqual([]);
});

test("README's word: a headless Codex without the approval mode refuses what changes something", async () => {
  world = await World.open({ clis: ["codex"] });
  await register("codex", "default_tools_approval_mode");
  const model = world.model("codex");
  model.setScript(({ results }) => (results.length === 0 ? { tool: "create_plan", input: PLAN } : { say: "refused" }));
  expect((await ask("codex", "go")).exitCode).toBe(0);
  expect(model.turns.at(-1)?.results[0]).toMatch(/approval/i);
  expect(await plans()).toEqual([]);
});

test("a Claude parent takes the server from the project's .mcp.json, the file of this package", async () => {
  world = await World.open({ clis: ["claude"] });
  const file = readFileSync(new URL("../../mcp.json", import.meta.url), "utf8");
  const config = JSON.parse(file) as { mcpServers: Record<string, { command: string; args: string[] }> };
  Object.assign(config.mcpServers["orchestrator-mcp"] ?? {}, { command: "node", args: [PIPE] });
  world.put("repository/.mcp.json", JSON.stringify(config));
  world.model("claude").setScript(follower("claude", { tool: "create_plan", input: PLAN }));
  expect((await ask("claude", "go")).exitCode).toBe(0);
  expect(world.git("show", "main:three.txt")).toBe("three");
});

test("a plan outlives its parent, and any other parent can follow it", async () => {
  world = await World.open({ clis: ["claude", "goose"] });
  await register("claude");
  await register("goose");
  const gate = `${world.folder}/go-on`;
  const slow = { ...made("slow"), prompt: `until test -e ${gate}; do sleep 0.1; done; echo slow > slow.txt` };
  const create = { tool: "create_plan", input: { name: "outliving", tasks: [slow] } };
  world.model("claude").setScript(({ results }) => (results.length === 0 ? create : { say: "It runs." }));
  expect((await ask("claude", "start it")).exitCode).toBe(0);
  world.put("go-on", "");
  world.model("goose").setScript(follower("goose", { tool: "task_status", input: {} }));
  expect((await ask("goose", "how is it?")).exitCode).toBe(0);
  expect(world.model("goose").turns.at(-1)?.results.at(-1)).toContain("outliving succeeded: 1 of 1 tasks done");
  expect(world.git("show", "main:slow.txt")).toBe("slow");
});

test("a Codex parent hands on the variables that `env_vars` names, and without them the wait names the remedy", async () => {
  world = await World.open({ clis: ["codex", "claude"] });
  // Codex gives its servers HOME, PATH and the like, nothing else: the config is where HOME says.
  world.put("home/.orchestrator/config.json", readFileSync(`${world.folder}/orchestrator-home/config.json`, "utf8"));
  await register("codex", "env_vars");
  const tasks = [{ id: "a", agent: "coder-claude", prompt: "Say something.", writes: [] }];
  const codex = world.model("codex");
  codex.setScript(({ results }) => {
    if (results.length === 0) return { tool: "create_plan", input: { name: "keyless", tasks } };
    const next = nextCall("codex", results.at(-1) ?? "");
    return next?.tool === "task_status" ? next : { say: "enough" };
  });
  expect((await ask("codex", "go")).exitCode).toBe(0);
  const stuck = codex.turns.at(-1)?.results.at(-1) ?? "";
  expect(jsonIn(stuck)).toMatchObject({ next: 'control {"action":"retry","task":"keyless/a"}' });
  expect(stuck).toMatch(/"code":"auth".*login/);
  expect(world.model("claude").turns).toEqual([]);

  await register("codex");
  codex.setScript(follower("codex", nextCall("codex", stuck) ?? { say: "?" }));
  world.model("claude").setScript(() => ({ say: "SAID" }));
  expect((await ask("codex", "go on")).exitCode).toBe(0);
  expect(codex.turns.at(-1)?.results.at(-1)).toContain("keyless succeeded: 1 of 1 tasks done");
  expect(world.model("claude").turns).toHaveLength(1);
});

test("S3: an engine that is killed under a parent's create_plan makes one plan", async () => {
  world = await World.open({ clis: ["claude"] });
  await register("claude");
  world.model("claude").setScript(async ({ results }) => {
    if (results.length > 0) return { say: "done" };
    // It takes the call and does nothing with it; then it is gone.
    const pid = await world.untilEngine();
    process.kill(pid, "SIGSTOP");
    setTimeout(() => process.kill(pid, "SIGKILL"), 500);
    return { tool: "create_plan", input: ONCE };
  });
  const run = await ask("claude", "go");
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  const told = jsonIn(world.model("claude").turns.at(-1)?.results[0] ?? "");
  expect(await plans()).toEqual([told["plan"]]);
});

test("S3: also when the plan was made and only the answer was lost", async () => {
  world = await World.open({ clis: [] });
  const client = await openPipe();
  const pid = await world.untilEngine();
  process.kill(pid, "SIGSTOP");
  // The answers before it fill the socket, so that the one that counts can't leave the engine.
  const before = Array.from({ length: 60 }, (_, index) => ({ id: 100 + index, method: "tools/list" }));
  const call = { id: 2, method: "tools/call", params: { name: "create_plan", arguments: ONCE } };
  await client.sendAndForward([...before, call]);
  process.kill(client.pid, "SIGSTOP");
  process.kill(pid, "SIGCONT");
  await until("the plan is made", async () => (await plans()).length > 0);
  expect(client.answers.has(2)).toBe(false);
  world.disconnect();
  process.kill(pid, "SIGKILL");
  process.kill(client.pid, "SIGCONT");
  await until("the call is answered", () => client.answers.has(2));
  expect(world.enginePid()).not.toBe(pid);
  expect(await plans()).toEqual([client.answers.get(2)?.result?.structuredContent?.["plan"]]);
  await client.close();
});

/** No name: made twice it would be there twice. */
const ONCE = { goal: "once", start: false, tasks: [made("only")] };

async function plans(): Promise<string[]> {
  const status = await world.call<{ plans: { plan: string }[] }>("task_status", { since: 0 });
  return status.plans.map(({ plan }) => plan);
}

interface Answer {
  readonly id?: unknown;
  readonly result?: { readonly structuredContent?: Readonly<Record<string, unknown>> };
}

interface BareClient {
  /** The pipe's. */
  readonly pid: number;
  readonly answers: ReadonlyMap<unknown, Answer>;
  /** Resolves when the pipe has handed on as much as it was given. */
  sendAndForward(messages: readonly object[]): Promise<void>;
  close(): Promise<void>;
}

/** The pipe with nothing but the test in front of it, and the handshake behind it. */
async function openPipe(): Promise<BareClient> {
  const child = spawn(process.execPath, [PIPE], {
    cwd: world.repository,
    env: world.environment(),
    stdio: ["pipe", "pipe", "ignore"],
  });
  world.adopt(child);
  const pid = child.pid ?? 0;
  const answers = new Map<unknown, Answer>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line) as Answer;
    answers.set(message.id, message);
  });
  const send = (messages: readonly object[]): number => {
    const text = messages.map((message) => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`).join("");
    child.stdin.write(text);
    return text.length;
  };
  const written = (): number => Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
  const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "bare", version: "1" } };
  send([{ id: 1, method: "initialize", params }]);
  await until("the handshake is answered", () => answers.has(1));
  send([{ method: "notifications/initialized" }]);
  return {
    pid,
    answers,
    sendAndForward: async (messages) => {
      const before = written();
      const length = send(messages);
      await until("the pipe has handed all on", () => written() >= before + length);
    },
    close: async () => {
      const gone = new Promise((resolve) => child.on("close", resolve));
      child.stdin.end();
      await gone;
    },
  };
}
