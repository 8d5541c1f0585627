/** The real Goose as a satellite, through its backend, against a scripted model on loopback. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import type { TurnFailed } from "../../src/agents/backend.ts";
import {
  inTurn,
  lastToolResult,
  startChatEndpoint,
  textsOf,
  type ChatEndpoint,
  type ChatReply,
  type ChatScript,
} from "./chat-endpoint.ts";
import { GOOSE, GooseWorld, MCP_FIXTURE, type GooseTurn, type RunOptions } from "./goose-run.ts";

let model: ChatEndpoint;
let world: GooseWorld;

beforeAll(async () => {
  model = await startChatEndpoint(inTurn(say("hello")));
});
afterAll(async () => {
  await model.close();
});
afterEach(() => {
  world.remove();
});

function say(text: string): ChatReply {
  return { say: text };
}

function use(name: string, args: Record<string, unknown>): ChatReply {
  return { say: "", tools: [{ name, arguments: args }] };
}

function fail(status: number, message: string, code = "x"): ChatReply {
  return { status, body: { error: { message, type: "x", code } } };
}

type Changes = Parameters<GooseWorld["request"]>[0];

function run(script: ChatScript, changes: Changes = {}, options: RunOptions = {}): Promise<GooseTurn> {
  model.restart(script);
  return world.run(model.url, world.request(changes), options);
}

function continued(turn: GooseTurn): { id: string; totals: NonNullable<GooseTurn["end"]["totals"]> } {
  const { sessionId, totals } = turn.end;
  if (sessionId === null) throw new Error(`no session: ${turn.stdout}${turn.stderr}`);
  const none = { tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 }, costUsd: null };
  return { id: sessionId, totals: totals ?? none };
}

const mcpServer = {
  name: "orchestrator-mcp",
  command: process.execPath,
  args: [MCP_FIXTURE, "mine"],
  env: { ORCHESTRATOR_ATTEMPT: "engine/1" },
};
const askMark = use("orchestrator-mcp__whoami", { names: ["ORCHESTRATOR_ATTEMPT"] });

describe("B4: Goose as a satellite", () => {
  it("edits files, runs commands and commits in its linked worktree", async () => {
    world = new GooseWorld();
    const commit = "git -c user.name=A -c user.email=a@example.invalid commit -qam 'By the agent'";
    const turn = await run(
      inTurn(
        use("write", { path: "README.md", content: "changed\n" }),
        use("shell", { command: commit }),
        say("All done"),
      ),
      { systemPrompt: "SYSTEM-MARK" },
    );
    expect(turn.end).toMatchObject({ outcome: "succeeded", finalText: "All done", sessionId: "orchestrator-a1" });
    expect(turn.end.usage).toEqual({ inputTokens: 300, outputTokens: 30, cachedInputTokens: 0 });
    expect(world.git(world.worktree, "log", "--format=%s", "main..task")).toBe("By the agent\n");
    expect(world.git(world.repository, "status", "--porcelain")).toBe("");
    expect(model.requests[0]?.toolNames).toEqual(["edit", "read_image", "shell", "tree", "write"]);
    expect(textsOf(model.requests[0], "user").join()).toContain("do the work");
    expect(textsOf(model.requests[0], "system").join()).toContain("SYSTEM-MARK");
  });

  it("S4: continues its session in a new process, with the history and its own token counts", async () => {
    world = new GooseWorld();
    const first = await run(inTurn(say("The word is plum")), { prompt: "remember a word" });
    const second = await run(inTurn(say("plum")), {
      attemptId: "a2",
      prompt: "which word?",
      session: continued(first),
      systemPrompt: "SYSTEM-MARK",
    });
    const request = model.requests[0];
    expect(textsOf(request, "assistant")).toEqual(["The word is plum"]);
    expect(textsOf(request, "user").join()).toMatch(/remember a word[^]*which word\?/);
    expect(textsOf(request, "system").join()).toContain("SYSTEM-MARK");
    expect(second.end).toMatchObject({
      outcome: "succeeded",
      finalText: "plum",
      sessionId: "orchestrator-a1",
      usage: { inputTokens: 100, outputTokens: 10, cachedInputTokens: 0 },
    });
    expect(second.end.totals?.tokens.inputTokens).toBe(200);
  });

  it("S4: a session killed in the middle of a tool is continued", async () => {
    world = new GooseWorld();
    const first = await run(
      inTurn(use("shell", { command: "sleep 60" })),
      { prompt: "start" },
      { killAt: (event) => event.type === "tool-start" },
    );
    expect(first.end).toMatchObject({ outcome: "failed", cause: "crashed", sessionId: "orchestrator-a1" });
    const second = await run(inTurn(say("went on")), { prompt: "go on", session: continued(first) });
    expect(second.end).toMatchObject({ outcome: "succeeded", finalText: "went on" });
    expect(textsOf(model.requests[0], "user").join()).toMatch(/start[^]*go on/);
  });

  it("an unknown session ends as no-result, so that a fresh one follows", async () => {
    world = new GooseWorld();
    const totals = { tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 }, costUsd: null };
    const turn = await run(inTurn(say("x")), { session: { id: "orchestrator-gone", totals } });
    expect(turn.end).toMatchObject({ outcome: "failed", cause: "no-result", sessionId: null });
    expect(model.requests).toHaveLength(0);
  });

  it.each(["/compact", "/clear", "/goal win", "Please compact this conversation", "- a\n- b"])(
    "the prompt %j reaches the model as text",
    async (prompt) => {
      world = new GooseWorld();
      const turn = await run(inTurn(say("read")), { prompt });
      expect(turn.end).toMatchObject({ outcome: "succeeded", finalText: "read" });
      expect(model.requests).toHaveLength(1);
      expect(textsOf(model.requests[0], "user").join()).toContain(prompt);
    },
  );

  it("D1: a structured answer comes back parsed", async () => {
    world = new GooseWorld();
    const outputSchema = { type: "object", properties: { tasks: { type: "array" } } };
    const turn = await run(inTurn(say('Here it is:\n```json\n{"tasks": []}\n```')), { outputSchema });
    expect(turn.end).toMatchObject({ outcome: "succeeded", structured: { tasks: [] } });
    expect(textsOf(model.requests[0], "user").join()).toContain('"tasks":{"type":"array"}');
  });
});

describe("B5: local models by provider and model", () => {
  it.each([
    ["ollama/qwen2.5:7b", "OLLAMA_HOST", "qwen2.5:7b"],
    ["lmstudio/qwen/qwen3-8b", "LMSTUDIO_HOST", "qwen/qwen3-8b"],
    ["llama_swap/gpt-oss", "LLAMA_SWAP_HOST", "gpt-oss"],
    ["llama.cpp/gpt-oss", "LLAMA_SWAP_HOST", "gpt-oss"],
  ])("%s", async (name, variable, expected) => {
    world = new GooseWorld();
    const without = ["GOOSE_PROVIDER", "GOOSE_MODEL", "OPENAI_HOST", "OPENAI_API_KEY"];
    const options = { environment: { [variable]: model.url }, without };
    const turn = await run(inTurn(use("write", { path: "f", content: "x" }), say("ok")), { model: name }, options);
    expect(turn.end).toMatchObject({ outcome: "succeeded", finalText: "ok" });
    expect(model.requests[0]?.model).toBe(expected);
    expect(world.read("work tree/f")).toBe("x");
  });

  it("A3: a continued session takes the model that its role has now", async () => {
    world = new GooseWorld();
    const first = await run(inTurn(say("one")), { model: "gpt-4o" });
    await run(inTurn(say("two")), { model: "openai/gpt-4.1", session: continued(first) });
    expect(model.requests[0]?.model).toBe("gpt-4.1");
  });
});

describe("M3: the satellite's own server", () => {
  it("gets the attempt's mark, a new one when the session goes on", async () => {
    world = new GooseWorld();
    const first = await run(inTurn(askMark, say("ok")), { mcpServer });
    expect(JSON.parse(lastToolResult(model.requests[1]))).toMatchObject({
      env: { ORCHESTRATOR_ATTEMPT: "engine/1" },
      cwd: world.worktree,
    });
    await run(inTurn(askMark, say("ok")), {
      session: continued(first),
      mcpServer: { ...mcpServer, env: { ORCHESTRATOR_ATTEMPT: "engine/2" } },
    });
    expect(JSON.parse(lastToolResult(model.requests[1]))).toMatchObject({ env: { ORCHESTRATOR_ATTEMPT: "engine/2" } });
  });

  it("stands in for one that the user registered under the same name", async () => {
    world = new GooseWorld();
    const entry = {
      enabled: true,
      type: "stdio",
      name: "orchestrator-mcp",
      cmd: "node",
      args: [MCP_FIXTURE, "theirs"],
    };
    world.put(
      "home/.config/goose/config.yaml",
      JSON.stringify({ extensions: { "orchestrator-mcp": { ...entry, envs: {}, timeout: 300 } } }),
    );
    const turn = await run(inTurn(askMark, say("ok")), { mcpServer });
    expect(turn.end.outcome).toBe("succeeded");
    expect(JSON.parse(lastToolResult(model.requests[1]))).toMatchObject({ args: ["mine"] });
  });

  it("is started with words that hold spaces, quotes and more", async () => {
    world = new GooseWorld();
    const command = world.put("od=d dir/start it's.sh", `#!/bin/sh\nexec "${process.execPath}" "$@"\n`);
    chmodSync(command, 0o755);
    const words = ["a b", "it's", 'say "hi"', "back\\slash $HOME `x`", "x=y", "line\nline", "ünï"];
    await run(inTurn(askMark, say("ok")), { mcpServer: { ...mcpServer, command, args: [MCP_FIXTURE, ...words] } });
    expect(JSON.parse(lastToolResult(model.requests[1]))).toMatchObject({ args: words });
  });

  it("that can't start is told as a warning", async () => {
    world = new GooseWorld();
    const turn = await run(inTurn(say("ok")), { mcpServer: { ...mcpServer, command: "/nonexistent/node" } });
    expect(turn.events).toContainEqual({ type: "warning", message: expect.stringContaining("orchestrator-mcp") });
  });
});

describe("permissions", () => {
  it("read: nothing the model calls can write", async () => {
    world = new GooseWorld({ "README.md": "hello\n" });
    const attempts: ChatReply[] = [
      use("write", { path: "README.md", content: "owned" }),
      use("shell", { command: "echo owned > README.md" }),
      use("edit", { path: "README.md", before: "hello", after: "owned" }),
      use("worktree__git", { command: "log", arguments: ["--output=owned"] }),
      use("worktree__git", { command: "commit", arguments: ["--allow-empty", "-m", "owned"] }),
      use("worktree__write", { path: "owned" }),
    ];
    const turn = await run(inTurn(...attempts, say("gave up")), { permissions: "read" });
    expect(turn.end).toMatchObject({ outcome: "succeeded", finalText: "gave up" });
    expect(model.requests).toHaveLength(attempts.length + 1);
    expect(world.git(world.worktree, "status", "--porcelain", "--ignored")).toBe("");
    expect(world.git(world.worktree, "log", "--format=%s", "main..task")).toBe("");
    expect(turn.end.permissionDenials.map((denial) => denial.split(":")[0])).toEqual(
      expect.arrayContaining(["write", "shell", "edit"]),
    );
  });

  it("read: files, search and history can be looked at, in a continued session too", async () => {
    world = new GooseWorld({ "README.md": "hello\n", "src/a.ts": "const needle = 1;\n" });
    world.put("work tree/README.md", "hello again\n");
    const read = use("worktree__read_file", { path: "README.md" });
    const look = [
      read,
      use("worktree__search", { pattern: "need.e" }),
      use("worktree__git", { command: "diff", arguments: ["main"] }),
    ];
    const first = await run(inTurn(...look, say("ok")), { permissions: "read" });
    const results = model.requests.slice(1).map((request) => lastToolResult(request));
    expect(results[0]).toBe("hello again\n");
    expect(results[1]).toBe("src/a.ts:1:const needle = 1;\n");
    expect(results[2]).toContain("+hello again");
    await run(inTurn(read, say("ok")), { permissions: "read", session: continued(first) });
    expect(model.requests[0]?.toolNames.toSorted()).toEqual([
      "worktree__git",
      "worktree__list_files",
      "worktree__read_file",
      "worktree__search",
    ]);
    expect(lastToolResult(model.requests[1])).toBe("hello again\n");
  });

  it("A1: a role's tool list limits what the model is offered, in a continued session too", async () => {
    world = new GooseWorld();
    const first = await run(inTurn(say("ok")), { tools: ["shell", "Read"], mcpServer });
    const expected = ["orchestrator-mcp__whoami", "shell", "worktree__read_file"];
    expect(model.requests[0]?.toolNames.toSorted()).toEqual(expected);
    await run(inTurn(say("ok")), { tools: ["shell", "Read"], mcpServer, session: continued(first) });
    expect(model.requests[0]?.toolNames.toSorted()).toEqual(expected);
  });

  it("full: code maps and skills are offered as well", async () => {
    world = new GooseWorld();
    await run(inTurn(say("ok")), { permissions: "full" });
    expect(model.requests[0]?.toolNames).toEqual(expect.arrayContaining(["load_skill", "shell", "analyze"]));
  });

  it("a user's own `approve` mode does not end the run", async () => {
    world = new GooseWorld();
    world.put("home/.config/goose/config.yaml", "GOOSE_MODE: approve\n");
    const turn = await run(inTurn(use("write", { path: "f", content: "x" }), say("ok")));
    expect(turn.end.outcome).toBe("succeeded");
    expect(world.read("work tree/f")).toBe("x");
  });
});

describe("what a repository brings", () => {
  function hooks(file: string): string {
    const events = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"];
    const command = { type: "command", command: `echo fired >> '${file}'` };
    return JSON.stringify({ hooks: Object.fromEntries(events.map((event) => [event, [{ hooks: [command] }]])) });
  }

  function hostileWorld(): { fired: string; userFired: string } {
    world = new GooseWorld({ "AGENTS.md": "AGENTS-MARK\n" });
    const fired = join(world.root, "fired");
    const userFired = join(world.root, "user-fired");
    const plugin = "work tree/.agents/plugins/evil";
    const server = { mcpServers: { bad: { command: "sh", args: ["-c", `echo server >> '${fired}'`] } } };
    world.put(`${plugin}/plugin.json`, JSON.stringify({ name: "evil", version: "1.0.0" }));
    world.put(`${plugin}/.mcp.json`, JSON.stringify(server));
    world.put(`${plugin}/hooks/hooks.json`, hooks(fired));
    world.put("work tree/.config/goose/settings.json", JSON.stringify({ enabledPlugins: ["evil"] }));
    world.put("home/.agents/plugins/mine/hooks/hooks.json", hooks(userFired));
    world.put("home/.agents/plugins/off/hooks/hooks.json", hooks(fired));
    return { fired, userFired };
  }

  function userConfig(): string {
    const plugins = join(world.home, ".agents/plugins");
    return JSON.stringify({
      plugins: { [`${plugins}/mine`]: { enabled: true }, [`${plugins}/off`]: { enabled: false } },
    });
  }

  const work = () => inTurn(use("shell", { command: "echo hi" }), say("ok"));

  it.each([["all tools"], ["a limited list"]])(
    "plugins do not run (%s), the user's own do, AGENTS.md is read",
    async (kind) => {
      const { fired, userFired } = hostileWorld();
      const config = userConfig();
      const file = world.put("home/.config/goose/config.yaml", config);
      const tools = kind === "all tools" ? null : ["shell"];
      const first = await run(work(), { tools });
      expect(first.end).toMatchObject({ outcome: "succeeded", finalText: "ok" });
      expect(textsOf(model.requests[0], "system").join()).toContain("AGENTS-MARK");
      const second = await run(work(), { tools, session: continued(first) });
      expect(second.end.outcome).toBe("succeeded");
      expect(existsSync(fired)).toBe(false);
      expect(existsSync(userFired)).toBe(true);
      expect(world.read("home/.config/goose/config.yaml"), file).toBe(config);
    },
  );

  it("a plugin that the user turned off where the caller's GOOSE_PATH_ROOT is stays off", async () => {
    const { fired } = hostileWorld();
    const root = join(world.root, "goose-root");
    const config = JSON.stringify({ plugins: { [`${root}/.agents/plugins/off`]: { enabled: false } } });
    world.put("goose-root/config/config.yaml", config);
    world.put("goose-root/.agents/plugins/off/hooks/hooks.json", hooks(fired));
    world.put("goose-root/.agents/plugins/on/hooks/hooks.json", hooks(join(world.root, "on-fired")));
    const { end } = await run(work(), {}, { environment: { GOOSE_PATH_ROOT: root } });
    expect(end.outcome).toBe("succeeded");
    expect(existsSync(fired)).toBe(false);
    expect(existsSync(join(world.root, "on-fired"))).toBe(true);
    expect(world.read("goose-root/config/config.yaml")).toBe(config);
  });

  it("without that environment the same plugin does run, so the test above can fail", async () => {
    const { fired } = hostileWorld();
    await run(work(), {}, { without: ["PLUGINS"] });
    expect(existsSync(fired)).toBe(true);
  });

  it("CLAUDE.md reaches the model where there is no AGENTS.md", async () => {
    world = new GooseWorld({ "CLAUDE.md": "CLAUDE-MARK\n" });
    await run(inTurn(say("ok")));
    expect(textsOf(model.requests[0], "system").join()).toContain("CLAUDE-MARK");
  });
});

describe("R1: each way to fail, live", () => {
  const failures: [string, ChatReply[], TurnFailed["cause"], RunOptions?][] = [
    ["key refused", [fail(401, "Incorrect API key provided")], "auth"],
    ["no credit", [fail(402, "Payment required")], "billing"],
    ["quota", [fail(429, "You exceeded your current quota", "insufficient_quota")], "billing"],
    ["slow down", [fail(429, "Rate limit reached")], "rate-limit"],
    ["bad request", [fail(400, "no such field")], "invalid-request"],
    ["no such model", [fail(404, "The model does not exist")], "invalid-request"],
    ["server error", [fail(500, "oops")], "transient"],
    ["overloaded", [fail(529, "overloaded")], "transient"],
    ["cut before the first word", [{ cut: "" }], "transient"],
    ["cut after some words", [{ cut: "some words" }], "transient"],
    ["nothing comes", [{ hang: "headers" }], "transient", { environment: { OPENAI_TIMEOUT: "1" } }],
    ["nobody listens", [say("x")], "transient", { environment: { OPENAI_HOST: "http://127.0.0.1:9" } }],
    ["too long", [fail(400, "maximum context length", "context_length_exceeded")], "context-overflow"],
    ["an empty answer", [say("")], "no-result"],
    ["an answer cut at the limit", [{ say: "half", finishReason: "length" }], "turn-limit"],
    ["too many turns", [use("shell", { command: "true" })], "turn-limit", { extraArgs: ["--max-turns", "2"] }],
    ["no provider", [say("x")], "auth", { without: ["GOOSE_PROVIDER", "GOOSE_MODEL"] }],
    ["unknown flag", [say("x")], "spawn-failed", { extraArgs: ["--nosuchflag"] }],
    ["approval", [use("shell", { command: "true" })], "permission-denied", { environment: { GOOSE_MODE: "approve" } }],
  ];

  it.each(failures)("%s", async (_name, replies, cause, options) => {
    world = new GooseWorld();
    const turn = await run(inTurn(...replies), {}, options);
    expect(turn.end).toMatchObject({ outcome: "failed", cause });
  });

  it("a session that failed goes on where it was", async () => {
    world = new GooseWorld();
    const first = await run((request) =>
      request.index === 0 ? use("shell", { command: "echo 42" }) : fail(500, "oops"),
    );
    expect(first.end).toMatchObject({ outcome: "failed", cause: "transient" });
    const second = await run(inTurn(say("ok")), { prompt: "go on", session: continued(first) });
    expect(second.end.outcome).toBe("succeeded");
    expect(textsOf(model.requests[0], "tool").join()).toContain("42");
  });
});

it("is tested with the Goose that the parser was written for", () => {
  world = new GooseWorld();
  expect(execFileSync(GOOSE, ["--version"], { encoding: "utf8" }).trim()).toBe("1.52.0");
});
