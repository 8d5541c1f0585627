/**
 * Codex: a table of config.toml (0.169; `codex mcp add` can't set what a server without a person needs). The table is
 * added as text at the end, and Codex itself says whether it understands the result: in a folder of its own, so that the
 * user's is not touched.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tomlString, tomlStrings } from "../../agents/codex-toml.ts";
import { AppError } from "../../errors.ts";
import { runTool } from "../run-tool.ts";
import { withScratch } from "../scratch.ts";
import { isSameServer, readProgram, SERVER_KEY, type Host, type ServerProgram } from "./host.ts";

/** `environmentNames`: variables that Codex is to hand to the server; by itself it passes on PATH, HOME and the like. */
export function codexHost(program: string | null, environmentNames: readonly string[]): Host {
  return {
    name: "Codex",
    program: "codex",
    removal: `codex mcp remove ${SERVER_KEY}`,
    file: (environment, userHome) => join(environment["CODEX_HOME"] || join(userHome, ".codex"), "config.toml"),
    find: (text) => ask(program, text),
    add: async (text, server) => {
      const after = appended(text, tableOf(server, environmentNames));
      const found = await ask(program, after);
      if (found === null || !isSameServer(found, server)) {
        throw new AppError("CONFIG_INVALID", "Codex does not read the changed file as meant");
      }
      return after;
    },
    takeOut: (text, inserted) => {
      const block = inserted.trim();
      const start = block === "" ? -1 : text.indexOf(block);
      if (start < 0) return null;
      const end = start + block.length;
      return text.slice(0, start) + text.slice(end).replace(/^\r?\n/, "");
    },
  };
}

function tableOf({ command, args }: ServerProgram, environmentNames: readonly string[]): string[] {
  return [
    `[mcp_servers.${SERVER_KEY}]`,
    `command = ${tomlString(command)}`,
    `args = ${tomlStrings(args)}`,
    // Without a person Codex refuses what it would have to ask about.
    'default_tools_approval_mode = "approve"',
    // Else the first request to the model may go out without the tools.
    "required = true",
    `env_vars = ${tomlStrings(environmentNames)}`,
  ];
}

function appended(text: string, lines: readonly string[]): string {
  const newline = text.includes("\r\n") ? "\r\n" : "\n";
  const gap = text === "" ? "" : text.endsWith("\n") ? newline : newline + newline;
  return `${text}${gap}${lines.join(newline)}${newline}`;
}

async function ask(program: string | null, text: string): Promise<ServerProgram | null> {
  if (text.trim() === "") return null;
  if (program === null) throw new AppError("CONFIG_INVALID", "codex, which reads it for us, was not found on PATH");
  return await withScratch(async (folder, environment) => {
    await writeFile(join(folder, "config.toml"), text, { mode: 0o600 });
    // Not `list`, which asks servers at addresses how one signs in.
    const answer = await runTool(program, ["mcp", "get", SERVER_KEY, "--json"], folder, environment);
    if (answer.isOk) return readAnswer(JSON.parse(answer.stdout));
    if (answer.problem.includes("No MCP server named")) return null;
    throw new AppError("CONFIG_INVALID", `Codex can't read it: ${answer.problem}`);
  });
}

function readAnswer(answer: unknown): ServerProgram {
  const { transport } = answer as { readonly transport?: Record<string, unknown> };
  return readProgram(transport?.["command"], transport?.["args"]);
}
