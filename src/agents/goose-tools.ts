import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { AppError } from "../errors.ts";
import type { McpServerCommand, TurnRequest } from "./backend.ts";

/** Goose's built-in `developer` extension (1.52). None of its tools only reads a file: that is done by `shell`. */
const DEVELOPER_TOOLS = ["edit", "read_image", "shell", "tree", "write"] as const;
type DeveloperTool = (typeof DEVELOPER_TOOLS)[number];

/** The tools of `goose-read-server.ts`, the only ones that `read` allows besides our own server's. */
const READ_TOOLS = ["read_file", "list_files", "search", "git"] as const;
export type ReadTool = (typeof READ_TOOLS)[number];

/**
 * What `full` adds: code maps, skills, a to-do list. Not `summon` (subagents): it also takes recipes and agents of the
 * repository, and a recipe can name programs to start.
 */
const FULL_BUILTINS = ["developer", "analyze", "skills", "todo"];

/** Further tools that a Goose with its default profile has. */
const OTHER_TOOLS = ["analyze", "delegate", "load", "load_skill", "todo__todo_write"];

/** Under this name the model sees `worktree__read_file`. Not a name that Goose has itself. */
const READ_SERVER_NAME = "worktree";

/** Roles are written once and moved between kinds, so the other CLIs' names of the same things are understood. */
const ALIASES: Readonly<Record<string, DeveloperTool | ReadTool>> = {
  Bash: "shell",
  Write: "write",
  Edit: "edit",
  MultiEdit: "edit",
  LS: "list_files",
  Read: "read_file",
  Glob: "list_files",
  Grep: "search",
};

export interface GooseToolSetup {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Flags and environment that give a new session exactly the tools of its role: Goose's developer tools for `edit` and
 * `full`, our reading server for `read`, and the orchestrator's own server. A continued session has them stored, so
 * the flags are for new ones only.
 *
 * `read` is not one of Goose's modes because none works headless: `approve` and `smart_approve` end the whole run at
 * the first tool that would need a person, `chat` skips every tool, and permission.yaml is the user's. With
 * `--no-profile` and without `developer` there is nothing that could write, whatever the model calls.
 *
 * Throws AppError NOT_SUPPORTED for a tool that Goose has not, or that writes while the role may only read.
 */
export function gooseToolSetup(request: TurnRequest): GooseToolSetup {
  const names = request.tools?.map(knownTool) ?? null;
  const developer =
    request.permissions === "read" ? [] : DEVELOPER_TOOLS.filter((tool) => names?.includes(tool) ?? true);
  const reading = READ_TOOLS.filter((tool) => names?.includes(tool) ?? request.permissions === "read");
  const writing = DEVELOPER_TOOLS.filter((tool) => names?.includes(tool) ?? false);
  if (request.permissions === "read" && writing.length > 0) {
    throw new AppError(
      "NOT_SUPPORTED",
      `The role may only read, but its tools name \`${writing.join("`, `")}\`. ` +
        `With Goose a reading role has: ${READ_TOOLS.join(", ")}. Change the role's \`tools\` or its \`permissions\`.`,
      { details: { tools: writing } },
    );
  }
  const profile = profileSetup(developer, request.permissions === "full" && names === null);
  const servers = [
    ...(reading.length > 0 ? [readServer(reading)] : []),
    ...(request.mcpServer === null ? [] : [request.mcpServer]),
  ];
  const extensions = servers.flatMap((server) => ["--with-extension", extensionText(server)]);
  return { args: [...profile.args, ...extensions], env: profile.env };
}

/** Whether Goose has a tool of that name, with or without it being offered to a role. */
export function isGooseTool(name: string): boolean {
  return [...DEVELOPER_TOOLS, ...OTHER_TOOLS].includes(name);
}

function profileSetup(developer: readonly DeveloperTool[], isFull: boolean): GooseToolSetup {
  if (isFull) return { args: ["--no-profile", "--with-builtin", FULL_BUILTINS.join(",")], env: {} };
  if (developer.length === 0) return { args: ["--no-profile"], env: {} };
  if (developer.length === DEVELOPER_TOOLS.length) {
    return { args: ["--no-profile", "--with-builtin", "developer"], env: {} };
  }
  // No flag limits an extension's tools. The variable stands in for the config's key `extensions` and, like
  // --no-profile, hides the user's own; the session stores it (both seen).
  const limited = {
    enabled: true,
    type: "builtin",
    name: "developer",
    description: "Write and edit files, and execute shell commands",
    bundled: true,
    available_tools: developer,
  };
  return { args: [], env: { EXTENSIONS: JSON.stringify({ developer: limited }) } };
}

function knownTool(name: string): DeveloperTool | ReadTool {
  const tool = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  const known = [...DEVELOPER_TOOLS, ...READ_TOOLS];
  const found = known.find((candidate) => candidate === tool);
  if (found !== undefined) return found;
  throw new AppError(
    "NOT_SUPPORTED",
    `Goose has no tool \`${name}\`. ` +
      `A role with Goose can name: ${known.join(", ")}. Correct the role's \`tools\`, or leave them out.`,
    { details: { tool: name, known } },
  );
}

function readServer(tools: readonly ReadTool[]): McpServerCommand {
  return { name: READ_SERVER_NAME, command: process.execPath, args: [readServerFile(), tools.join(",")], env: {} };
}

/** The compiled server; from a source tree the one of the last build, since Node 20 runs no TypeScript. */
function readServerFile(): string {
  const here = fileURLToPath(import.meta.url);
  const folder = here.endsWith(".ts") ? join(dirname(here), "..", "..", "dist", "agents") : dirname(here);
  return join(folder, "goose-read-server.js");
}

/**
 * `NAME:COMMAND ARGS…` as Goose splits it: a word may stand in single or double quotes, in which everything is literal,
 * a backslash too; quotes do not join within a word and an empty word is lost (all seen). Leading words with `=` are
 * taken as environment, so such a command goes through sh. No environment is given here: see the top of `goose.ts`.
 */
function extensionText(server: McpServerCommand): string {
  const words = [server.command, ...server.args];
  const started = server.command.includes("=") ? ["/bin/sh", "-c", 'exec "$@"', "sh", ...words] : words;
  return `${server.name}:${started.map(quoteWord).join(" ")}`;
}

function quoteWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (word !== "" && !word.includes("\0")) {
    if (!word.includes("'")) return `'${word}'`;
    if (!word.includes('"')) return `"${word}"`;
  }
  throw new AppError(
    "NOT_SUPPORTED",
    `Goose can't be given an MCP server whose command has the word ${JSON.stringify(word)}: ` +
      "it takes no empty words and none with both kinds of quotes. Install under a path without quotes.",
    { details: { word } },
  );
}
