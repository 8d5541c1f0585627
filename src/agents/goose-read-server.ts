#!/usr/bin/env node
/**
 * A stdio MCP server that can look at a worktree and change nothing: files, names, search, git's history. Goose has no
 * tool that only reads (a file is read through its shell), so a role that may only read gets this one instead. Started
 * by Goose in the worktree; argument 1 is the comma-separated list of the tools to offer.
 *
 * Always true: nothing is written, no shell is started, git is only called with subcommands and options of a fixed
 * list, and files outside the worktree are not read. It loads nothing but Node itself, so it is ready at once.
 */
import { execFile } from "node:child_process";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { join, relative, resolve, sep } from "node:path";
import { createInterface } from "node:readline";

/** Goose writes results over 200 000 characters to a file, which this role could not read. */
const MAX_RESULT_LENGTH = 100_000;
const MAX_FILE_BYTES = 8 * 1024 * 1024;
const GIT_TIMEOUT_MS = 60_000;

/** Looks only. What each does with options is fenced by SAFE_OPTION. */
const GIT_COMMANDS = ["diff", "log", "show", "status", "blame", "rev-parse", "merge-base"];

/** Git takes any unambiguous beginning of an option, so what may be said is listed, not what may not (`--output`). */
const SAFE_OPTION = new RegExp(
  "^-(?:" +
    [
      "-",
      "\\d+",
      "[pswbnMCzuL]",
      "n\\d+",
      "U\\d+",
      "[MC]\\d+%?",
      "[LSG].+",
      "-(?:stat|numstat|shortstat|summary|name-only|name-status|oneline|cached|staged|patch|no-patch|graph|all|branches)",
      "-(?:follow|reverse|merges|no-merges|first-parent|abbrev-commit|short|branch|porcelain|decorate|no-color|check)",
      "-(?:word-diff|ignore-all-space|ignore-blank-lines|minimal|histogram|full-index|merge-base|abbrev-ref|show-toplevel)",
      "-(?:max-count|skip|unified|since|until|after|before|author|committer|grep|format|pretty|date|diff-filter)=.*",
      "-(?:find-renames|find-copies|stat|abbrev|untracked-files)=.*",
    ].join("|") +
    ")$",
  "s",
);

const root = realpathSync(process.cwd());

interface Tool {
  readonly description: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly required: readonly string[];
  run(input: Readonly<Record<string, unknown>>): Promise<string>;
}

const TOOLS: Readonly<Record<string, Tool>> = {
  read_file: {
    description: "Reads a text file of the worktree, whole or from one line on.",
    properties: {
      path: { type: "string", description: "Relative to the worktree" },
      from_line: { type: "integer", minimum: 1 },
      line_count: { type: "integer", minimum: 1 },
    },
    required: ["path"],
    run: (input) => Promise.resolve(readFile(input)),
  },
  list_files: {
    description: "Lists the files of the worktree (tracked and new ones, not the ignored) under a folder.",
    properties: { path: { type: "string", description: "A folder or a git pathspec; default: everything" } },
    required: [],
    run: (input) => git(["ls-files", "--cached", "--others", "--exclude-standard", "--", text(input, "path", ".")]),
  },
  search: {
    description: "Searches the files of the worktree for an extended regular expression; gives path:line:text.",
    properties: { pattern: { type: "string" }, path: { type: "string", description: "Where; default: everywhere" } },
    required: ["pattern"],
    run: (input) => {
      const where = ["--", text(input, "path", ".")];
      return git(["grep", "-n", "-I", "--untracked", "--no-textconv", "-E", "-e", text(input, "pattern"), ...where]);
    },
  },
  git: {
    description: `Looks at history and changes: ${GIT_COMMANDS.join(", ")}. Nothing that changes something.`,
    properties: {
      command: { type: "string", enum: GIT_COMMANDS },
      arguments: { type: "array", items: { type: "string" }, description: "One array element an argument" },
    },
    required: ["command"],
    run: (input) => runGitCommand(text(input, "command"), input["arguments"] ?? []),
  },
};

const offered = (process.argv[2] ?? "").split(",").filter((name) => Object.hasOwn(TOOLS, name));

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void answer(line));
lines.on("close", () => process.exit(0));

async function answer(line: string): Promise<void> {
  let message: { id?: unknown; method?: unknown; params?: Record<string, unknown> };
  try {
    message = JSON.parse(line) as typeof message;
  } catch {
    return;
  }
  if (message.id === undefined || typeof message.method !== "string") return;
  const outcome = await handle(message.method, message.params ?? {});
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id: message.id, ...outcome })}\n`);
}

/** An unknown method is answered too: Goose begins with one and would wait for two minutes. */
async function handle(method: string, params: Record<string, unknown>): Promise<Record<string, unknown>> {
  switch (method) {
    case "initialize": {
      const serverInfo = { name: "orchestrator-worktree", version: "1" };
      return { result: { protocolVersion: params["protocolVersion"], capabilities: { tools: {} }, serverInfo } };
    }
    case "ping":
      return { result: {} };
    case "tools/list":
      return { result: { tools: offered.map(toolEntry) } };
    case "tools/call":
      return { result: await call(String(params["name"]), params["arguments"]) };
    default:
      return { error: { code: -32601, message: `Unknown method: ${method}` } };
  }
}

function toolEntry(name: string): Record<string, unknown> {
  const tool = TOOLS[name];
  const inputSchema = { type: "object", properties: tool?.properties, required: tool?.required };
  return { name, description: tool?.description, inputSchema, annotations: { readOnlyHint: true } };
}

async function call(name: string, input: unknown): Promise<Record<string, unknown>> {
  try {
    const tool = offered.includes(name) ? TOOLS[name] : undefined;
    if (tool === undefined) throw new Error(`There is no tool ${name}. There are: ${offered.join(", ")}.`);
    return { content: [{ type: "text", text: capped(await tool.run((input ?? {}) as Record<string, unknown>)) }] };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { isError: true, content: [{ type: "text", text: message }] };
  }
}

function text(input: Readonly<Record<string, unknown>>, key: string, otherwise?: string): string {
  const value = input[key] ?? otherwise;
  if (typeof value === "string" && value !== "") return value;
  throw new Error(`\`${key}\` must be a text that is not empty.`);
}

function readFile(input: Readonly<Record<string, unknown>>): string {
  const path = text(input, "path");
  const file = realpathSync(resolve(root, path));
  const inside = relative(root, file);
  if (inside === ".." || inside.startsWith(`..${sep}`) || resolve(root, inside) !== file) {
    throw new Error(`${path} is outside the worktree ${root}.`);
  }
  const stats = statSync(file);
  if (!stats.isFile()) throw new Error(`${path} is no file. Use list_files for a folder.`);
  if (stats.size > MAX_FILE_BYTES) throw new Error(`${path} has ${stats.size} bytes; too much to read. Use search.`);
  const bytes = readFileSync(join(root, inside));
  if (bytes.includes(0)) return `(${path} is a binary file of ${bytes.length} bytes)`;
  const all = bytes.toString("utf8");
  if (input["from_line"] === undefined && input["line_count"] === undefined) return all;
  const from = Math.max(1, Number(input["from_line"] ?? 1));
  const count = Number(input["line_count"] ?? Number.MAX_SAFE_INTEGER);
  return all
    .split("\n")
    .slice(from - 1, from - 1 + count)
    .join("\n");
}

function runGitCommand(command: string, args: unknown): Promise<string> {
  if (!GIT_COMMANDS.includes(command)) {
    throw new Error(`git ${command} is not offered here. There are: ${GIT_COMMANDS.join(", ")}.`);
  }
  if (!Array.isArray(args) || !args.every((arg): arg is string => typeof arg === "string" && !arg.includes("\0"))) {
    throw new Error("`arguments` must be an array of texts.");
  }
  const end = args.indexOf("--");
  const refused = args
    .slice(0, end === -1 ? args.length : end)
    .find((arg) => arg.startsWith("-") && !SAFE_OPTION.test(arg));
  if (refused !== undefined) throw new Error(`The option ${refused} is not offered here. Leave it out.`);
  const noPrograms = ["diff", "log", "show"].includes(command) ? ["--no-ext-diff", "--no-textconv"] : [];
  return git([command, ...noPrograms, ...args]);
}

function git(args: readonly string[]): Promise<string> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_"));
  const env = { ...Object.fromEntries(inherited), GIT_OPTIONAL_LOCKS: "0", GIT_TERMINAL_PROMPT: "0" };
  // What a repository's config could start: the file system monitor, hooks, a signature program.
  const settings = ["core.fsmonitor=false", "core.hooksPath=/dev/null", "log.showSignature=false"];
  const all = ["--no-pager", ...settings.flatMap((setting) => ["-c", setting]), ...args];
  const options = { cwd: root, env, timeout: GIT_TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((done, failed) => {
    execFile("git", all, options, (error, stdout, stderr) => {
      // `git grep` ends with 1 when it found nothing.
      if (error === null || (args[0] === "grep" && error.code === 1 && stderr === "")) done(stdout || "(nothing)");
      else failed(new Error(`git ${args[0]} failed: ${stderr.trim() || error.message}`));
    });
  });
}

function capped(result: string): string {
  if (result.length <= MAX_RESULT_LENGTH) return result;
  return `${result.slice(0, MAX_RESULT_LENGTH)}\n(cut: ${result.length} characters in all; ask for a part of it)`;
}
