import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ResolvedProvider, TurnCommand, TurnRequest } from "../../src/agents/backend.ts";
import { claudeBackend } from "../../src/agents/claude.ts";
import { turnRequest } from "./turn-request.ts";

const PROVIDER: ResolvedProvider = {
  name: "claude",
  kind: "claude",
  command: "claude",
  args: ["--effort=low"],
  file: "/usr/bin/claude",
};

const MCP_SERVER = {
  name: "orchestrator-mcp",
  command: "/usr/bin/node",
  args: ["/x/pipe-main.js"],
  env: { ORCHESTRATOR_ATTEMPT: "e/a" },
};

const TOTALS = { tokens: { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0 }, costUsd: null };

let worktree = "";

beforeEach(async () => {
  worktree = await mkdtemp(join(tmpdir(), "claude-turn-"));
});

afterEach(async () => {
  await rm(worktree, { recursive: true, force: true });
});

function build(change: Partial<TurnRequest> = {}): TurnCommand {
  return claudeBackend.buildTurn(turnRequest({ worktree, ...change }), PROVIDER);
}

function valuesOf(command: TurnCommand, option: string): string[] {
  return command.args.filter((arg) => arg.startsWith(`${option}=`)).map((arg) => arg.slice(option.length + 1));
}

/** The one message on its stdin. */
function promptOf({ stdin }: TurnCommand): string {
  const line = JSON.parse(stdin ?? "") as { type: string; message: { role: string; content: string } };
  expect(line).toMatchObject({ type: "user", message: { role: "user" } });
  return line.message.content;
}

describe("B2: a session is started and continued", () => {
  test("a new one has the attempt's id, so that it is known before the process starts", () => {
    const command = build();
    expect(valuesOf(command, "--session-id")).toEqual(["0b8f7a52-1111-4222-8333-444455556666"]);
    expect(valuesOf(command, "--resume")).toEqual([]);
    expect(command).toMatchObject({ file: "/usr/bin/claude", cwd: worktree, hearsMore: true });
    expect(promptOf(command)).toBe("do the work");
    expect(command.env["TMPDIR"]).toBe("/nowhere/scratch");
    expect(command.args[0]).toBe("--effort=low");
  });

  test("a known one is resumed, without an id of our own, which the CLI would refuse", () => {
    const command = build({ session: { id: "session-1", totals: TOTALS } });
    expect(valuesOf(command, "--resume")).toEqual(["session-1"]);
    expect(valuesOf(command, "--session-id")).toEqual([]);
  });

  test("an attempt whose id is no UUID is refused before anything starts", () => {
    expect(() => build({ attemptId: "a-1" })).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  });
});

describe("the prompt", () => {
  test("is on stdin and never on the command line, whatever it looks like", () => {
    for (const prompt of ["--help secret-words", "-p secret-words", "secret-words\n".repeat(1000), "/secret-words"]) {
      const command = build({ prompt, systemPrompt: "secret-words", mcpServer: MCP_SERVER });
      expect(command.stdin).toContain("secret-words");
      expect(JSON.stringify([command.args, command.env])).not.toContain("secret-words");
    }
  });

  test("that begins like a slash command is not left to be one", () => {
    expect(promptOf(build({ prompt: "/clear" }))).toBe("The task:\n\n/clear");
    expect(promptOf(build({ prompt: " \n/clear" }))).toMatch(/^The task:/);
    expect(promptOf(build({ prompt: "see /clear" }))).toBe("see /clear");
  });

  test("that is empty or larger than the CLI takes is refused with what to do", () => {
    expect(() => build({ prompt: " \n" })).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
    expect(() => build({ prompt: "é".repeat(5_000_001) })).toThrow(/10000002 bytes.*10000000 at most.*file/s);
    expect(promptOf(build({ prompt: "x".repeat(10_000_000) }))).toHaveLength(10_000_000);
  });
});

test("a turn can be told more, save one that is to answer in a form", () => {
  const open = build();
  expect(open.args).toEqual(expect.arrayContaining(["--input-format=stream-json", "--replay-user-messages"]));
  const line = claudeBackend.lineFor?.("id-1", "/clear\nthat") ?? "";
  expect(line.indexOf("\n")).toBe(line.length - 1);
  expect(JSON.parse(line)).toEqual({ type: "user", message: { role: "user", content: "/clear\nthat" }, uuid: "id-1" });
  const closed = build({ outputSchema: { type: "object" } });
  expect(closed.args.join(" ")).not.toContain("input-format");
  expect(closed).toMatchObject({ stdin: "do the work", hearsMore: false });
});

describe("A1: model, system prompt and tools of the role take effect", () => {
  test("model and system prompt", () => {
    const command = build({ model: "opus", systemPrompt: "You review." });
    expect(valuesOf(command, "--model")).toEqual(["opus"]);
    expect(valuesOf(command, "--append-system-prompt-file")).toEqual([command.files[0]?.path]);
    expect(command.files[0]?.content).toBe("You review.");
  });

  test("without them the CLI's own are left alone", () => {
    const command = build();
    expect(command.args.some((arg) => /^--(model|append|mcp-config|json-schema|tools)/.test(arg))).toBe(false);
    expect(command.files).toEqual([]);
  });

  test("tools may be names or rules; naming one allows it, writing is left to the permission mode", () => {
    const command = build({ tools: ["Read", "Edit", "Bash(git diff *)", "Bash(git log *)", "WebFetch", "mcp__x__y"] });
    expect(valuesOf(command, "--tools")).toEqual(["Read,Edit,Bash,WebFetch"]);
    expect(valuesOf(command, "--allowedTools")).toEqual([
      "Read",
      "Bash(git diff *)",
      "Bash(git log *)",
      "WebFetch",
      "mcp__x__y",
    ]);
  });

  test("an output schema is given, one that no argument can hold is refused", () => {
    expect(valuesOf(build({ outputSchema: { type: "object" } }), "--json-schema")).toEqual(['{"type":"object"}']);
    expect(() => build({ outputSchema: { description: "x".repeat(140_000) } })).toThrow(/output schema/);
  });
});

describe("permissions", () => {
  test("read: no tool that writes, no shell unless the role names it", () => {
    const command = build({ permissions: "read", mcpServer: MCP_SERVER });
    expect(valuesOf(command, "--permission-mode")).toEqual(["dontAsk"]);
    expect(valuesOf(command, "--tools")).toEqual(["Read,Grep,Glob"]);
    expect(valuesOf(command, "--allowedTools")).toEqual(["mcp__orchestrator-mcp"]);
    expect(valuesOf(command, "--disallowedTools")[0]).toMatch(/\bEdit,Write,NotebookEdit\b/);
    const named = build({ permissions: "read", tools: ["Read", "Bash", "Write"] });
    expect(valuesOf(named, "--allowedTools")).toEqual(["Read"]);
  });

  test("edit: writes in the worktree, Bash and our tools", () => {
    const command = build({ mcpServer: MCP_SERVER });
    expect(valuesOf(command, "--permission-mode")).toEqual(["acceptEdits"]);
    expect(valuesOf(command, "--allowedTools")).toEqual(["Bash", "mcp__orchestrator-mcp"]);
    expect(command.env["IS_SANDBOX"]).toBeUndefined();
  });

  test("full: nothing is asked, also as root", () => {
    const command = build({ permissions: "full" });
    expect(valuesOf(command, "--permission-mode")).toEqual(["bypassPermissions"]);
    expect(command.env["IS_SANDBOX"]).toBe("1");
  });

  test("no tool that reaches other worktrees, later times or the user's other sessions", () => {
    for (const permissions of ["read", "edit", "full"] as const) {
      expect(valuesOf(build({ permissions }), "--disallowedTools")[0]).toMatch(
        /EnterWorktree.*CronCreate.*SendMessage/,
      );
    }
  });
});

describe("what the repository and the user have set up", () => {
  test("only our MCP server is there, its tools at hand, its environment in a file and not on the command line", () => {
    const command = build({ mcpServer: MCP_SERVER });
    expect(command.args).toContain("--strict-mcp-config");
    expect(valuesOf(command, "--mcp-config")).toEqual(["/nowhere/scratch/claude-mcp.json"]);
    const config: unknown = JSON.parse(command.files[0]?.content ?? "");
    expect(config).toEqual({
      mcpServers: {
        "orchestrator-mcp": {
          type: "stdio",
          command: "/usr/bin/node",
          args: ["/x/pipe-main.js"],
          env: { ORCHESTRATOR_ATTEMPT: "e/a" },
          alwaysLoad: true,
          timeout: 300_000,
        },
      },
    });
    expect(build().args).toContain("--strict-mcp-config");
  });

  test("only the user's settings count; the worktree's CLAUDE.md comes as that of an added folder", () => {
    const command = build();
    expect(command.args).toContain("--setting-sources=user");
    expect(valuesOf(command, "--add-dir")).toEqual([worktree]);
    expect(command.env["CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD"]).toBe("1");
  });

  test("AGENTS.md reaches the model where there is no CLAUDE.md", async () => {
    await writeFile(join(worktree, "AGENTS.md"), "Use tabs.");
    expect(build({ systemPrompt: "You review." }).files[0]?.content).toBe(
      "You review.\n\nThis repository's instructions for agents (AGENTS.md):\n\nUse tabs.",
    );
    await mkdir(join(worktree, ".claude"));
    await writeFile(join(worktree, ".claude", "CLAUDE.md"), "see AGENTS.md");
    expect(build().files).toEqual([]);
  });

  test("an AGENTS.md that leads out of the worktree is not read", async () => {
    const outside = await mkdtemp(join(tmpdir(), "claude-outside-"));
    try {
      await writeFile(join(outside, "secret"), "key");
      await symlink(join(outside, "secret"), join(worktree, "AGENTS.md"));
      expect(build().files).toEqual([]);
    } finally {
      await rm(outside, { recursive: true });
    }
  });
});

describe("The program", () => {
  test("that is missing is told with how to install it", async () => {
    const provider = { name: "main", kind: "claude", command: "claude-missing", args: [] } as const;
    await expect(claudeBackend.locate(provider, "/usr/bin:/bin")).rejects.toMatchObject({
      code: "AGENT_CLI_MISSING",
      message: expect.stringMatching(/main.*claude-missing.*npm install -g @anthropic-ai\/claude-code/),
    });
  });

  test("is found with its absolute path", async () => {
    const provider = { name: "main", kind: "claude", command: "sh", args: [] } as const;
    expect(await claudeBackend.locate(provider, "/nowhere:/bin")).toEqual({ ...provider, file: "/bin/sh" });
  });

  test("reports nothing home, does not update itself, and gives up within a minute", () => {
    expect(claudeBackend.defaultEnv).toMatchObject({
      DISABLE_TELEMETRY: "1",
      DISABLE_AUTOUPDATER: "1",
      CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: "1",
      CLAUDE_CODE_MAX_RETRIES: "6",
    });
    expect(claudeBackend.defaultPassEnv).not.toContain("AWS_*");
  });
});
