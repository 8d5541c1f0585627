import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TurnRequest } from "../../src/agents/backend.ts";
import { codexBackend } from "../../src/agents/codex.ts";
import { tomlString, tomlStrings, tomlTable } from "../../src/agents/codex-toml.ts";
import { sessionOf, turnRequest } from "./codex-support.ts";

const provider = { name: "codex", kind: "codex", command: "codex", args: [], file: "/bin/codex" } as const;
const THREAD = "01a1fbdb-b278-75c2-bc5d-a8fedd7d0eed";

function build(change: Partial<TurnRequest> = {}) {
  return codexBackend.buildTurn(turnRequest(change), provider);
}

/** The values given by `-c`, by their key. */
function settingsOf(args: readonly string[]): Map<string, string> {
  const pairs = args.filter((_, index) => args[index - 1] === "-c").map((setting) => setting.split(/=(.*)/s));
  return new Map(pairs.map(([key = "", value = ""]) => [key, value]));
}

describe("the command of a turn", () => {
  it("B3: has the prompt on stdin and never among its arguments", () => {
    const text = fc.string({ minLength: 12 }).filter((prompt) => prompt.trim().length > 10);
    fc.assert(
      fc.property(text, fc.boolean(), (prompt, isContinued) => {
        const command = build({ prompt, session: isContinued ? sessionOf(THREAD) : null });
        expect(command.stdin).toBe(prompt);
        expect(command.args.filter((argument) => argument.includes(prompt))).toEqual([]);
        expect(command.args.at(-1)).toBe("-");
      }),
    );
  });

  it("B3: continues a thread with every flag before `resume`, which takes none of them", () => {
    const args = build({ session: sessionOf(THREAD), model: "gpt-5.5" }).args;
    expect(args.slice(0, 2)).toEqual(["exec", "--json"]);
    expect(args.slice(-3)).toEqual(["resume", THREAD, "-"]);
  });

  it.each(["", "not-a-uuid", "--last", `${THREAD}x`, `${THREAD}\n`])(
    "refuses %j as a thread: Codex would begin a new one",
    (id) => {
      expect(() => build({ session: sessionOf(id) })).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
    },
  );

  it("A1, A3: puts the provider's arguments first and takes model, instructions and schema of the role", () => {
    const outputSchema = { type: "object" };
    const request = turnRequest({ model: "m-1", systemPrompt: 'Be "kind"', outputSchema });
    const command = codexBackend.buildTurn(request, { ...provider, args: ["--profile", "x"] });
    expect(command.args.slice(0, 3)).toEqual(["--profile", "x", "exec"]);
    expect(command.args[command.args.indexOf("--model") + 1]).toBe("m-1");
    expect(settingsOf(command.args).get("developer_instructions")).toBe('"Be \\"kind\\""');
    const schemaFile = command.args[command.args.indexOf("--output-schema") + 1];
    expect(command.files).toContainEqual({ path: schemaFile, content: JSON.stringify(outputSchema) });
    expect(dirname(schemaFile ?? "")).toBe(request.scratchDir);
  });

  it("A1: leaves a setting of the provider's own arguments as it is there", () => {
    const key = "sandbox_workspace_write.network_access";
    const argsWith = (args: readonly string[]) => codexBackend.buildTurn(turnRequest(), { ...provider, args }).args;
    for (const args of [["-c", `${key}=true`], ["--config", `${key}=true`], [`--config=${key}=true`]]) {
      expect(argsWith(args).filter((argument) => argument.includes(key))).toEqual([args.at(-1)]);
    }
    expect(argsWith(["-c", `${key}_x=true`])).toContain(`${key}=false`);
  });

  it("puts instructions that are too long for an argument before the prompt", () => {
    const systemPrompt = "ü".repeat(70_000);
    const command = build({ systemPrompt });
    expect(command.stdin).toBe(`${systemPrompt}\n\nDo the task.`);
    for (const argument of command.args) expect(Buffer.byteLength(argument)).toBeLessThan(131_072);
  });

  it("lets an editing agent write git's folders it commits with, and no more", () => {
    const { args, files, env } = build();
    const settings = settingsOf(args);
    expect(args[args.indexOf("--sandbox") + 1]).toBe("workspace-write");
    expect(JSON.parse(settings.get("sandbox_workspace_write.writable_roots") ?? "")).toEqual([
      "/repository/.git/worktrees/task",
      "/repository/.git/objects",
      "/repository/.git/refs/heads/orchestrator",
      "/repository/.git/logs/refs/heads/orchestrator",
      "/repository/.git/reftable",
      "/repository/.git/lfs",
    ]);
    expect(settings.get("sandbox_workspace_write.network_access")).toBe("false");
    expect(settings.get("sandbox_workspace_write.exclude_slash_tmp")).toBe("true");
    expect(env).toEqual({ TMPDIR: "/s/attempt-1" });
    expect(files.map(({ path }) => dirname(path))).toEqual([
      "/repository/.git/refs/heads/orchestrator",
      "/repository/.git/logs/refs/heads/orchestrator",
    ]);
  });

  it.each([
    ["read", "read-only"],
    ["full", "danger-full-access"],
  ] as const)("runs `%s` as %s and touches nothing of git's", (permissions, mode) => {
    const { args, files } = build({ permissions });
    expect(args[args.indexOf("--sandbox") + 1]).toBe(mode);
    expect(files).toEqual([]);
  });

  it("gives its MCP server whole, so that one of that name in the user's config changes nothing", () => {
    const mcpServer = {
      name: "orchestrator-mcp",
      command: "/n/node",
      args: ['a "b"'],
      env: { ORCHESTRATOR_ATTEMPT: "e/1" },
    };
    const settings = settingsOf(build({ mcpServer }).args);
    const of = (key: string) => settings.get(`mcp_servers.orchestrator-mcp.${key}`);
    expect(of("command")).toBe('"/n/node"');
    expect(of("args")).toBe('["a \\"b\\""]');
    expect(of("env")).toBe('{"ORCHESTRATOR_ATTEMPT"="e/1"}');
    expect(of("cwd")).toBe('"/w/task"');
    expect([of("enabled"), of("required"), of("disabled_tools")]).toEqual(["true", "true", "[]"]);
    expect(of("default_tools_approval_mode")).toBe('"approve"');
    expect(settingsOf(build().args).has("mcp_servers.orchestrator-mcp.command")).toBe(false);
  });

  it("A1: switches off what a role's tools do not name, as far as Codex can", () => {
    const off = ["features.shell_tool", "tools.view_image", "web_search"];
    const settingsFor = (tools: readonly string[] | null) => {
      const settings = settingsOf(build({ tools }).args);
      return off.filter((key) => settings.has(key));
    };
    expect(settingsFor(null)).toEqual([]);
    expect(settingsFor([])).toEqual(off);
    expect(settingsFor(["shell"])).toEqual(["tools.view_image", "web_search"]);
    expect(settingsFor(["exec_command", "web_search", "view_image"])).toEqual([]);
  });
});

describe("TOML as it is given to `codex -c`", () => {
  it("reads back as what was meant, whatever is in it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        // A TOML basic string of these escapes only is a JSON string, too.
        expect(JSON.parse(tomlString(text))).toBe(text);
      }),
    );
    expect(tomlString("\u007f\u0000\n")).toBe('"\\u007f\\u0000\\u000a"');
    expect(tomlString("\ud800")).toBe('"\ufffd"');
    expect(tomlStrings(["a", 'b"'])).toBe('["a","b\\""]');
    expect(tomlTable({ 'a "b"': "c\\" })).toBe('{"a \\"b\\""="c\\\\"}');
  });
});

describe("B1: locating the program", () => {
  let folder: string;
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "codex-locate-")));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const names: Readonly<Record<string, readonly [string, string]>> = {
    "linux-x64": ["codex-linux-x64", "x86_64-unknown-linux-musl"],
    "linux-arm64": ["codex-linux-arm64", "aarch64-unknown-linux-musl"],
    "darwin-x64": ["codex-darwin-x64", "x86_64-apple-darwin"],
    "darwin-arm64": ["codex-darwin-arm64", "aarch64-apple-darwin"],
  };
  const [nativePackage, triple] = names[`${process.platform}-${process.arch}`] ?? ["", ""];

  function program(...path: string[]): string {
    const file = join(folder, ...path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, "#!/bin/sh\n");
    chmodSync(file, 0o755);
    return file;
  }

  const locate = async (command: string) =>
    (await codexBackend.locate({ name: "codex", kind: "codex", command, args: [] }, join(folder, "bin"))).file;

  it.each([
    ["laid beside it", ["lib", "node_modules", "@openai"]],
    ["nested in it", ["lib", "node_modules", "@openai", "codex", "node_modules", "@openai"]],
  ])("finds the native binary behind npm's wrapper, %s", async (_, place) => {
    const wrapper = program("lib", "node_modules", "@openai", "codex", "bin", "codex.js");
    const native = program(...place, nativePackage, "vendor", triple, "bin", "codex");
    mkdirSync(join(folder, "bin"));
    symlinkSync(wrapper, join(folder, "bin", "codex"));
    expect(await locate("codex")).toBe(native);
  });

  it("starts the file itself when it is no wrapper, or one whose binary is not there", async () => {
    const own = program("bin", "codex");
    expect(await locate("codex")).toBe(own);
    const wrapper = program("lib", "@openai", "codex", "bin", "codex.js");
    expect(await locate(wrapper)).toBe(wrapper);
  });

  it("says how to install it when it is missing", async () => {
    await expect(locate("codex")).rejects.toMatchObject({
      code: "AGENT_CLI_MISSING",
      message: expect.stringContaining("npm install -g @openai/codex"),
    });
  });
});
