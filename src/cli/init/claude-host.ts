/**
 * Claude Code: `mcpServers` of `.claude.json`, the user's scope (2.1.329; `claude mcp add` can't set `alwaysLoad`, without
 * which the tools hide behind a search). Claude itself writes the file often, also while we do: only our key is touched.
 */
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { applyEdits, modify, parse, type ParseError } from "jsonc-parser";
import { formattingOf } from "../../config/edit.ts";
import { AppError } from "../../errors.ts";
import { readProgram, SERVER_KEY, type Host } from "./host.ts";

const PATH = ["mcpServers", SERVER_KEY];

export const claudeHost: Host = {
  name: "Claude Code",
  program: "claude",
  removal: `claude mcp remove --scope user ${SERVER_KEY}`,
  file: (environment, userHome) => join(environment["CLAUDE_CONFIG_DIR"] || userHome, ".claude.json"),
  find: async (text) => find(text),
  add: async (text, { command, args }) => edited(text, { type: "stdio", command, args, alwaysLoad: true }),
  takeOut: (text) => edited(text, undefined),
};

function find(text: string): ReturnType<typeof readProgram> | null {
  const entry = serversOf(text)[SERVER_KEY];
  if (entry === undefined) return null;
  return isObject(entry) ? readProgram(entry["command"], entry["args"]) : readProgram(null, null);
}

function edited(text: string, entry: object | undefined): string {
  const before = serversOf(text);
  const start = text.trim() === "" ? "{}" : text;
  const after = applyEdits(start, modify(start, PATH, entry, { formattingOptions: formattingOf(text) }));
  const { [SERVER_KEY]: _ours, ...others } = before;
  const expected = entry === undefined ? others : { ...others, [SERVER_KEY]: entry };
  if (!isDeepStrictEqual(serversOf(after), expected)) throw notUnderstood("it can't be changed without other changes");
  return text.trim() === "" ? `${after}\n` : after;
}

function serversOf(text: string): Record<string, unknown> {
  if (text.trim() === "") return {};
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { disallowComments: true, allowTrailingComma: false });
  if (errors.length > 0 || !isObject(value)) throw notUnderstood("it is not a JSON object");
  const servers = value["mcpServers"];
  if (servers === undefined) return {};
  if (!isObject(servers)) throw notUnderstood("its mcpServers is not an object");
  return servers;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notUnderstood(what: string): AppError {
  return new AppError("CONFIG_INVALID", what);
}
