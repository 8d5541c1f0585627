import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";

import { gooseBackend } from "../../src/agents/goose.ts";
import { goosePluginEnvironment } from "../../src/agents/goose-plugins.ts";
import { findJson } from "../../src/agents/goose-structured.ts";
import { gooseProvider, gooseRequest } from "./goose-requests.ts";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "goose-test-")));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function put(path: string, content = ""): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

function turn(changes: Parameters<typeof gooseRequest>[0] = {}, provider = gooseProvider) {
  return gooseBackend.buildTurn(gooseRequest({ worktree: folder, ...changes }), provider);
}

const server = { name: "orchestrator-mcp", command: "/usr/bin/node", args: ["/pipe.js"], env: { MARK: "e/1" } };
const session = { id: "orchestrator-old", totals: { tokens: noTokens(), costUsd: null } };

function noTokens() {
  return { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 };
}

describe("B4: the command of a Goose turn", () => {
  it("starts a named session with the developer tools, the prompt on stdin only", () => {
    const command = turn({ prompt: "a secret plan" });
    expect(command).toMatchObject({ file: "/opt/goose", cwd: folder, stdin: "a secret plan", files: [] });
    expect(command.args.join(" ")).toBe(
      "run --quiet --output-format=stream-json --name=orchestrator-a1 --no-profile --with-builtin developer --instructions=-",
    );
    expect(command.env["GOOSE_MODE"]).toBe("auto");
  });

  it("continues a session by name, without the extensions that it has stored", () => {
    const command = turn({ session, mcpServer: server, model: "ollama/qwen2.5" });
    expect(command.args.join(" ")).toBe(
      "run --quiet --output-format=stream-json --resume --name=orchestrator-old --provider=ollama --model=qwen2.5 --instructions=-",
    );
    expect(command.env["MARK"]).toBe("e/1");
  });

  it("what the server is told of the machine does not replace what the agent was given", () => {
    const env = { ...server.env, PATH: "/engine/bin", HOME: "/engine/home", TMPDIR: "/engine/tmp" };
    const command = turn({ mcpServer: { ...server, env } });
    expect(command.env).not.toHaveProperty("PATH");
    expect(command.env).not.toHaveProperty("HOME");
    expect(command.env["TMPDIR"]).toBe(gooseRequest().scratchDir);
  });

  it("gives the server by flag and its environment by Goose's own, so that a mark is never stored", () => {
    const command = turn({ mcpServer: server });
    expect(command.args).toContain("orchestrator-mcp:/usr/bin/node /pipe.js");
    expect(command.args.join(" ")).not.toContain("e/1");
    expect(command.env["MARK"]).toBe("e/1");
  });

  it("quotes the server's words as Goose splits them, and refuses what it can't split", () => {
    const words = ["a b", "it's", 'say "hi"', "back\\slash $HOME"];
    expect(turn({ mcpServer: { ...server, args: words } }).args).toContain(
      `orchestrator-mcp:/usr/bin/node 'a b' "it's" 'say "hi"' 'back\\slash $HOME'`,
    );
    expect(turn({ mcpServer: { ...server, command: "/a=b/node" } }).args).toContain(
      `orchestrator-mcp:/bin/sh -c 'exec "$@"' sh /a=b/node /pipe.js`,
    );
    for (const word of ["", `it's "both"`]) {
      expect(() => turn({ mcpServer: { ...server, args: [word] } })).toThrow(/Install under a path without quotes/);
    }
  });

  it.each([
    "/compact",
    "  \n/status",
    "\u0085/clear",
    "Please compact this conversation",
    " Please compact this conversation ",
  ])("a prompt that Goose would carry out itself gets words in front: %j", (prompt) => {
    expect(turn({ prompt }).stdin).toBe(`The message:\n\n${prompt}`);
  });

  it("no prompt changes the command line, and each arrives whole", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.boolean(), (prompt, isContinued) => {
        const base = { session: isContinued ? session : null, mcpServer: server };
        const command = turn({ ...base, prompt });
        expect(command.args).toEqual(turn({ ...base, prompt: "other" }).args);
        expect(command.stdin?.endsWith(prompt)).toBe(true);
        expect(command.stdin?.trim()).not.toMatch(/^\//);
      }),
    );
  });

  it("asks for JSON when the answer has a schema", () => {
    expect(turn({ outputSchema: { type: "object", title: "Plan" } }).stdin).toMatch(
      /^do it\n\n.*```json[^]*"title":"Plan"/,
    );
  });

  it("a system prompt is given as one argument, a very long one with the prompt", () => {
    expect(turn({ systemPrompt: "- be kind" }).args).toContain("--system=- be kind");
    const long = "x".repeat(150_000);
    const command = turn({ systemPrompt: long });
    expect(command.stdin).toBe(`${long}\n\ndo it`);
    expect(command.args.join(" ").length).toBeLessThan(1000);
  });

  it("a provider's own arguments come first and may name the subcommand", () => {
    expect(turn({}, { ...gooseProvider, args: ["-y", "goose"] }).args.slice(0, 3)).toEqual(["-y", "goose", "run"]);
    const limited = turn({}, { ...gooseProvider, args: ["run", "--max-turns", "50"] }).args;
    expect(limited.slice(0, 4)).toEqual(["run", "--max-turns", "50", "--quiet"]);
  });

  it("CLAUDE.md reaches Goose where there is no AGENTS.md", () => {
    expect(turn().env["CONTEXT_FILE_NAMES"]).toBeUndefined();
    put("CLAUDE.md", "be kind");
    expect(turn().env["CONTEXT_FILE_NAMES"]).toContain("CLAUDE.md");
    put("AGENTS.md", "be kind");
    expect(turn().env["CONTEXT_FILE_NAMES"]).toBeUndefined();
  });

  it("never turns the user's keyring off", () => {
    expect(Object.keys(gooseBackend.defaultEnv)).not.toContain("GOOSE_DISABLE_KEYRING");
    expect(gooseBackend.defaultEnv["GOOSE_DISABLE_SESSION_NAMING"]).toBe("true");
  });

  it("names how to install a missing CLI", async () => {
    await expect(gooseBackend.locate({ ...gooseProvider, command: "no-such-goose" }, folder)).rejects.toMatchObject({
      code: "AGENT_CLI_MISSING",
      message: expect.stringContaining("no-such-goose"),
    });
    put("goose", "#!/bin/sh\n");
    await expect(gooseBackend.locate(gooseProvider, folder)).rejects.toMatchObject({ code: "AGENT_CLI_MISSING" });
  });
});

describe("B5, A3: a role's model", () => {
  it.each([
    ["gpt-4o", ["--model=gpt-4o"]],
    ["ollama/qwen2.5:7b", ["--provider=ollama", "--model=qwen2.5:7b"]],
    ["ollama/hf.co/bartowski/Llama:Q4", ["--provider=ollama", "--model=hf.co/bartowski/Llama:Q4"]],
    ["lmstudio/qwen/qwen3-8b", ["--provider=lmstudio", "--model=qwen/qwen3-8b"]],
    ["lm-studio/m", ["--provider=lmstudio", "--model=m"]],
    ["llama.cpp/m", ["--provider=llama_swap", "--model=m"]],
    ["llama_swap/m", ["--provider=llama_swap", "--model=m"]],
    ["custom_mine/m", ["--provider=custom_mine", "--model=m"]],
    ["qwen/qwen3-8b", ["--model=qwen/qwen3-8b"]],
    ["openrouter/anthropic/claude-x", ["--provider=openrouter", "--model=anthropic/claude-x"]],
    ["constructor/m", ["--model=constructor/m"]],
  ])("%s", (model, expected) => {
    const args = turn({ model }).args;
    expect(args.filter((arg) => /^--(?:provider|model)=/.test(arg))).toEqual(expected);
  });

  it.each(["", "ollama/", "/m", " "])("%j is refused", (model) => {
    expect(() => turn({ model })).toThrow(/has no model name/);
  });
});

describe("A1: a role's tools and permissions", () => {
  const flags = (changes: Parameters<typeof gooseRequest>[0]) => turn(changes).args.slice(4, -1).join(" ");

  it("read has nothing that writes", () => {
    expect(flags({ permissions: "read" })).toMatch(
      /^--no-profile --with-extension worktree:\S+ \S*goose-read-server\.js read_file,list_files,search,git$/,
    );
  });

  it("a reading role can be limited further, also in another CLI's words", () => {
    expect(flags({ permissions: "read", tools: ["Read", "Grep"] })).toMatch(/ read_file,search$/);
    expect(flags({ permissions: "read", tools: [] })).toBe("--no-profile");
  });

  it("a reading role whose tools write is refused", () => {
    expect(() => turn({ permissions: "read", tools: ["Read", "Bash"] })).toThrow(/may only read.*`shell`/);
  });

  it("full adds code maps, skills and a to-do list", () => {
    expect(flags({ permissions: "full" })).toBe("--no-profile --with-builtin developer,analyze,skills,todo");
  });

  it("some of the developer tools are given by an allow-list", () => {
    const command = turn({ tools: ["shell", "Read"] });
    expect(command.args.join(" ")).toContain("goose-read-server.js read_file");
    const extensions = JSON.parse(command.env["EXTENSIONS"] ?? "") as Record<string, { available_tools: string[] }>;
    expect(extensions).toEqual({ developer: expect.objectContaining({ available_tools: ["shell"] }) });
  });

  it("a tool that Goose has not is refused by name", () => {
    expect(() => turn({ tools: ["Teleport"] })).toThrow(/no tool `Teleport`.*read_file/);
  });
});

describe("a repository's plugins do not run", () => {
  const environment = () => ({ HOME: join(folder, "home") });
  const worktree = () => join(folder, "tree");
  const mapOf = (env: Record<string, string>) => JSON.parse(env["PLUGINS"] ?? "null") as unknown;

  it("nothing is set where the worktree brings none", () => {
    put("tree/.agents/skills/x/SKILL.md");
    expect(goosePluginEnvironment(worktree(), environment())).toEqual({});
  });

  it("each plugin of the worktree is off, the user's own stay as they are", () => {
    put("tree/.agents/plugins/evil/hooks/hooks.json");
    put('tree/.agents/plugins/we"ird\n/hooks/hooks.json');
    put("home/.agents/plugins/on/plugin.json");
    put("home/.agents/plugins/off/plugin.json");
    put("home/.config/goose/config.yaml", `plugins:\n  ${folder}/home/.agents/plugins/off:\n    enabled: false\n`);
    expect(mapOf(goosePluginEnvironment(worktree(), environment()))).toEqual({
      [`${folder}/home/.agents/plugins/on`]: { enabled: true },
      [`${folder}/home/.agents/plugins/off`]: { enabled: false },
      [`${folder}/tree/.agents/plugins/evil`]: { enabled: false },
      [`${folder}/tree/.agents/plugins/we"ird\n`]: { enabled: false },
    });
  });

  it("a worktree reached by a link is known under its real path, which Goose sees", () => {
    put("tree/.agents/plugins/evil/hooks/hooks.json");
    symlinkSync(worktree(), join(folder, "link"));
    expect(mapOf(goosePluginEnvironment(join(folder, "link"), environment()))).toHaveProperty([
      `${folder}/tree/.agents/plugins/evil`,
    ]);
  });

  it("a config that says the worktree's plugin is on does not win", () => {
    put("tree/.agents/plugins/evil/hooks/hooks.json");
    put("home/.config/goose/config.yaml", `plugins:\n  ${folder}/tree/.agents/plugins/evil:\n    enabled: true\n`);
    expect(mapOf(goosePluginEnvironment(worktree(), environment()))).toEqual({
      [`${folder}/tree/.agents/plugins/evil`]: { enabled: false },
    });
  });

  it.each(["plugins: 3", ":\n\t{", "", "plugins:\n  a: null"])("a config %j does not stop it", (config) => {
    put("tree/.agents/plugins/evil/hooks/hooks.json");
    put("xdg/goose/config.yaml", config);
    const env = goosePluginEnvironment(worktree(), { XDG_CONFIG_HOME: join(folder, "xdg") });
    expect(mapOf(env)).toHaveProperty([`${folder}/tree/.agents/plugins/evil`], { enabled: false });
  });

  it("is part of every turn, a continued one too", () => {
    put(".agents/plugins/evil/hooks/hooks.json");
    for (const changes of [{}, { session }]) {
      expect(parse(turn(changes).env["PLUGINS"] ?? "")).toHaveProperty([`${folder}/.agents/plugins/evil`]);
    }
  });

  it("asks the turn's environment where Goose's home is, not the engine's", () => {
    put(".agents/plugins/evil/hooks/hooks.json");
    put("root/.agents/plugins/off/plugin.json");
    put("root/config/config.yaml", `plugins:\n  ${folder}/root/.agents/plugins/off:\n    enabled: false\n`);
    const { env } = turn({ environment: { HOME: "/nowhere", GOOSE_PATH_ROOT: join(folder, "root") } });
    expect(parse(env["PLUGINS"] ?? "")).toEqual({
      [`${folder}/.agents/plugins/evil`]: { enabled: false },
      [`${folder}/root/.agents/plugins/off`]: { enabled: false },
    });
  });
});

describe("finding JSON in last words", () => {
  it.each([
    ['{"a":1}', { a: 1 }],
    ["[1]", [1]],
    ['Sure:\n```json\n{"a":"```sh"}\n```', { a: "```sh" }],
    ['```json\n{"a":1}\n```\nBetter:\n```\n{"a":2}\n```\n', { a: 2 }],
    ['```json\n{"a":1}\n```\n```sh\nls\n```', { a: 1 }],
    ['The plan is {"a":{"b":1}} as asked.', { a: { b: 1 } }],
    ["no json", undefined],
    ["3", undefined],
    ["{not json}", undefined],
  ])("%j", (text, expected) => {
    expect(findJson(text)).toEqual(expected);
  });
});
