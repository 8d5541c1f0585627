/**
 * What the items of `codex exec --json` (0.169) say about tools: a name, one line on what is asked for, one on what
 * came of it, and whether the sandbox or the approval policy refused it.
 */

/** Any item; which fields there are depends on `type`. Nothing of it is trusted to be there. */
export interface CodexItem {
  readonly id?: unknown;
  readonly type?: unknown;
  readonly status?: unknown;
  readonly text?: unknown;
  readonly message?: unknown;
  readonly command?: unknown;
  readonly aggregated_output?: unknown;
  readonly exit_code?: unknown;
  readonly changes?: unknown;
  readonly server?: unknown;
  readonly tool?: unknown;
  readonly arguments?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
  readonly prompt?: unknown;
  readonly query?: unknown;
  readonly items?: unknown;
}

export interface ToolUse {
  readonly id: string;
  readonly name: string;
  readonly summary: string;
  /** Only of use once the item is completed. */
  readonly isError: boolean;
  readonly result: string;
  /** `name: what` when it was refused for want of a permission. */
  readonly denial: string | null;
}

/** The tool use an item tells of; null for an item that is none (or of a kind not known). */
export function describeItem(item: CodexItem): ToolUse | null {
  const id = textOf(item.id);
  const isError = item.status === "failed" || item.status === "declined";
  switch (item.type) {
    case "command_execution":
      return { id, isError, ...describeCommand(item, isError) };
    case "file_change":
      return { id, isError, ...describeFileChange(item, isError) };
    case "mcp_tool_call":
      return { id, isError, ...describeMcpCall(item) };
    case "collab_tool_call":
      return plain(id, textOf(item.tool) || "agent", shorten(textOf(item.prompt)), isError);
    case "web_search":
      return plain(id, "web_search", shorten(textOf(item.query)), isError);
    case "todo_list":
      return plain(id, "todo_list", `${Array.isArray(item.items) ? item.items.length : 0} entries`, isError);
    default:
      return null;
  }
}

type Description = Pick<ToolUse, "name" | "summary" | "result" | "denial">;

function plain(id: string, name: string, summary: string, isError: boolean): ToolUse {
  return { id, name, summary, isError, result: isError ? "failed" : "done", denial: null };
}

/** Words of the kernel when a sandbox stands in the way (Linux; macOS's seatbelt says the second). */
const SANDBOX_DENIAL = /^.*(?:Read-only file system|Operation not permitted).*$/m;

function describeCommand(item: CodexItem, isError: boolean): Description {
  const command = shorten(withoutShell(textOf(item.command)));
  const output = textOf(item.aggregated_output);
  const refusal = SANDBOX_DENIAL.exec(output)?.[0];
  const exitCode = typeof item.exit_code === "number" ? item.exit_code : "unknown";
  const lastLine = output.trimEnd().split("\n").at(-1) ?? "";
  return {
    name: "shell",
    summary: command,
    result: shorten(`exit code ${exitCode}${lastLine === "" ? "" : `: ${lastLine}`}`),
    denial: isError && refusal !== undefined ? `shell: ${command} (${shorten(refusal)})` : null,
  };
}

/** `/bin/bash -lc 'ls -a'` → `ls -a`; Codex quotes like a shell, so what has quotes inside is left alone. */
function withoutShell(command: string): string {
  return /^\S+ -l?c '([^']*)'$/.exec(command)?.[1] ?? /^\S+ -l?c "([^"\\$`]*)"$/.exec(command)?.[1] ?? command;
}

function describeFileChange(item: CodexItem, isError: boolean): Description {
  const changes = Array.isArray(item.changes) ? (item.changes as { path?: unknown; kind?: unknown }[]) : [];
  const summary = shorten(changes.map((change) => `${textOf(change.kind)} ${textOf(change.path)}`).join(", "));
  return { name: "apply_patch", summary, result: isError ? "failed" : "done", denial: null };
}

function describeMcpCall(item: CodexItem): Description {
  const name = `${textOf(item.server)}.${textOf(item.tool)}`;
  const error = textOf((item.error as { message?: unknown } | null)?.message);
  const refused = /requires approval|rejected by user/i.test(error);
  return {
    name,
    summary: shorten(JSON.stringify(item.arguments ?? {})),
    result: shorten(error === "" ? firstText(item.result) : error),
    denial: refused ? `${name}: ${shorten(error)}` : null,
  };
}

function firstText(result: unknown): string {
  const content = (result as { content?: unknown } | null)?.content;
  if (!Array.isArray(content)) return "done";
  const texts = content.map((part) => textOf((part as { text?: unknown } | null)?.text));
  return texts.find((text) => text !== "") ?? "done";
}

const MAX_SUMMARY_LENGTH = 200;

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= MAX_SUMMARY_LENGTH ? line : `${line.slice(0, MAX_SUMMARY_LENGTH)}…`;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
