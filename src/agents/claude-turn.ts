import { readFileSync, realpathSync } from "node:fs";
import { join, sep } from "node:path";
import { AppError } from "../errors.ts";
import type { FileToWrite, McpServerCommand, ResolvedProvider, TurnCommand, TurnRequest } from "./backend.ts";

/** The CLI refuses more on stdin ("piped stdin input exceeds 10MB"). */
const MAX_PROMPT_BYTES = 10_000_000;

/** One argument may have 128 KiB on Linux, and E2BIG says nothing about which one it was. */
const MAX_ARGUMENT_BYTES = 128 * 1024 - 1;

/** A session id must be a UUID ("Invalid session ID. Must be a valid UUID."). */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Longer than any call of ours: a question is held 50 s, and a repeat after a restart of the engine begins anew. */
const MCP_TOOL_TIMEOUT_MS = 300_000;

/** What is taken of AGENTS.md: the CLI itself warns about instructions of more than 40 kB. */
const MAX_INSTRUCTIONS_LENGTH = 100_000;

const READING_TOOLS = ["Read", "Grep", "Glob"];
const WRITING_TOOLS = ["Edit", "Write", "NotebookEdit"];

/**
 * Tools that reach beyond the turn: other worktrees than the task's own, later times, the user's other sessions (they
 * share a folder of sockets).
 */
const TOOLS_OUT_OF_REACH = [
  "EnterWorktree",
  "ExitWorktree",
  "CronCreate",
  "CronDelete",
  "CronList",
  "ScheduleWakeup",
  "ListAgents",
  "SendMessage",
];

/**
 * The command for one turn. Reads the repository's AGENTS.md, nothing else. Throws AppError INPUT_INVALID for a prompt
 * or a schema that the CLI can't take.
 */
export function buildClaudeTurn(request: TurnRequest, provider: ResolvedProvider): TurnCommand {
  const files: FileToWrite[] = [];
  const args = [
    ...provider.args,
    "--print",
    "--output-format=stream-json",
    "--verbose",
    // Each piece of an answer as it comes. Not read, but a long answer then makes output all the time, so that silence
    // means that nothing happens.
    "--include-partial-messages",
    request.session === null ? `--session-id=${uuidOf(request.attemptId)}` : `--resume=${request.session.id}`,
    // The user's own settings sign in and set up models; the repository's would run its hooks, environment, key helper
    // and MCP servers without asking. That also leaves out its CLAUDE.md, which comes back as that of an added folder.
    "--setting-sources=user",
    `--add-dir=${request.worktree}`,
    "--strict-mcp-config",
    ...permissionArguments(request),
  ];
  if (request.mcpServer !== null) {
    const path = join(request.scratchDir, "claude-mcp.json");
    files.push({ path, content: mcpConfig(request.mcpServer) });
    args.push(`--mcp-config=${path}`);
  }
  if (request.maxCostUsd !== null) args.push(`--max-budget-usd=${costFence(request)}`);
  if (request.model !== null) args.push(`--model=${request.model}`);
  const systemPrompt = systemPromptOf(request);
  if (systemPrompt !== null) {
    // Also when continuing: the session's record of its first prompt wins until it is compacted, then this one counts.
    const path = join(request.scratchDir, "claude-system-prompt.md");
    files.push({ path, content: systemPrompt });
    args.push(`--append-system-prompt-file=${path}`);
  }
  // An answer in a form is asked for once: nobody talks to it meanwhile.
  const hearsMore = request.outputSchema === null;
  if (hearsMore) args.push("--input-format=stream-json", "--replay-user-messages");
  if (request.outputSchema !== null) args.push(`--json-schema=${schemaArgument(request.outputSchema)}`);
  const prompt = stdinOf(request.prompt);
  return {
    file: provider.file,
    args,
    env: {
      // There the CLI keeps large outputs and the sockets by which sessions of one user find each other.
      TMPDIR: request.scratchDir,
      CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD: "1",
      // Without it the CLI refuses to bypass permissions as root. Who configured `full` said so knowingly.
      ...(request.permissions === "full" ? { IS_SANDBOX: "1" } : {}),
    },
    cwd: request.worktree,
    stdin: hearsMore ? inputLine(null, prompt) : prompt,
    hearsMore,
    files,
  };
}

/**
 * Nothing that is not above zero is taken. The CLI holds it against what this process spends, whatever its session cost
 * before (2.1.329, seen), and looks after each request, so that it stops one request late.
 */
function costFence({ maxCostUsd }: TurnRequest): string {
  return Math.max(0.0001, maxCostUsd ?? 0).toFixed(4);
}

/**
 * One message on stdin with `--input-format=stream-json`. The CLI repeats it with its id (`--replay-user-messages`) when
 * it takes it up: between two steps of a turn under way, after the next result of a tool, or in a turn of its own.
 */
export function inputLine(id: string | null, text: string): string {
  const message = { type: "user", message: { role: "user", content: text }, ...(id === null ? {} : { uuid: id }) };
  return `${JSON.stringify(message)}\n`;
}

/** The MCP server's name as it stands in the names of its tools. */
export function mcpToolPrefix(server: McpServerCommand): string {
  return `mcp__${server.name.replaceAll(/[^A-Za-z0-9_-]/g, "_")}`;
}

/**
 * Nobody can be asked in print mode: what is not allowed is denied and the run goes on. `acceptEdits` allows writing in
 * the worktree (a bare `Write` in the allowed tools would allow it everywhere), and Bash is allowed as a whole. `read`
 * has no tool that writes, and Bash only when the role names it: then the CLI lets through what it knows to be reading.
 */
function permissionArguments(request: TurnRequest): string[] {
  const isReading = request.permissions === "read";
  const named = request.tools ?? (isReading ? READING_TOOLS : null);
  const allowed = request.tools === null ? (isReading ? [] : ["Bash"]) : allowedOf(request.tools, isReading);
  if (request.mcpServer !== null) allowed.push(mcpToolPrefix(request.mcpServer));
  const denied = isReading ? [...TOOLS_OUT_OF_REACH, ...WRITING_TOOLS] : TOOLS_OUT_OF_REACH;
  const args = [`--permission-mode=${modeOf(request)}`];
  if (named !== null) args.push(`--tools=${builtInNames(named).join(",")}`);
  for (const rule of allowed) args.push(`--allowedTools=${rule}`);
  args.push(`--disallowedTools=${denied.join(",")}`);
  return args;
}

function modeOf(request: TurnRequest): string {
  switch (request.permissions) {
    case "read":
      return "dontAsk";
    case "edit":
      return "acceptEdits";
    case "full":
      return "bypassPermissions";
  }
}

/** A role's tools may be names (`Read`) or rules (`Bash(git diff *)`). Naming a tool allows it, save writing (mode). */
function allowedOf(tools: readonly string[], isReading: boolean): string[] {
  return tools.filter((tool) => {
    if (WRITING_TOOLS.includes(nameOf(tool))) return false;
    return !(isReading && tool === "Bash");
  });
}

/** `--tools` knows names of built-in tools only; an MCP tool among a role's tools is a matter of allowing it. */
function builtInNames(tools: readonly string[]): string[] {
  return [...new Set(tools.map(nameOf))].filter((name) => !name.startsWith("mcp__"));
}

function nameOf(tool: string): string {
  return tool.split("(", 1)[0]?.trim() ?? tool;
}

function mcpConfig(server: McpServerCommand): string {
  const entry = {
    type: "stdio",
    command: server.command,
    args: server.args,
    env: server.env,
    // Without it the model sees only the names of the tools and has to look them up first.
    alwaysLoad: true,
    timeout: MCP_TOOL_TIMEOUT_MS,
  };
  return `${JSON.stringify({ mcpServers: { [server.name]: entry } }, null, 2)}\n`;
}

function systemPromptOf(request: TurnRequest): string | null {
  const parts = [request.systemPrompt, instructionsOf(request.worktree)].filter((part) => part !== null);
  return parts.length === 0 ? null : parts.join("\n\n");
}

/**
 * AGENTS.md, which the CLI itself reads only where there is no CLAUDE.md, and not at all in an added folder. A link that
 * leads out of the worktree is not followed: a repository could have a file of the user's sent to the model.
 */
function instructionsOf(worktree: string): string | null {
  if (readInside(worktree, "CLAUDE.md") !== null || readInside(worktree, join(".claude", "CLAUDE.md")) !== null) {
    return null;
  }
  const text = readInside(worktree, "AGENTS.md");
  if (text === null || text.trim() === "") return null;
  return `This repository's instructions for agents (AGENTS.md):\n\n${text.slice(0, MAX_INSTRUCTIONS_LENGTH)}`;
}

function readInside(folder: string, name: string): string | null {
  try {
    const root = realpathSync(folder);
    const file = realpathSync(join(root, name));
    return file.startsWith(`${root}${sep}`) ? readFileSync(file, "utf8") : null;
  } catch {
    // Not there, a folder, or unreadable: then there are no instructions.
    return null;
  }
}

/** A prompt that begins with `/` would be taken as a slash command (`/clear`: no request, an empty answer, success). */
function stdinOf(prompt: string): string {
  const text = prompt.trimStart().startsWith("/") ? `The task:\n\n${prompt}` : prompt;
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_PROMPT_BYTES) {
    throw new AppError(
      "INPUT_INVALID",
      `the prompt has ${bytes} bytes, Claude Code takes ${MAX_PROMPT_BYTES} at most. ` +
        "Put the long part into a file of the repository and name the file in the prompt.",
      { details: { bytes, maxBytes: MAX_PROMPT_BYTES } },
    );
  }
  if (text.trim() === "") throw new AppError("INPUT_INVALID", "the prompt is empty: say what the agent should do");
  return text;
}

function schemaArgument(schema: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(schema);
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_ARGUMENT_BYTES - "--json-schema=".length) return text;
  throw new AppError("INPUT_INVALID", `the output schema has ${bytes} bytes, more than one argument can hold`, {
    details: { bytes, maxBytes: MAX_ARGUMENT_BYTES },
  });
}

function uuidOf(attemptId: string): string {
  if (UUID.test(attemptId)) return attemptId;
  throw new AppError(
    "INTERNAL",
    `the attempt's id ${JSON.stringify(attemptId)} is no UUID, so it can't name a Claude session`,
    { details: { attemptId } },
  );
}
